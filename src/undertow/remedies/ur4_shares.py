"""UR4xx, level D: outputs that a loss takes for shares, and softmaxes that are too sure or too even."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from undertow.diagnosis import Diagnosis
from undertow.operations import SOFTMAXES
from undertow.remedies.changing import on_model
from undertow.remedies.facts import known_facts, unlearned
from undertow.remedies.outside import OutsideModel
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.rewiring import RewiredLoss
from undertow.training import Training

COLD, FAINT = 15.0, 0.05
"""Deviation of an untrained network's logits above which a softmax says yes or no only, and under which it hardly says
anything."""

USUAL = (3.0, 0.6)
"""Deviations that they are brought to."""


@remedy("UR422", "outputs made shares for a loss that takes them for shares", "D", ["UT704", "UT405", "UT705"])
def shares(training: Training, by: str = "sigmoid", scored: bool = False) -> Training:
    """Give the loss outputs between 0 and 1 where it multiplies and divides them as if they were.

    What it changes:
        What the model returns goes through a sigmoid, or a softmax over classes, while the loss is computed; and for
        the score as well, if asked for.
    When:
        An overlap such as Dice's, or a likelihood written by hand, is given what the last layer makes: it has no
        bounds, so that the loss falls for ever and says nothing, or a quotient changes its sign.
    Predicts:
        The loss lies in its own range.
    References:
        Milletari, Navab, Ahmadi 2016 (V-Net), equation 3: over probabilities.
    """
    if by not in _SHARES:
        raise ValueError(f"by is {by!r}: say one of {', '.join(_SHARES)}")
    if scored:
        return on_model(training, partial(_shared, by=by))
    return replace(training, loss=_OfShares(training.loss, by))


def _softmax(x: Tensor) -> Tensor:
    return x.softmax(1 if x.ndim > 1 else 0)


_SHARES: dict[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "softmax": _softmax}


def _shared(model: nn.Module, by: str) -> None:
    model.register_forward_hook(partial(_as_shares, by))


def _as_shares(by: str, module: nn.Module, given: Any, made: Any) -> Any:
    del module, given
    if not isinstance(made, Tensor):
        raise TypeError("the model returns more than one tensor: nobody knows which are shares")
    return _SHARES[by](made)


@dataclass(frozen=True)
class _OfShares:
    loss: Any
    by: str

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        with model.register_forward_hook(partial(_as_shares, self.by)):
            made: Tensor = self.loss(model, batch)
            return made


@shares.proposes
def _proposed_shares(diagnosis: Diagnosis) -> Iterator[Proposal]:
    facts = known_facts(diagnosis)
    targets, plain = facts.get("targets", {}), facts.get("loss", {}).get("plain")
    if plain and not facts.get("end") and (targets.get("binary") or targets.get("classes")):
        told = "targets are zeros and ones, and nothing makes the outputs shares"
        urgency = 0.9 if unlearned(diagnosis) else 0.6
        ways = ("sigmoid",) if targets.get("binary") else ("softmax", "sigmoid")
        for place, by in enumerate(ways):
            yield Proposal({"by": by}, told, urgency - 0.1 * place)
            yield Proposal({"by": by, "scored": True}, told, urgency - 0.15 - 0.1 * place)


@shares.written
def _shares_lines(by: str = "sigmoid", scored: bool = False) -> str:
    where = "forward()" if scored else "the loss"
    return f"# in {where}: {'torch.sigmoid(output)' if by == 'sigmoid' else 'output.softmax(1)'} in place of the output"


@remedy("UR423", "a softmax that is neither sure nor even to begin with", "D", ["UT704", "UT706", "UT401"])
def tempered(training: Training, factor: float = 0.1) -> Training:
    """Multiply what a loss gives its softmax.

    What it changes:
        What ``cross_entropy``, ``softmax`` and ``log_softmax`` are given outside of every module's forward pass, such
        as similarities over a temperature.
    When:
        Untrained logits differ by so much that the softmax says yes or no: the gradient is 0 for most examples, and for
        the others as large as it can be. Or they hardly differ, as cosines do for many classes.
    Predicts:
        Logits deviate by the factor times what they did.
    References:
        Wu, Xiong, Yu, Lin 2018 (the temperature of a contrast); Wang et al. 2017 (NormFace), on logits that are
        cosines.
    """
    return replace(training, loss=RewiredLoss(training.loss, _Tempered(factor)))


@dataclass(frozen=True)
class _Tempered:
    """Multiplies logits, as data; it makes a mode for a model."""

    factor: float

    def of(self, model: nn.Module) -> "_Tempering":
        """Make a mode for one call."""
        return _Tempering(model, self.factor)


class _Tempering(OutsideModel):
    def __init__(self, model: nn.Module, factor: float) -> None:
        super().__init__(model)
        self._factor = factor

    def changed(self, name: str, args: Sequence[Any]) -> Sequence[Any]:
        """Return the arguments, logits multiplied."""
        soft = name in SOFTMAXES or name == "cross_entropy"
        return (self._factor * args[0], *args[1:]) if soft and args and isinstance(args[0], Tensor) else args


@tempered.proposes
def _proposed_temperature(diagnosis: Diagnosis) -> Iterator[Proposal]:
    spread = known_facts(diagnosis).get("loss", {}).get("spread")
    if spread is None or not spread > FAINT / 100 or FAINT < spread < COLD:
        return
    urgency = 0.85 if spread >= COLD else 0.45
    if spread >= COLD or unlearned(diagnosis):
        for place, usual in enumerate(USUAL if spread >= COLD else USUAL[:1]):
            told = f"logits of the untrained network deviate by {spread:.2g}"
            yield Proposal({"factor": float(f"{usual / spread:.2g}")}, told, urgency - 0.05 * place)


@tempered.written
def _temperature_lines(factor: float = 0.1) -> str:
    return f"# in the loss: {factor:g} * logits in front of the softmax or the cross entropy"
