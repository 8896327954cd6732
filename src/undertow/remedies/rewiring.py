"""Calls of torch's functions that are changed while a model runs: activations that no module holds.

Which activation is hidden and which is the output's own is told by the last layer that was called before it. A mode is
made anew for every call, so that models stay copyable.
"""

from collections.abc import Callable, Collection
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from undertow.remedies.anatomy import run_loss, weight_of
from undertow.training import Training

LAYER_FUNCTIONS = frozenset(
    {"linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}
)


COPYING = "tensor"
"""What makes a tensor of numbers, and one without a graph of tensors."""


def copies(args: Any) -> bool:
    """Tell whether what ``torch.tensor`` is given are tensors, from which it takes the graph.

    Example:
        >>> copies((torch.ones(2),)), copies(([torch.ones(()), torch.ones(())],)), copies(([1.0, 2.0],))
        (True, True, False)
    """
    first = args[0] if args else None
    several = isinstance(first, list | tuple) and bool(first) and all(isinstance(each, Tensor) for each in first)
    return several or isinstance(first, Tensor)


PRODUCTS = frozenset({"matmul", "__matmul__", "__rmatmul__", "mm", "addmm", "bmm", "einsum"})
"""By which layers of the user's own multiply."""


def weight_in(name: str, args: Any, keywords: Any) -> Any:
    """Return the weight that a call multiplies by, if it is a layer's; else None.

    Example:
        >>> w = nn.Parameter(torch.ones(3, 2))
        >>> weight_in("matmul", (torch.ones(4, 3), w), {}) is w, weight_in("matmul", (torch.ones(3), torch.ones(3)), {})
        (True, None)
    """
    if name in LAYER_FUNCTIONS:
        return args[1] if len(args) > 1 else keywords.get("weight")
    if name not in PRODUCTS:
        return None
    return next(
        (each for each in (*args, *keywords.values()) if isinstance(each, nn.Parameter) and each.ndim > 1), None
    )


class Rewired(TorchFunctionMode):
    """Calls another function in the place of some.

    Args:
        names: of the functions that are replaced.
        instead: takes their first argument.
        head: the weight of the last layer; None if nobody knows which it is.
        behind: whether those behind the head are replaced, or those in front of it.
        once: whether only the first behind each call of the head is.
        attach: whether the gradient is kept on where ``torch.no_grad()`` has turned it off.
        only: which of the calls is replaced, counted from 0, those of parameters left out; all of them without.
        flat: names of more functions that are replaced where they are given a matrix.

    Attributes:
        replaced: names of the functions that were.

    Example:
        >>> import torch
        >>> with Rewired({"sigmoid"}, torch.relu):
        ...     torch.sigmoid(torch.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """

    def __init__(
        self,
        names: Collection[str],
        instead: Callable[[Tensor], Tensor],
        head: Tensor | None = None,
        behind: bool = False,
        once: bool = False,
        attach: bool = False,
        only: int | None = None,
        flat: Collection[str] = (),
    ) -> None:
        super().__init__()
        self._flat = flat
        self._only, self._met = only, -1
        self._names, self._instead, self._head, self._wanted = names, instead, head, behind
        self._behind, self._once, self._attach = False, once, attach
        self.replaced: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call it, or the one in its place."""
        del types
        name, keywords = _name(func), kwargs or {}
        if (weight := weight_in(name, args, keywords)) is not None:
            self._behind = self._head is not None and weight is self._head
        elif self._is_named(name, args) and self._behind is self._wanted and self._is_meant(args):
            self.replaced.append(name)
            self._behind = self._behind and not self._once
            return self._instead(args[0] if args else keywords["input"])
        with torch.enable_grad() if self._attach else nullcontext():
            return func(*args, **keywords)

    def _is_named(self, name: str, args: Any) -> bool:
        if (name == COPYING and not copies(args)) or (name == "item" and not args[0].requires_grad):
            return False
        matrix = name in self._flat and bool(args) and getattr(args[0], "ndim", 0) == 2
        return name in self._names or matrix

    def _is_meant(self, args: Any) -> bool:
        if self._only is None:
            return True
        self._met += not (args and isinstance(args[0], nn.Parameter))
        return self._only == self._met and not isinstance(args[0], nn.Parameter)


def _name(func: Any) -> str:
    """Return a function's name; that of a property is the one that it is read by."""
    name = getattr(func, "__name__", "")
    return getattr(getattr(func, "__self__", None), "__name__", name) if name == "__get__" else name


@dataclass(frozen=True)
class Rewiring:
    """Say how calls are changed, as data; it makes a mode for a model.

    Attributes:
        names, instead, behind, once, attach, only, flat: as `Rewired` takes them.
        head: the path of the last layer, or of its weight where no module holds it; empty if nobody knows.
    """

    names: frozenset[str]
    instead: Callable[[Tensor], Tensor]
    head: str = ""
    behind: bool = False
    once: bool = False
    attach: bool = False
    only: int | None = None
    flat: frozenset[str] = frozenset()

    def of(self, model: nn.Module) -> Rewired:
        """Make a mode for one call."""
        weight = _weight_at(model, self.head) if self.head else None
        return Rewired(self.names, self.instead, weight, self.behind, self.once, self.attach, self.only, self.flat)


def _weight_at(model: nn.Module, path: str) -> Tensor:
    """Return the parameter of that name, or the weight of the layer."""
    named = dict(model.named_parameters()).get(path)
    return weight_of(model.get_submodule(path)) if named is None else named


def last_weight(model: nn.Module, training: Training) -> str:
    """Return the name of the parameter that a model multiplies by last, as layers do; empty if there is none.

    Layers that aren't modules of the model, such as Keras keeps them, are found so.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))
        >>> make = lambda model: torch.optim.SGD(model.parameters(), lr=0.1)
        >>> last_weight(net, Training(lambda: net, [torch.ones(8, 4)], lambda model, x: model(x).sum(), make))
        '2.weight'
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    with _Multiplied() as seen:
        run_loss(model, training)
    return next((names[id(weight)] for weight in reversed(seen.weights) if id(weight) in names), "")


class _Multiplied(TorchFunctionMode):
    """Notes by which weights something is multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        keywords = kwargs or {}
        if (weight := weight_in(_name(func), args, keywords)) is not None:
            self.weights.append(weight)
        return func(*args, **keywords)


class Changing(Protocol):
    """Say how calls are changed: make a mode for a model."""

    def of(self, model: nn.Module) -> Any:
        """Make a mode for one call."""


def rewire(model: nn.Module, rewiring: Changing) -> None:
    """Change calls within a model's own forward pass, by hooks that can be copied together with it."""
    opened = _Opened(rewiring)
    model.register_forward_pre_hook(opened.enter, with_kwargs=True)
    model.register_forward_hook(opened.leave, with_kwargs=True, always_call=True)


def functions_called(model: nn.Module, training: Training, rewiring: Changing) -> list[str]:
    """Return the names of the functions that a rewiring would replace in a model, as often as it would."""
    opened = _Opened(rewiring)
    handles = (
        model.register_forward_pre_hook(opened.enter, with_kwargs=True),
        model.register_forward_hook(opened.leave, with_kwargs=True, always_call=True),
    )
    try:
        run_loss(model, training)
    finally:
        for handle in handles:
            handle.remove()
    return opened.replaced


@dataclass
class _Opened:
    rewiring: Changing
    modes: list[Any] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)

    def enter(self, module: nn.Module, given: Any, keywords: Any) -> None:
        del given, keywords
        mode = self.rewiring.of(module)
        mode.__enter__()
        self.modes.append(mode)

    def leave(self, module: nn.Module, given: Any, keywords: Any, made: Any) -> None:
        del module, given, keywords, made
        if self.modes:
            mode = self.modes.pop()
            mode.__exit__(None, None, None)
            self.replaced = mode.replaced


@dataclass(frozen=True)
class RewiredLoss:
    """A loss whose calls are changed: those within the model as well as its own.

    Only the loss sees it: a score still gets from the model what it got before.
    """

    loss: Callable[[nn.Module, Any], Tensor]
    rewiring: Changing

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        """Compute the loss."""
        with self.rewiring.of(model):
            return self.loss(model, batch)


def through(x: Tensor) -> Tensor:
    """Hand on what is given; several tensors as one.

    Example:
        >>> through(1), through([torch.ones(()), torch.ones(())])
        (1, tensor([1., 1.]))
    """
    return torch.stack(list(x)) if isinstance(x, list | tuple) else x
