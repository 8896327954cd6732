"""`WatchedParameters`: the parameters that optimizers hold, by name."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from undertow.watching.sharding import answers_for, is_sharded


@dataclass(slots=True)
class WatchedParameter:
    """A parameter that an optimizer holds, with its name and its parameter group.

    Attributes:
        counts: whether this process answers for its part: of copies of one part only one must be added up.
    """

    name: str
    parameter: nn.Parameter
    group: dict[str, Any]
    counts: bool = True

    @property
    def lr(self) -> float | Tensor:
        """Return the learning rate; a tensor where the optimizer keeps it on the device."""
        return self.group.get("lr", float("nan"))


class WatchedParameters:
    """The parameters of a model that optimizers hold, in the model's order.

    Attributes:
        optimizers: how many there are.
        identities: of the parameters that they hold.
        others: names and parameters of the model that none of them holds.
        sharded: whether parameters are spread over processes.
        given: gradients that an optimizer takes and that are not in ``.grad``, by ``id`` of the parameter.

    Example:
        >>> import torch
        >>> net = nn.Linear(2, 1)
        >>> watched = WatchedParameters(net, [torch.optim.SGD(net.parameters(), lr=0.5)])
        >>> [(each.name, each.lr) for each in watched.of(0)]
        [('weight', 0.5), ('bias', 0.5)]
    """

    def __init__(self, model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
        self._model, self._optimizers = model, optimizers
        self._sizes: list[int] = []
        self._by_optimizer: list[list[WatchedParameter]] = []
        self._parameters: list[list[nn.Parameter]] = []
        self.sharded = False
        self.given: dict[int, Tensor] = {}
        self.optimizers = len(optimizers)
        self.refresh()

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all, in the model's order."""
        return self._names

    def of(self, optimizer: int) -> list[WatchedParameter]:
        """Return one optimizer's, up to date: layers may have been added, and weights replaced."""
        if self._sizes != self._count():
            self.refresh()
        return self._by_optimizer[optimizer]

    def gradients(self, optimizer: int) -> tuple[list[WatchedParameter], list[Tensor | None]]:
        """Return one optimizer's, with the gradient of each."""
        parameters = self.of(optimizer)
        if self.given:
            return parameters, [self.given.get(id(p), p.grad) for p in self._parameters[optimizer]]
        return parameters, [p.grad for p in self._parameters[optimizer]]

    def any_gradient(self, optimizer: int) -> bool:
        """Tell whether any of one optimizer's parameters has a gradient."""
        self.of(optimizer)
        return any(p.grad is not None for p in self._parameters[optimizer])

    def refresh(self) -> None:
        """Look up the parameters anew."""
        self._sizes = self._count()
        named = {id(p): (place, name) for place, (name, p) in enumerate(self._model.named_parameters())}
        self.sharded = any(is_sharded(p) for p in self._model.parameters())
        found = []
        for optimizer in self._optimizers:
            mine = {id(p): (p, group) for group in optimizer.param_groups for p in group["params"] if id(p) in named}
            order = sorted(mine, key=lambda key: named[key][0])
            found.append([self._parameter(named[key][1], *mine[key]) for key in order])
        self._by_optimizer = found
        self._parameters = [[m.parameter for m in each] for each in found]
        self._names = tuple(name for _, name in sorted({named[id(m.parameter)] for each in found for m in each}))
        self._find_others(found)

    def _find_others(self, found: list[list[WatchedParameter]]) -> None:
        self.identities = frozenset(id(m.parameter) for each in found for m in each)
        named = self._model.named_parameters()
        self.others = tuple((name, p) for name, p in named if id(p) not in self.identities)
        held = {id(p) for each in self._optimizers for group in each.param_groups for p in group["params"]}
        self._foreign = len(held - self.identities)

    def counts(self) -> dict[str, int]:
        """Count the parameters that optimizers hold, by what gradient there is: see `undertow.examination`."""
        held = list({id(each.parameter): each.parameter for each in self}.values())
        return {
            "reached": sum(p.grad is not None for p in held),
            "foreign": self._foreign,
            "frozen": sum(not p.requires_grad for p in held),
            "unreached": sum(p.requires_grad and p.grad is None for p in held),
        }

    def _parameter(self, name: str, parameter: nn.Parameter, group: dict[str, Any]) -> WatchedParameter:
        return WatchedParameter(name, parameter, group, answers_for(parameter) if self.sharded else True)

    def _count(self) -> list[int]:
        return [len(group["params"]) for optimizer in self._optimizers for group in optimizer.param_groups]

    def __iter__(self) -> Iterator[WatchedParameter]:
        for parameters in self._by_optimizer:
            yield from parameters
