"""Calls of functions that go through others, while a model runs or a loss is computed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from undertow.training import Training

Instead = Mapping[str, Callable[..., Any]]
"""By the name of a function: what takes the function and its arguments, and returns what it would."""


class Replacing(TorchFunctionMode):
    """Calls functions by name through others, which take the function and its arguments.

    Attributes:
        replaced: names of the functions that were.

    Example:
        >>> import torch
        >>> with Replacing({"sqrt": lambda sqrt, x: sqrt(x.clamp(min=4.0))}):
        ...     torch.tensor(0.0).sqrt()
        tensor(2.)
    """

    def __init__(self, instead: Instead) -> None:
        super().__init__()
        self._instead = instead
        self.replaced: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call it, or the one in its place."""
        del types
        name = getattr(func, "__name__", "")
        instead = self._instead.get(name)
        if instead is None:
            return func(*args, **(kwargs or {}))
        self.replaced.append(name)
        return instead(func, *args, **(kwargs or {}))


@dataclass(frozen=True)
class Replacement:
    """Say which calls go through others, as data; `rewiring.rewire` takes it for a model."""

    instead: Instead

    def of(self, model: nn.Module) -> Replacing:
        """Make a mode for one call."""
        del model
        return Replacing(self.instead)


@dataclass(frozen=True)
class ReplacingLoss:
    """A loss whose calls go through others: those within the model as well as its own."""

    loss: Callable[[nn.Module, Any], Tensor]
    instead: Instead

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        """Compute the loss."""
        with Replacing(self.instead):
            return self.loss(model, batch)

    @classmethod
    def around(cls, training: Training, instead: Instead) -> Training:
        """Return a training whose loss is computed so."""
        return replace(training, loss=cls(training.loss, instead))
