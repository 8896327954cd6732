"""UR3xx, level C: ways around layers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from undertow.diagnosis import Diagnosis
from undertow.record import Role
from undertow.remedies.anatomy import NORMS, Anatomy, Part, anatomy, fresh, weight_of
from undertow.remedies.changing import on_model
from undertow.remedies.drawing import lost_by
from undertow.remedies.facts import unlearned
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.ur3_activation import SWAPPED
from undertow.training import Training

ACTIVATIONS = (*SWAPPED, nn.GELU, nn.SiLU, nn.ELU, nn.LeakyReLU, nn.SELU, nn.Softplus, nn.PReLU, nn.Mish)


DEEP = 8


@remedy("UR303", "residual connections, closed to begin with", "C", ["UT101", "UT102", "UT106", "UT205", "UT301"])
def rezero(training: Training) -> Training:
    """Add what goes into a layer to what its activation makes, times a gate that starts at zero.

    What it changes:
        Layers that make as many features as they take: x + gate f(x), with what is between them and the next layer:
        activations, norms, sums over a graph's neighbours.
    When:
        A plain stack is too deep for any start: from about 15 layers on.
    Predicts:
        Every such block passes the whole gradient on: 0 decades.
    References:
        Bachlechner et al. 2021 (ReZero); He et al. 2016; De, Smith 2020 (SkipInit).
    """
    return on_model(training, _ReZero(training))


class Gate(nn.Module):
    """x + gate f(x): the gate is a parameter that starts at zero."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros((), device=weight.device, dtype=weight.dtype))
        self.kept: list[Tensor] = []

    def keep(self, module: nn.Module, given: tuple[Tensor, ...]) -> None:
        """Keep what goes into the layer."""
        del module
        self.kept[:] = [given[0]]  # never more than one, also where a forward pass broke off

    def add(self, module: nn.Module, given: Any, made: Tensor) -> Tensor:
        """Add it to what the activation makes."""
        del module, given
        return self.kept.pop() + self.gate * made

    def add_before(self, module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """Add it to what the next layer is given."""
        del module
        return (self.kept.pop() + self.gate * given[0], *given[1:]) if self.kept else given


@dataclass(frozen=True)
class _ReZero:
    training: Training

    def __call__(self, model: nn.Module) -> None:
        for layer, end in reversed(_blocks(anatomy(model, self.training))):  # a block ends before the next begins
            gate = Gate(weight_of(layer.module))
            layer.module.add_module("residual", gate)
            if end.is_layer:
                end.module.register_forward_pre_hook(gate.add_before, prepend=True)
            else:
                end.module.register_forward_hook(gate.add)
            layer.module.register_forward_pre_hook(gate.keep)


def _blocks(seen: Anatomy) -> list[tuple[Part, Part]]:
    """Return layers that keep their shape, each with what ends its block: the activation behind it or the next layer.

    Raises:
        ValueError: there is none.
    """
    blocks = [(part, end) for part in seen.hidden if (end := _end_of_block(seen, part)) is not None]
    if not blocks:
        raise ValueError("no hidden layer makes as many features as it takes")
    return blocks


def _end_of_block(seen: Anatomy, part: Part) -> Part | None:
    if part.calls != 1 or part.given is None or part.made is None or part.given.shape != part.made.shape:
        return None
    behind = next((each for each in seen.after(part) if not isinstance(each.module, (*NORMS, nn.Dropout))), None)
    if behind is not None and isinstance(behind.module, ACTIVATIONS):
        return behind if behind.calls == 1 else None
    following = seen.layers[seen.layers.index(part) + 1]  # its activation is a function that nothing can be hung on
    if following.calls != 1 or following.given is None or following.given.shape != part.given.shape:
        return None
    beside = following.given.data_ptr() == part.given.data_ptr()  # both are given the same
    return None if beside else following


@rezero.proposes
def _proposed_rezero(diagnosis: Diagnosis) -> Iterator[Proposal]:
    codes = {finding.code for finding in diagnosis.findings}
    joined = any(site.role is Role.JOIN for site in diagnosis.run.sites)
    named = bool(codes & {"UT101", "UT102", "UT301", "UT205", "UT104"}) or unlearned(diagnosis)
    if not joined and len(diagnosis.layers) >= DEEP and named:
        lost, layers = lost_by(diagnosis, "weights", "activation")
        inner = (layers - 1) / layers if layers else 0.0  # the first layer is seldom one that keeps its shape
        reason = f"{len(diagnosis.layers)} layers in a row without a way around them"
        yield Proposal({}, reason, 0.7, -lost * inner)


@rezero.written
def _rezero_lines() -> str:
    return _gate_lines("[]  # layers that keep their shape, each with what is behind it, and whether that is a layer")


@rezero.written_for
def _rezero_lines_for(training: Training) -> str:
    blocks = _blocks(anatomy(fresh(training), training))
    return _gate_lines(str([(layer.name, end.name, end.is_layer) for layer, end in blocks]))


def _gate_lines(places: str) -> str:
    return (
        "class Gate(nn.Module):  # x + gate f(x), closed to begin with\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.gate, self.kept = nn.Parameter(torch.zeros(())), []\n"
        "    def keep(self, layer, given):\n"
        "        self.kept[:] = [given[0]]\n"
        "    def add(self, activation, given, made):\n"
        "        return self.kept.pop() + self.gate * made\n"
        "    def add_before(self, layer, given):\n"
        "        return (self.kept.pop() + self.gate * given[0], *given[1:])\n"
        f"for layer, end, before in reversed({places}):\n"
        "    layer, end = model.get_submodule(layer), model.get_submodule(end)\n"
        "    layer.residual = Gate()\n"
        "    if before:\n"
        "        end.register_forward_pre_hook(layer.residual.add_before, prepend=True)\n"
        "    else:\n"
        "        end.register_forward_hook(layer.residual.add)\n"
        "    layer.register_forward_pre_hook(layer.residual.keep)"
    )
