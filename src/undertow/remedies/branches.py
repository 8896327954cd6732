"""Branches whose sum is normalised, in blocks of the user's own: where they begin, and how the norm is put in front.

A norm stands behind a sum if what it is given is what some module before it took plus what some module made. That is
looked for in the numbers of one forward pass, so that it doesn't matter how a block is written.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from undertow.remedies.anatomy import fresh, run_loss
from undertow.tape.tensors import tensors_in
from undertow.training import Training

NORMS = (nn.LayerNorm, nn.RMSNorm)
CLOSE = 1e-4
REACH = 40
"""Calls before a norm among which the branch is looked for."""


@dataclass(frozen=True)
class SameShapeCall:
    """One call of a module that took a tensor and made one of the same shape."""

    name: str
    given: Tensor
    made: Tensor


@dataclass(frozen=True)
class PostNormBranch:
    """A norm behind a sum, and what its branch begins with.

    Attributes:
        norm: path of the norm.
        entries: paths of the modules that take what the branch takes.
    """

    norm: str
    entries: tuple[str, ...]


def branches(training: Training) -> list[PostNormBranch]:
    """Return the branches of a training's model whose sums are normalised, in the order in which they run."""
    model = fresh(training)
    calls = _calls(model, training)
    many = {name: sum(each.name == name for each in calls) for name in {each.name for each in calls}}
    found = []
    for place, call in enumerate(calls):
        if isinstance(model.get_submodule(call.name), NORMS) and many[call.name] == 1:
            entries = _entries(calls[max(0, place - REACH) : place], call.given)
            normed = any(isinstance(model.get_submodule(name), NORMS) for name in entries)  # in front already
            if entries and not normed and all(many[name] == 1 for name in entries):
                found.append(PostNormBranch(call.name, entries))
    return found


def _calls(model: nn.Module, training: Training) -> list[SameShapeCall]:
    """Run one batch without dropout, and return calls in the order in which they end."""
    calls: list[SameShapeCall] = []

    def hook(module: nn.Module, given: Any, named: Any, made: Any, name: str) -> None:
        del module
        x, y = next(iter(tensors_in((*given, *named.values()))), None), next(iter(tensors_in(made)), None)
        if x is not None and y is not None and x.shape == y.shape and x.ndim > 1 and x.is_floating_point():
            calls.append(SameShapeCall(name, x, y))

    for name, module in model.named_modules():
        if name:
            module.register_forward_hook(partial(hook, name=name), with_kwargs=True)
    run_loss(model, training, evaluating=True)
    return calls


def _entries(before: list[SameShapeCall], total: Tensor) -> tuple[str, ...]:
    """Return the modules that begin the branch of a sum: they took one of its sides, and another module made the other.

    Args:
        before: calls before the norm's, those that ended last at the end.
        total: what the norm is given.
    """
    alike = [call for call in before if call.given.shape == total.shape]
    for end in reversed(alike):
        for begin in alike:
            if torch.allclose(begin.given + end.made, total, rtol=CLOSE, atol=CLOSE * float(total.abs().max())):
                same = begin.given.data_ptr()
                names = {call.name for call in before if call.given.data_ptr() == same}
                return tuple(sorted(_outermost(names)))
    return ()


def _outermost(names: set[str]) -> Iterator[str]:
    for name in names:
        if not any(name.startswith(f"{other}.") for other in names):
            yield name


def put_in_front(model: nn.Module, found: list[PostNormBranch]) -> None:
    """Normalise what each branch takes instead of each sum; the last sum keeps a norm, a new one."""
    for branch in found:
        norm = model.get_submodule(branch.norm)
        for name in branch.entries:
            model.get_submodule(name).register_forward_pre_hook(partial(_normalised, norm=norm), with_kwargs=True)
        if branch is found[-1]:
            norm.add_module("final", _another(norm))
        norm.register_forward_hook(_passed)


def _another(norm: nn.Module) -> nn.Module:
    place = next(norm.parameters(), torch.empty(0))
    return type(norm)(norm.normalized_shape, device=place.device, dtype=place.dtype)


def _normalised(module: nn.Module, given: Any, named: Any, norm: nn.Module) -> Any:
    del module
    first = next(iter(tensors_in((*given, *named.values()))), None)
    if first is None:
        return given, named
    new = norm.forward(first)  # without its hook, which hands on what it is given
    changed = tuple(new if each is first else each for each in given)
    return changed, {name: new if each is first else each for name, each in named.items()}


def _passed(module: nn.Module, given: Any, made: Any) -> Any:
    del made
    final = getattr(module, "final", None)
    return given[0] if final is None else final(given[0])
