"""Whether one example's output depends on another's input: one example is changed, and outputs are compared."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from undertow.examination.sources import users_line
from undertow.examination.surroundings import random_states, set_random_states
from undertow.tape.tensors import tensors_in

Fact = dict[str, Any]

FEW = 3
"""Examples that are looked at first: a model in which they stay apart is spared two passes over the whole batch."""

ALIKE = 3e-5
"""Part of an output's size that an example's may be off by in another batch: kernels add up in another order there."""


@dataclass
class Call:
    """The first call of a model: what went in, what came out, and the random numbers before.

    Attributes:
        after: the state of torch's random numbers on the host when it ended; None where that isn't known.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    states: dict[str, Any]
    out: Any = None
    after: Tensor | None = None

    @property
    def random(self) -> bool:
        """Tell whether random numbers were drawn in it, as far as is known; elsewhere than on the host they may be."""
        if self.after is None or any(not tensor.is_cpu for tensor in tensors_in(self.out)):
            return True
        return not self.states["cpu"].equal(self.after)


@dataclass
class CallCatcher:
    """Keeps the first call of a model while it is entered.

    Args:
        model: whose.
        states: of the random numbers some time before, as `random_states` returned them.

    Example:
        >>> net = nn.Linear(3, 2)
        >>> with CallCatcher(net) as caught:
        ...     _ = net(torch.ones(4, 3))
        >>> caught.call.args[0].shape, caught.call.out.shape
        (torch.Size([4, 3]), torch.Size([4, 2]))
    """

    model: nn.Module
    states: dict[str, Any] | None = None
    call: Call | None = None
    _handles: list[RemovableHandle] = field(default_factory=list)

    def __enter__(self) -> Self:
        if not isinstance(self.model, torch.jit.ScriptModule):
            self._handles.append(self.model.register_forward_pre_hook(self._enter, with_kwargs=True))
            self._handles.append(self.model.register_forward_hook(self._leave))
        return self

    def __exit__(self, *_: object) -> None:
        while self._handles:
            self._handles.pop().remove()

    @property
    def open(self) -> bool:
        """Tell whether that call goes on."""
        return self.call is not None and self.call.out is None

    def _enter(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.call is None:
            self.call = Call(args, dict(kwargs), random_states(self.states))

    def _leave(self, _module: nn.Module, _args: object, out: Any) -> None:
        if self.call is not None and self.call.out is None:
            self.call.out, self.call.after = out, torch.get_rng_state()


def examples_mixed(model: nn.Module, call: Call) -> Fact | None:
    """Change one example of a call, run the model again, and say where else its output changed.

    Args:
        model: in the mode it was called in. Batch normalisation, which mixes examples on purpose, is put into
            evaluation mode meanwhile.
        call: what it was called with.

    Returns:
        ``examples``, the share of the output that ``changed``, and the operation that did it (``op``, ``source``,
        ``shapes``); None where examples are independent, or where that can't be told.

    Example:
        >>> class Mixed(nn.Module):
        ...     def forward(self, x):
        ...         return x.reshape(3, -1, 2).cumsum(0)[-1]
        >>> net, x = Mixed(), torch.randn(4, 3, 2)
        >>> examples_mixed(net, Call((x,), {}, random_states(), net(x)))["op"]
        'reshape'
    """
    try:
        with _statistics_frozen(model) as frozen:
            return _Probe(model, call, anew=frozen).result()
    except Exception:  # the model takes no other input than this one
        return None


class _Probe:
    def __init__(self, model: nn.Module, call: Call, anew: bool) -> None:
        self._model, self._call = model, call
        self._batch = next((t for t in tensors_in((call.args, call.kwargs)) if t.dim() > 0), None)
        self._anew = anew

    @cached_property
    def _before(self) -> Any:
        return self._run(None) if self._anew else self._call.out

    def result(self) -> Fact | None:
        shape = () if self._batch is None else tuple(self._batch.shape)
        if not shape or shape[0] < 2 or (len(shape) <= 3 and shape[1:2] == (1,)):  # one example, or one sequence
            return None
        if self._few_are_apart():
            return None
        share, confined = self._changed(0)
        alone = not share  # an output that the first example does nothing to may be the last one's
        if alone:
            share, confined = self._changed(0, self._size(0) - 1)
        if confined or not share:
            return None
        if len(shape) > 1 and shape[1] > 1 and self._changed(1)[1] and self._exchangeable():
            return None  # examples lie along the second axis
        place = self._size(0) - 1 if alone else 0
        mixed = {"examples": shape[0], "changed": share, "of one alone": alone, **self._blame(place)}
        return mixed if alone else {**mixed, "own": self._own(place)}

    def _few_are_apart(self) -> bool:
        """Tell whether the first few examples, alone, don't depend on each other; False where nobody knows."""
        size = self._size(0)
        if self._one_stays_as_it_was(size):
            return True
        if size <= 2 * FEW:
            return False
        args, kwargs = _each((self._call.args, self._call.kwargs), 0, size, _first_few)
        try:
            _, confined = _Probe(self._model, Call(args, kwargs, self._call.states), anew=True)._changed(0)
        except Exception:  # the model wants as many examples as there are
            return False
        return confined

    def _one_stays_as_it_was(self, size: int) -> bool:
        """Tell whether an example alone has the output that it has in the batch: a pass over a single example.

        Nobody knows where random numbers are drawn, or the batch was changed.
        """
        if self._call.random or self._anew:
            return False
        args, kwargs = _each((self._call.args, self._call.kwargs), 0, size, partial(_narrowed, start=1, length=1))
        try:
            after = _Probe(self._model, Call(args, kwargs, self._call.states), anew=True)._run(None)
            return _is_alike(next(_outputs(self._call.out)), next(_outputs(after)), size)
        except Exception:  # the model wants as many examples as there are
            return False

    def _changed(self, axis: int, place: int = 0) -> tuple[float, bool]:
        """The share of the output that changes with one example, and whether it is one example's."""
        n = self._size(axis)
        after = self._run(axis, place=place)
        for old, new in zip(_outputs(self._before), _outputs(after), strict=True):
            parts = _changed_parts(old, new)
            return max(parts.values(), default=0.0), _is_confined(parts, old.shape, n)
        return 0.0, True

    def _exchangeable(self) -> bool:
        """Tell whether places along the second axis may change places, as examples may; True where nobody knows.

        Positions of a sequence may not, where each has an embedding or an index of its own.
        """
        n = self._size(1)
        if n == self._size(0):  # what else has so many places, nobody knows
            return True
        args, kwargs = _each_along((self._call.args, self._call.kwargs), n)
        with _evaluation(self._model):
            before, again = (next(_outputs(self._run(None, renewed=first))) for first in (True, False))
            set_random_states(self._call.states)
            after = next(_outputs(self._model(*args, **kwargs)))
        if not _are_close(before, again):  # by chance
            return True
        axes = [axis for axis in range(before.dim()) if before.shape[axis] == n and after.shape == before.shape]
        return any(_are_close(before.roll(1, axis), after) for axis in axes)

    def _own(self, place: int) -> float | None:
        """Return how much more an example changes its own output than another's, the median; None if none is its own.

        About 1 says that no output is any example's: the batch was averaged over.
        """
        old, new = (next(_outputs(each)) for each in (self._before, self._run(0, place=place)))
        if not old.dim() or len(old) != self._size(0):
            return None
        change = (new.double() - old.double()).nan_to_num(0, 0, 0).reshape(len(old), -1).norm(dim=1)
        others = torch.cat((change[:place], change[place + 1 :])).median().item()
        return change[place].item() / others if others else None

    def _size(self, axis: int) -> int:
        assert self._batch is not None  # noqa: S101  # only called where there is one
        return self._batch.shape[axis]

    def _run(self, axis: int | None, under: "_Footprints | None" = None, place: int = 0, renewed: bool = True) -> Any:
        args, kwargs = self._call.args, self._call.kwargs
        if axis is not None:
            args, kwargs = _each((args, kwargs), axis, self._size(axis), lambda x: _replaced_tensor(x, axis, place))
        if renewed:
            set_random_states(self._call.states)
        with under or nullcontext():
            return self._model(*args, **kwargs)

    def _blame(self, place: int) -> Fact:
        """The first operation whose output changes beyond one example while what went in did not."""
        before, after = _Footprints(), _Footprints()
        self._run(None, before)
        self._run(0, after, place)
        n = self._size(0)
        for (name, ins, out, line), (_, new_ins, new_out, _) in zip(before.calls, after.calls, strict=True):
            came = [_differ(old, new) for old, new in zip(ins, new_ins, strict=True)]
            went = _differ(out, new_out)
            apart = all(not c or _is_confined(c, old[0], n) for c, old in zip(came, ins, strict=True))
            if any(came) and apart and went and not _is_confined(went, out[0], n):
                shapes = [list(ins[came.index(next(filter(None, came)))][0]), list(out[0])]
                return {"op": name, "source": line, "shapes": shapes}
        return {"op": "", "source": "", "shapes": []}


@contextmanager
def _statistics_frozen(model: nn.Module) -> Iterator[bool]:
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training]
    for module in norms:
        module.training = False
    try:
        yield bool(norms)
    finally:
        for module in norms:
            module.training = True


@contextmanager
def _evaluation(model: nn.Module) -> Iterator[None]:
    """Put all modules into evaluation mode meanwhile: dropout has no batch to be shuffled with."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _each_along(values: Any, size: int) -> Any:
    """Return the same with examples moved on by one, in every tensor that has so many second or is a list of them."""
    if isinstance(values, Tensor):
        axis = 1 if values.dim() > 1 else 0
        return values.roll(1, axis) if values.dim() and values.shape[axis] == size else values
    if isinstance(values, dict):
        return {key: _each_along(value, size) for key, value in values.items()}
    if type(values) in (list, tuple):
        return type(values)(_each_along(value, size) for value in values)
    return values


def _are_close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one.detach(), other.detach(), rtol=1e-3, atol=1e-3 * one.detach().abs().mean().item())


def _each(values: Any, axis: int, size: int, change: Callable[[Tensor], Tensor]) -> Any:
    """Return the same with every tensor changed that has as many places along an axis as there are examples."""
    if isinstance(values, Tensor):
        return change(values) if values.dim() > axis and values.shape[axis] == size else values
    if isinstance(values, dict):
        return {key: _each(value, axis, size, change) for key, value in values.items()}
    if type(values) in (list, tuple):
        return type(values)(_each(value, axis, size, change) for value in values)
    return values


def _replaced_tensor(x: Tensor, axis: int, place: int) -> Tensor:
    """Return the same with the example at a place replaced by another one."""
    with torch.no_grad():
        given = x.select(axis, place)
        other = next((x.select(axis, k) for k in range(x.shape[axis]) if not given.equal(x.select(axis, k))), given)
        changed = x.detach().clone()
        changed.select(axis, place).copy_(other)
    return changed.requires_grad_(x.requires_grad)


def _outputs(out: Any) -> Iterator[Tensor]:
    """Yield what may tell examples apart."""
    return (tensor for tensor in tensors_in(out) if tensor.is_floating_point() and tensor.numel() > 1)


def _first_few(x: Tensor) -> Tensor:
    return _narrowed(x, 0, FEW)


def _narrowed(x: Tensor, start: int, length: int) -> Tensor:
    return x.narrow(0, start, length).detach().clone().requires_grad_(x.requires_grad)


def _is_alike(batch: Tensor, alone: Tensor, examples: int) -> bool:
    """Tell whether the second example has the output alone that it has in the batch."""
    if batch.dim() != alone.dim() or batch.dtype is not alone.dtype:
        return False
    axes = [axis for axis in range(batch.dim()) if batch.shape[axis] != alone.shape[axis]]
    if len(axes) != 1 or batch.shape[axes[0]] != examples or alone.shape[axes[0]] != 1:
        return False
    old, new = batch.detach().select(axes[0], 1).double(), alone.detach().select(axes[0], 0).double()
    size = old.square().mean().sqrt().item()
    within = max(ALIKE, 64 * torch.finfo(batch.dtype).eps) * size
    return 0 < size < torch.inf and (old - new).abs().max().item() <= within


Footprint = tuple[tuple[int, ...], tuple[Tensor, ...]]
"""A tensor's shape, and for every axis the sums over all others: enough to see where it changed."""


class _Footprints(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, list[Footprint], Footprint, str]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        out = func(*args, **(kwargs or {}))
        results = [t for t in tensors_in(out) if t.is_floating_point() and t.dim() > 0][:1]
        inputs = [t for t in tensors_in(args) if t.is_floating_point() and t.dim() > 0]
        if results and inputs:
            self.calls.append((func.__name__, [_footprint(t) for t in inputs], _footprint(results[0]), users_line()))
        return out


def _footprint(x: Tensor) -> Footprint:
    with torch.no_grad():
        # No plain sum: one of softmax is 1, whatever went in; and one of squares is, where vectors have length 1.
        wide = x.detach().double().nan_to_num(0, 0, 0).abs().pow(1.5)
        return tuple(x.shape), tuple(
            wide.abs().movedim(axis, 0).reshape(x.shape[axis], -1).sum(1) for axis in range(x.dim())
        )


def _differ(old: Footprint, new: Footprint) -> dict[int, float]:
    """For every axis the share of its places that changed; empty if none did."""
    shares = {axis: _share(a, b) for axis, (a, b) in enumerate(zip(old[1], new[1], strict=True))}
    return shares if all(shares.values()) else {}


def _share(old: Tensor, new: Tensor) -> float:
    scale = old.abs().mean().item() or 1.0
    return float(((old - new).abs() > 1e-5 * scale).double().mean())


def _changed_parts(old: Tensor, new: Tensor) -> dict[int, float]:
    """For every axis of an output the share of its places at which anything changed; empty if nothing did."""
    with torch.no_grad():
        difference = (old.double() - new.double()).abs().nan_to_num(0, 0, 0)
        noise = 64 * torch.finfo(old.dtype).eps * old.double().abs().mean().nan_to_num(0, 0, 0)
        moved = difference > max(noise.item(), 1e-4 * difference.max().item())
        if not bool(moved.any()):
            return {}
        axes = range(old.dim())
        return {a: float(moved.movedim(a, 0).reshape(old.shape[a], -1).any(1).double().mean()) for a in axes}


def _is_confined(parts: Mapping[int, float], shape: Sequence[int], examples: int) -> bool:
    """Tell whether along some axis no more changed than one example's part."""
    return any(share * examples <= 1 + 1e-9 for axis, share in parts.items() if shape[axis] >= examples)
