"""Sites, edges and events: operations on the gradient's way back, how it goes from one to the next, what happened."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

import numpy as np

from undertow.jsonable import jsonable
from undertow.operations import spoken
from undertow.record.checking import EVENT, SITE, checked, checked_pairs


class Role(StrEnum):
    """The part an operation plays for the gradient."""

    WEIGHT = "weight"
    """Multiplies by a matrix of parameters (or of frozen ones): linear, convolution, embedding, fused RNN."""
    ACTIVATION = "activation"
    NORM = "norm"
    JOIN = "join"
    """Branches of the forward pass meet here: addition, concatenation."""
    ATTENTION = "attention"
    """A product of two tensors that both depend on the data, or the softmax between two of them."""
    LOSS = "loss"
    """Between the loss and the last weights."""
    OTHER = "other"


@dataclass(frozen=True)
class Site:
    """One operation on the backward path.

    Attributes:
        index: its place in ``run.sites``; a Site comes after every Site that it receives gradient from.
        module: path of the module it ran in (``"layers.0"``), empty outside of the model.
        op: torch's name for the operation (``"addmm"``).
        role: what it is there for.
        shape: of the gradient it receives, that is of its output.
        activation: name of the activation, if it is one.
        n_out: rows of the weight matrix on the receiving side, 0 where there is none.
        weight_shape: of its weight, where it has one.
        parameters: names of the parameters it passes gradient to.
        module_type: class of the module it ran in.
        inside: part of a convolution's products that are made with its input and not with padding; 1 elsewhere.
        source: the user's ``file:line`` that called it, where that was looked for and found.

    Example:
        >>> Site(0, "layers.1", "addmm", Role.WEIGHT, (1000, 30)).name
        'layers.1'
        >>> Site(1, "", "sigmoid", Role.ACTIVATION, (1000, 30)).name
        'sigmoid'
    """

    index: int
    module: str
    op: str
    role: Role
    shape: tuple[int, ...] = ()
    activation: str | None = None
    n_out: int = 0
    weight_shape: tuple[int, ...] = ()
    parameters: tuple[str, ...] = ()
    module_type: str = ""
    inside: float = 1.0
    source: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """Return what it is called in a sentence: a layer by its module alone, anything else with its operation."""
        if self.role is Role.WEIGHT and self.module:
            return self.module
        return f"{self.module}.{spoken(self.op)}" if self.module else spoken(self.op)

    @property
    def tied_with(self) -> str:
        """Return the module that owns the weights of this one, if that is neither itself nor a part of it; else empty.

        Example:
            >>> Site(0, "lm_head", "mm", Role.WEIGHT, parameters=("wte.weight",)).tied_with
            'wte'
            >>> Site(0, "attn", "addmm", Role.WEIGHT, parameters=("attn.out_proj.weight",)).tied_with
            ''
        """
        if self.role is not Role.WEIGHT or not self.module:
            return ""
        owners = [name.replace("_orig_mod.", "").rpartition(".")[0] for name in self.parameters if "bias" not in name]
        if any(owner == self.module or owner.startswith(f"{self.module}.") for owner in owners):
            return ""
        return owners[0] if owners else ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {key: jsonable(value, infinite=True) for key, value in vars(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            ValueError, KeyError, TypeError: this is no Site.
        """
        checked(data, SITE, "a Site")
        lists = {key: tuple(data[key]) for key in ("shape", "weight_shape", "parameters")}
        inside = data.get("inside", 1.0)
        return cls(
            **{**data, **lists, "role": Role(data["role"]), "inside": np.nan if inside is None else float(inside)}
        )


def main_activation(sites: Iterable[Site]) -> str | None:
    """Return the activation that most of some Sites have, of several the one nearest to the loss; None without any.

    Example:
        >>> names = enumerate(["tanh", "relu", "relu"])
        >>> sites = [Site(n, "", name, Role.ACTIVATION, activation=name) for n, name in names]
        >>> main_activation(sites), main_activation([])
        ('relu', None)
    """
    found = Counter(site.activation for site in sites if site.role is Role.ACTIVATION and site.activation)
    return found.most_common(1)[0][0] if found else None


@dataclass(frozen=True)
class Edge:
    """Gradient goes from the Site ``source`` to the Site ``target`` (both are places in ``run.sites``)."""

    source: int
    target: int


def graph_from(sites: Any, edges: Any) -> tuple[tuple[Site, ...], tuple[Edge, ...]]:
    """Return Sites and edges from JSON values.

    Raises:
        ValueError, KeyError, TypeError: this is no graph.

    Example:
        >>> graph_from([Site(0, "fc", "addmm", Role.WEIGHT).to_dict()], [[0, 1]])
        Traceback (most recent call last):
        ValueError: edges between Sites that are not there, or that lead back to the loss
    """
    made = tuple(map(Site.from_dict, sites))
    if [site.index for site in made] != list(range(len(made))):
        raise ValueError("Sites out of order")
    return made, tuple(Edge(*pair) for pair in checked_pairs(edges, len(made)))


@dataclass(frozen=True)
class Event:
    """Something that happened to a run at one step.

    Attributes:
        step: steps of the optimizer so far.
        time: seconds since the Run began.
        kind: ``"session"`` (training began or went on), ``"thinned"`` (steps that could not be kept), ``"nonfinite"``,
            ``"governor"`` (what watching costs), ``"spike"`` (of the loss), ``"finding"``, ``"graph"`` (the model's
            graph changed), ``"micro-batch"`` (which backward pass of a step is taped), ``"trouble"``.
        message: one sentence.
        data: the numbers behind it, as JSON values.

    Example:
        >>> Event.from_dict(Event(7, 0.5, "nonfinite", "the gradient became inf").to_dict()).step
        7
    """

    step: int
    time: float
    kind: str
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {key: jsonable(value, infinite=True) for key, value in vars(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            ValueError, KeyError, TypeError: this is no event.
        """
        checked(data, EVENT, "an event")
        return cls(**{**data, "time": np.nan if data["time"] is None else float(data["time"])})
