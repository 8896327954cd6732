"""Whose a backward pass is: `PassWitness` finds the optimizers whose parameters it reached, `OwnLosses` their losses.

Several models train in one process, and one model may have several losses: an actor's and a critic's, a generator's and
a discriminator's. So no pass is taken for the watched model's because it was made while that is watched.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from undertow.watching.loss_division import LossDivision
from undertow.watching.watched_parameters import WatchedParameters


def roots(tensors: object) -> list[Tensor]:
    """Return the tensors that a backward pass begins at, those that gradient can flow from."""
    many = [tensors] if isinstance(tensors, Tensor) else list(tensors) if isinstance(tensors, Sequence) else []
    return [each for each in many if isinstance(each, Tensor) and each.grad_fn is not None]


def leaves(begun: Iterable[Tensor], wanted: Container[int]) -> "set[int]":
    """Find which of the wanted tensors gradient can flow to, by ``id``. Nothing that was computed is looked at.

    Example:
        >>> import torch
        >>> w, other = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
        >>> leaves([(2 * w).sum()], {id(w), id(other)}) == {id(w)}
        True
    """
    found, waiting = set[int](), [each.grad_fn for each in begun]
    seen: set[Any] = set(waiting)
    while waiting:
        node: Any = waiting.pop()
        if type(node).__name__ == "AccumulateGrad":
            found |= {id(node.variable)} if id(node.variable) in wanted else set()
            continue
        for before, _ in node.next_functions:
            if before is not None and before not in seen:
                seen.add(before)
                waiting.append(before)
    return found


Seen = tuple[Tensor | None, int]
"""A gradient, and how often it was changed in place."""


class PassWitness:
    """Finds out which optimizers' parameters a backward pass reached.

    One parameter of each optimizer bears witness: its gradient is another one after the pass, or was added to. Only
    where it isn't and wasn't, the graph is followed from the loss: in a step of another model, or of another optimizer.

    Args:
        parameters: the optimizers'.

    Example:
        >>> import torch
        >>> first, second = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
        >>> model = torch.nn.ModuleList([first, second])
        >>> optimizers = [torch.optim.SGD(each.parameters(), lr=0.1) for each in model]
        >>> witness = PassWitness(WatchedParameters(model, optimizers))
        >>> loss = second(torch.ones(3, 2)).sum()
        >>> witness.begins()
        >>> loss.backward()
        >>> witness.reached([loss]), witness.reaches_model
        ([1], True)
    """

    def __init__(self, parameters: WatchedParameters) -> None:
        self._parameters = parameters
        self._witnesses: list[Tensor | None] = []
        self._of: object = None
        self._before: list[Seen] = []
        self._all: list[int] = []
        self.reaches_model = False

    def begins(self) -> None:
        """Look at the witnesses: a backward pass begins."""
        if self._of is not self._parameters.identities:
            self._of, self._witnesses = self._parameters.identities, self._chosen()
            self._all = list(range(len(self._witnesses)))
        self._before = [_seen(each) for each in self._witnesses]

    def reached(self, begun: Sequence[Tensor]) -> list[int]:
        """Return the optimizers whose parameters the pass reached that began at these tensors and is over."""
        changed = [_has_changed(each, seen) for each, seen in zip(self._witnesses, self._before, strict=True)]
        self._before, self.reaches_model = [], True
        if False not in changed:
            return self._all
        if self._parameters.sharded:  # computes with other tensors than the optimizers hold
            return [index for index, each in enumerate(changed) if each] or list(range(len(changed)))
        return self._followed(begun, changed)

    def _followed(self, begun: Sequence[Tensor], changed: Sequence[bool]) -> list[int]:
        everything = self._parameters.identities.union(id(p) for _, p in self._parameters.others)
        found = leaves(begun, everything)
        reached = []
        for index, known in enumerate(changed):
            mine = [each.parameter for each in self._parameters.of(index)]
            hit = next((p for p in mine if id(p) in found), None)
            if hit is not None and not known:  # a better witness than one that this loss doesn't reach
                self._witnesses[index] = hit
            if known or hit is not None:
                reached.append(index)
        self.reaches_model = bool(found) or any(changed)
        if not self._parameters.identities and found:  # the first optimizer is another model's: that is a finding
            return [0]
        return reached

    def _chosen(self) -> list[Tensor | None]:
        """Choose a parameter of each optimizer, near the loss."""
        many = (self._parameters.of(index) for index in range(self._parameters.optimizers))
        return [next((e.parameter for e in reversed(held) if e.parameter.requires_grad), None) for held in many]


def _seen(witness: Tensor | None) -> Seen:
    gradient = None if witness is None else witness.grad
    return gradient, -1 if gradient is None else gradient._version


def _has_changed(witness: Tensor | None, before: Seen) -> bool:
    gradient = None if witness is None else witness.grad
    return gradient is not before[0] or (gradient is not None and gradient._version != before[1])


@dataclass(eq=False)
class HeardPass:
    """A backward pass of the watched model.

    Attributes:
        number: of the step's passes.
        losses: that it began at, without their graphs; none if they aren't single numbers.
        division: what the loss was divided by.
        reached: optimizers whose parameters it reached.
        taken: optimizers that have taken it for theirs.
        passed: optimizers that have stepped since.
    """

    number: int
    losses: Sequence[Tensor] = ()
    division: LossDivision = field(default_factory=LossDivision)
    reached: Sequence[int] = ()
    taken: set[int] = field(default_factory=set)
    passed: set[int] = field(default_factory=set)


class OwnLosses:
    """Gives every optimizer the losses that it makes its step for.

    A pass is an optimizer's if it reached parameters of its. Of those since its last step it takes the ones that
    reached no other optimizer's: a generator's loss reaches the discriminator, too, and is the generator's. Where there
    are none, it takes those that no other has stepped for; where there are none but such, they share the loss.

    Example:
        >>> losses = OwnLosses()
        >>> for number, reached in enumerate([(0, 1), (1,)]):
        ...     losses.add(HeardPass(number, reached=reached))
        >>> [[each.number for each in losses.take(optimizer)] for optimizer in (0, 1)]
        [[0], [1]]

    Attributes:
        waiting: passes that no optimizer has taken.
    """

    def __init__(self) -> None:
        self._passes: list[HeardPass] = []
        self.waiting = 0

    def add(self, heard: HeardPass) -> None:
        """Add a backward pass."""
        self._passes.append(heard)
        self.waiting += 1

    def take(self, optimizer: int) -> list[HeardPass]:
        """Return the passes that an optimizer is about to step for."""
        mine = [each for each in self._passes if optimizer in each.reached and optimizer not in each.passed]
        alone = [each for each in mine if len(each.reached) == 1]
        free = alone or [each for each in mine if not each.taken]
        for each in mine:
            each.passed.add(optimizer)
        return self._given(free or mine, optimizer)

    def _given(self, passes: list[HeardPass], optimizer: int) -> list[HeardPass]:
        for each in passes:
            self.waiting -= not each.taken
            each.taken.add(optimizer)
        return passes

    def awaited(self, optimizer: int) -> set[int]:
        """Return the optimizers that haven't stepped for losses which reached theirs, too, and that one has taken.

        Those aren't among them that have losses of their own, as a discriminator has.
        """
        mine = [each for each in self._passes if optimizer in each.taken]
        alone = {each.reached[0] for each in self._passes if len(each.reached) == 1}
        return {other for each in mine for other in each.reached if other not in each.passed} - alone

    @property
    def apart(self) -> bool:
        """Tell whether every optimizer stepped for losses of its own."""
        return all(len(each.taken) < 2 for each in self._passes)

    def left(self, optimizer: int) -> list[HeardPass]:
        """Return the passes that reached an optimizer's parameters and that none has stepped for, and take them."""
        mine = [each for each in self._passes if optimizer in each.reached and not each.taken]
        return self._given(mine, optimizer)
