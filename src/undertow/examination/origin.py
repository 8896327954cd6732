"""The first operation of a forward pass that makes inf or nan out of finite numbers, or is handed some from outside."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from undertow.examination.modules import ModuleStack, users_line
from undertow.tape.tensors import tensors_in

_MASKS = frozenset({"full", "fill", "fill_", "masked_fill", "masked_fill_", "new_full", "full_like", "where"})
"""What writes -inf on purpose, for attention to leave out."""

_WHATEVER_WAS_THERE = ("empty", "resize_", "set_")
"""What hands out memory with whatever was there before."""

_MATRIX_PRODUCTS = frozenset({"addmm", "mm", "bmm", "baddbmm", "mv", "addmv", "convolution"})
"""Nobody multiplies a mask of -inf: what they make nan of came in as data."""

_ORDERED = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
"""Kinds of numbers of which torch finds the smallest and the largest."""

_WRITES_ONLY = frozenset({"copy_", "fill_", "zero_", "normal_", "uniform_", "bernoulli_", "random_"})
"""What works in place and doesn't read what was there."""


@dataclass(frozen=True)
class Origin:
    """Name where it began: module path, torch's name for the operation, and the user's line of source."""

    module: str
    op: str
    source: str


@dataclass(frozen=True)
class Import:
    """Name where inf or nan from outside came in: the first operation that took it, and what it was."""

    module: str
    op: str
    source: str
    what: str


class OriginFinder(TorchDispatchMode):
    """Watches every operation while it is entered; `origin` is the first one to blame.

    Attributes:
        origin: the first operation that made inf or nan out of finite numbers.
        imported: the first that was handed some, if none had made any until then; masks, which hold -inf, come last.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        >>> with OriginFinder(net) as finder:
        ...     _ = (net(torch.zeros(1, 2)) * 0).log_()
        >>> finder.origin.op
        'log_'
        >>> with OriginFinder(net) as finder:
        ...     _ = net(torch.full((1, 2), torch.nan))
        >>> finder.origin, finder.imported.what
        (None, 'an input')
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.origin: Origin | None = None
        self._imported: dict[str, Import] = {}
        self._modules = ModuleStack(model)
        self._names = _names(model)
        self._open = False

    @property
    def imported(self) -> Import | None:
        """Return what came from outside."""
        return self._imported.get("data", self._imported.get("mask"))

    def __enter__(self) -> Self:
        self._open = True
        super().__enter__()  # type: ignore[no-untyped-call]  # torch's
        return self

    def __exit__(self, *error: Any) -> None:
        self.close(*error)

    def close(self, *error: Any) -> None:
        """Stop watching. To do so twice does no harm."""
        if self._open:
            self._open = False
            super().__exit__(*(error or (None, None, None)))  # type: ignore[no-untyped-call]  # torch's
        self._modules.close()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and hold what comes out against what went in; in place that is gone afterwards."""
        del types
        if self.origin is not None:
            return func(*args, **(kwargs or {}))
        op = func.__name__.split(".")[0]
        given = _read(op, args, kwargs or {}) if _writes(func) else None
        bad = [] if given is None else _bad(given)
        nan, infinite = _has_nan(bad), _has_inf(bad)
        out = func(*args, **(kwargs or {}))
        results = tensors_in(out)
        if any(each in op for each in _WHATEVER_WAS_THERE) or not self._lost(results):
            return out
        if given is None:  # still there, and few operations are ever asked for it
            bad = _bad(_read(op, args, kwargs or {}))
            nan, infinite = _has_nan(bad), _has_inf(bad)
        what = self._names.get(bad[0].untyped_storage().data_ptr(), "an input") if bad else ""
        # Out of finite numbers, or nan out of a mask's -inf: a softmax that everything is hidden from.
        news = _has_nan(results) and not nan
        if op not in _MASKS and (not bad or (news and not infinite and op not in _MATRIX_PRODUCTS)):
            self.origin = Origin(self._modules.innermost, op, users_line())
        elif bad:
            kind = "data" if nan or infinite or news else "mask"
            self._imported.setdefault(kind, Import(self._modules.innermost, op, users_line(), what))
        return out

    def _lost(self, results: Iterable[Tensor]) -> bool:
        return not _finite(results)


class OverflowFinder(OriginFinder):
    """Finds the first operation that makes +inf out of finite numbers, where nothing else is wrong with the loss.

    Example:
        >>> net = nn.Linear(2, 2)
        >>> with OverflowFinder(net) as finder:
        ...     _ = 1 / (torch.full((1,), 3e4).half() * 3) + torch.zeros(1).log().exp()
        >>> finder.origin.op
        'mul'
    """

    def _lost(self, results: Iterable[Tensor]) -> bool:
        return _has_inf(results)


def _names(model: nn.Module) -> dict[int, str]:
    """Return names for the model's own tensors, by where their numbers lie."""
    named = [("parameter", model.named_parameters()), ("buffer", model.named_buffers())]
    return {
        tensor.untyped_storage().data_ptr(): f"the {kind} {name}"
        for kind, tensors in named
        for name, tensor in tensors
        if tensor.layout is torch.strided and tensor.numel()
    }


def _read(op: str, args: Any, kwargs: Mapping[str, Any]) -> list[Tensor]:
    """The tensors that an operation reads: what it only writes to may hold anything."""
    read = args[1:] if op in _WRITES_ONLY else args
    return tensors_in((read, {name: value for name, value in kwargs.items() if name != "out"}))


def _bad(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [tensor for tensor in tensors if not _finite([tensor])]


@cache
def _writes(operation: Any) -> bool:
    """Tell whether an operation changes what it is given."""
    return bool(operation._schema.is_mutable)


def _counts(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and (tensor.is_floating_point() or tensor.is_complex())


def _has_nan(tensors: Iterable[Tensor]) -> bool:
    return any(bool(torch.isnan(t).any()) for t in tensors if _counts(t))


def _has_inf(tensors: Iterable[Tensor]) -> bool:
    """Tell whether any holds +inf, which no mask does."""
    return any(
        _largest(t) == math.inf and bool(torch.isposinf(t).any())
        for t in tensors
        if _counts(t) and not t.is_complex() and t.numel()
    )


def _finite(tensors: Iterable[Tensor]) -> bool:
    return all(_is_finite(t) for t in tensors if _counts(t) and t.numel())


def _is_finite(x: Tensor) -> bool:
    """Look at the extremes, which one operation finds; where one isn't finite, something isn't."""
    if x.dtype not in _ORDERED:
        return bool(torch.isfinite(x).all())
    return all(math.isfinite(each.item()) for each in torch.aminmax(x))


def _largest(x: Tensor) -> float:
    """Return the largest number; inf where there is nan among them, or torch can't tell."""
    largest = x.amax().item() if x.dtype in _ORDERED else math.inf
    return math.inf if math.isnan(largest) else largest
