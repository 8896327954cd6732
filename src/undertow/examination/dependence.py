"""Whether the loss depends on a parameter that no gradient reaches: used and cut off, or not used at all."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from undertow.examination.modules import ModuleStack, users_line
from undertow.tape.tensors import tensors_in


@dataclass(frozen=True)
class CutPlace:
    """Name where a parameter's way to the loss is cut: module path, torch's name for the operation, and the line."""

    module: str
    op: str
    source: str


@dataclass(frozen=True, slots=True)
class _Traced:
    """Know which parameters the numbers at one place in memory follow from, a bit each, and what wrote them."""

    depends: int
    writer: CutPlace


_NOBODY = CutPlace("", "", "")


class DependenceFinder(TorchDispatchMode):
    """Watches every operation while it is entered, and knows of every tensor which parameters it was computed from.

    Values count, not gradients: what is detached, computed under ``no_grad``, rounded or turned into indices still
    depends. It is followed by where numbers lie in memory, so views and in-place operations are, too; numbers that
    leave torch (``.item()``) are not.

    Args:
        model: whose modules give places their names.
        parameters: those to follow, by name.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        >>> with DependenceFinder(net, dict(net.named_parameters())) as finder:
        ...     loss = net[0](torch.ones(1, 2)).detach().sum()
        >>> sorted(finder.used(loss)), finder.cut("0.weight").op
        (['0.bias', '0.weight'], 'detach')
    """

    def __init__(self, model: nn.Module, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self._names = tuple(parameters)
        self._modules = ModuleStack(model)
        self._traced: dict[int, _Traced] = {}
        self._cuts: dict[int, CutPlace] = {}
        self._uncut = self._numbers = 0
        self._listener = _Listener(self)
        for place, tensor in enumerate(parameters.values()):
            self._traced[_memory(tensor)] = _Traced(1 << place, _NOBODY)
            self._uncut |= 1 << place

    def __enter__(self) -> Self:
        super().__enter__()  # type: ignore[no-untyped-call]  # torch's
        self._listener.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        self._listener.__exit__(*error)  # type: ignore[no-untyped-call]
        super().__exit__(*error)  # type: ignore[no-untyped-call]  # torch's
        self._modules.close()

    def used(self, loss: Tensor) -> set[str]:
        """Return the names of the parameters that a tensor depends on."""
        return self._named(self._depends([loss]))

    @property
    def left_torch(self) -> set[str]:
        """Names of the parameters that numbers depend on which Python or NumPy was given."""
        return self._named(self._numbers)

    def cut(self, name: str) -> CutPlace | None:
        """Return the first operation that a parameter's gradient would not get through; None where nobody saw it."""
        return self._cuts.get(self._names.index(name))

    def leaves_torch(self, values: Any) -> None:
        """Take note that numbers are read out."""
        self._numbers |= self._depends(tensors_in(values))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation; what it writes depends on all that it read."""
        del types
        given = [t for t in tensors_in(_read(func, args, kwargs or {})) if t.numel()]
        depends = self._depends(given)
        if depends & self._uncut:
            self._look_for_cuts(given)
        out = func(*args, **(kwargs or {}))
        writer = CutPlace(self._modules.innermost, func.__name__.split(".")[0], users_line()) if depends else _NOBODY
        self._write(out, depends, writer)
        if _NORM.match(writer.op):  # the mean and the deviation that it returns beside know nothing of its weights
            self._write(out[1:], self._depends(tensors_in(args[:1])), writer)
        return out

    def _write(self, out: Any, depends: int, writer: CutPlace) -> None:
        for place in {_memory(tensor) for tensor in tensors_in(out) if tensor.numel()}:
            if depends:
                self._traced[place] = _Traced(depends, writer)
            else:
                self._traced.pop(place, None)  # memory that somebody else had before

    def _depends(self, tensors: Iterable[Tensor]) -> int:
        known = (self._traced.get(_memory(tensor)) for tensor in tensors)
        return reduce(or_, (each.depends for each in known if each is not None), 0)

    def _named(self, bits: int) -> set[str]:
        return {name for place, name in enumerate(self._names) if bits >> place & 1}

    def _look_for_cuts(self, given: Iterable[Tensor]) -> None:
        """Numbers that depend on a parameter and take no gradient: what wrote them cut it. Or nothing takes any now."""
        for tensor in given:
            known = self._traced.get(_memory(tensor))
            new = 0 if known is None else known.depends & self._uncut
            if known is None or not new or (tensor.requires_grad and torch.is_grad_enabled()):
                continue
            here = CutPlace(self._modules.innermost, "no_grad", users_line())
            cut = here if tensor.requires_grad or known.writer is _NOBODY else known.writer
            self._cuts |= {place: cut for place in range(new.bit_length()) if new >> place & 1}
            self._uncut &= ~new


_NORM = re.compile(r"_?native_\w+_norm(_legit)?$")

_READERS = frozenset({"item", "tolist", "numpy", "__float__", "__int__", "__bool__", "__index__", "__array__"})


class _Listener(TorchFunctionMode):
    """Hears of numbers that are read out of tensors, which no operation does."""

    def __init__(self, finder: DependenceFinder) -> None:
        super().__init__()
        self._finder = finder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        if getattr(func, "__name__", "") in _READERS:
            self._finder.leaves_torch(args)
        return func(*args, **(kwargs or {}))


def _read(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return what an operation's values follow from: no tensor it takes the shape of, no bias in a backward pass."""
    op = func.__name__.split(".")[0]
    if op.endswith("_like") or op.startswith("new_"):
        return ()
    if not op.endswith("_backward"):
        return args, kwargs
    names = [argument.name for argument in func._schema.arguments]
    return [value for name, value in (*zip(names, args, strict=False), *kwargs.items()) if name != "bias"]


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided else id(tensor)
