"""How remedies change a training: by wrapping what makes its model, its optimizer or its scheduler.

Everything here can be copied, pickled by reference and called in another process.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from torch.optim import Optimizer

from undertow.training import Training


@dataclass(frozen=True)
class Then:
    """A function, and what is done to whatever it returns.

    Example:
        >>> Then(lambda n: [n], lambda made: made.append(2))(1)
        [1, 2]
    """

    make: Callable[..., Any]
    change: Callable[[Any], Any]

    def __call__(self, *given: Any) -> Any:
        """Make it and change it: in place, or by returning another one."""
        made = self.make(*given)
        changed = self.change(made)
        return made if changed is None else changed


def on_model(training: Training, change: Callable[[nn.Module], nn.Module | None]) -> Training:
    """Return a training whose model is changed right after it was made."""
    return replace(training, model=Then(training.model, change))


def on_optimizer(training: Training, change: Callable[[Optimizer], Optimizer | None]) -> Training:
    """Return a training whose optimizer is changed right after it was made, before a scheduler sees it."""
    return replace(training, optimizer=Then(training.optimizer, change))
