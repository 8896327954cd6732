"""`PassPlacement`: which parameters backward passes are counted on, as steps are long enough to pay for hooks."""

import math
import weakref
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from undertow.watching.governor import HOOKS_SECONDS, Governor
from undertow.watching.pass_counter import SMALL, PassCounter
from undertow.watching.watch_target import WatchTarget

COUNTING_FROM = 1e-5
"""What a step must pay in for backward passes to be counted by a hook, which takes 4 us of it."""

IN_FRONT_FROM, IN_FRONT_SECONDS = {"cpu": math.inf, "elsewhere": 5e-5}, 2e-6
"""What a step must pay in for the front's gradient to be kept, too, and what the hook costs.

On a CPU nothing is enough: what is held lies in the way of the memory of the large gradients behind it, which the
system then takes back and hands out anew, 300 pages in each step of an MLP, 6 % of its time. A GPU's small blocks are
kept apart.
"""


def _in_front_from(device: torch.device) -> float:
    return IN_FRONT_FROM.get(device.type, IN_FRONT_FROM["elsewhere"])


class PassPlacement:
    """Chooses the parameters that backward passes are counted on.

    Args:
        passes: counts them.
        target: what is watched.
        governor: knows what a step pays in, and is charged what hooks cost.

    Attributes:
        on: the parameter that they are counted on.
    """

    def __init__(self, passes: PassCounter, target: WatchTarget, governor: Governor) -> None:
        self._passes, self._target, self._governor = passes, target, governor
        self._then: weakref.WeakMethod[Callable[[], None]] | None = None
        self.on: Tensor | None = None
        self._in_front = False
        self._before = 0

    def begin(self, step: int, then: "weakref.WeakMethod[Callable[[], None]]") -> None:
        """Count from this step on; ``then``: called after every backward pass where losses are scaled."""
        self._then = then
        self._count_on(next(self._countable(), None))
        self._passes.begin(step)

    def mark(self) -> None:
        """Remember how many passes were counted: an observed step begins."""
        self._before = self._passes.total

    def check(self, passes: int) -> None:
        """Count on another parameter, if an observed step had passes that didn't reach the one they are counted on."""
        if passes and self._passes.total == self._before:
            self._count_on(next(self._countable(reached=True), None))
            self._passes.missed(passes)

    def choose(self, passes: int) -> None:
        """Take as many hooks as steps are long enough for, after an observed step that had so many passes."""
        income, counts_steps = self._governor.income, self._passes.by_steps
        if counts_steps:
            if income > 3 * COUNTING_FROM:
                self._count_on(next(self._countable(reached=True), None))
        elif income < COUNTING_FROM:
            if passes and self._governor.typical and not self._target.loss_scale.active:
                self._count_steps(passes)
        elif not self._in_front and self.on is not None and income > _in_front_from(self.on.device):
            self._keep_in_front()

    def _count_steps(self, passes: int) -> None:
        """Take steps for passes, if the gradient is small that tells whether there was one."""
        countable = next(self._countable(reached=True), None)
        if countable is not None and countable.numel() <= SMALL:
            self._passes.count_steps(countable, passes)

    def _keep_in_front(self) -> None:
        """Keep a gradient of the front of the network, too: steps are long enough for one more hook."""
        self._in_front = True
        small = [p for p in reversed(list(self._countable(reached=True))) if p.numel() <= SMALL]
        if len(small) > 1 and not self._target.parameters.sharded:
            self._governor.hooks += IN_FRONT_SECONDS
            self._passes.keep_in_front(small[0])

    def follow_scaler(self) -> None:
        """Have passes followed by a look at the scaler from now on: one was found."""
        self._count_on(self.on if self.on is not None else next(self._countable(), None))

    def _count_on(self, parameter: Tensor | None) -> None:
        self._in_front, self._governor.hooks, self.on = False, HOOKS_SECONDS, parameter
        self._passes.count_on(parameter, self._then if self._target.loss_scale.active else None)

    def _countable(self, reached: bool = False) -> Iterator[Tensor]:
        """Yield parameters to count on, the best first: small, and near the loss.

        What isn't finite comes from the loss nearly always. And to hold on to the gradient of a first layer's bias cost
        10 us a step in the book's net, of a last layer's nothing: it stands in the way of other memory's reuse.
        """
        parameters = self._target.parameters
        held = [each.parameter for each in reversed(parameters.of(0)) if each.parameter.requires_grad]
        if not parameters.identities:  # the optimizer is another model's
            held = [p for _, p in reversed(parameters.others) if p.requires_grad]
        held = [p for p in held if not reached or p.grad is not None]
        return iter(sorted(held, key=lambda p: p.numel() > SMALL))
