"""`LeafFinder`: who else takes gradient in somebody's training: layers in lists, weights made in forward."""

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from undertow.tape.other_leaves import describe_leaves


class LeafFinder:
    """Describes the leaves of the first backward pass that are no parameters of the model, and what became of them.

    Args:
        model: the user's.
        optimizers: they may hold them.

    Attributes:
        facts: of each, as `describe_leaves` returns them; ``new`` is known from the second pass on: nobody kept the
            tensor, so that another one is made in every pass. None before a pass was seen.

    Example:
        >>> import torch
        >>> net = nn.Linear(2, 2)
        >>> finder = LeafFinder(net, [])
        >>> made = nn.Linear(2, 1)
        >>> finder.look(list(made.parameters()), made(net(torch.ones(3, 2))).sum())
        >>> del made
        >>> finder.look([], torch.ones(()))
        >>> [fact["new"] for fact in finder.facts]
        [True, True]
    """

    def __init__(self, model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
        self._model, self._optimizers = model, optimizers
        self._seen: list[weakref.ref[Tensor]] = []
        self._is_done = False
        self.facts: Sequence[Mapping[str, Any]] | None = None

    def look(self, leaves: Sequence[Tensor], loss: Tensor) -> None:
        """Look at the leaves of a backward pass that are no parameters; the graph must not be freed yet."""
        if self.facts is None:
            self.facts = describe_leaves(self._model, leaves, loss, self._optimizers, ())
            self._seen = [weakref.ref(leaf) for leaf in leaves]
        elif not self._is_done:
            gone = [leaf() is None for leaf in self._seen]
            self.facts = [{**fact, "new": new} for fact, new in zip(self.facts, gone, strict=True)]
            self._is_done = True
