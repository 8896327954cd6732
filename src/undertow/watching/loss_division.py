"""Find what a step's losses were divided by before their backward passes, and the step's mean loss.

Under accumulation a step has several backward passes. Trainers and people divide each pass's loss by the number of
passes, once or in several places, by all tokens of the step, or not at all. The last operations of the loss tell.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from undertow.tape.facts import saved

FURTHEST = 8
"""Operations that are looked at from a loss on."""

DIVISIONS = ("DivBackward0", "MulBackward0")
THROUGH = ("ToCopyBackward0", "CloneBackward0", "AliasBackward0", "ViewBackward0", "SqueezeBackward0")
"""Operations that leave a loss as it is."""

Divisor = tuple[float, bool]
"""A number that a loss was divided by, and whether it was written so: False where the loss was multiplied by a part."""

SUMMED = 2
"""What operations of torch's call ``reduction="sum"``."""


@dataclass(frozen=True, slots=True)
class LossDivision:
    """The numbers that a loss was divided by, last of all.

    Attributes:
        numbers: from the last one back, and whether it was divided by them, or multiplied.
        rows: the shape of what was summed up right before that; empty for a mean, or what nobody knows.
    """

    numbers: Sequence[tuple[Tensor, bool]] = ()
    rows: Sequence[int] = ()

    def divisors(self, arrived: Sequence[float]) -> list[Divisor]:
        """Return the divisors that are no part of the loss itself, from the numbers that have arrived on the host.

        A sum that was divided by its own number of examples is a mean: that number is left out.
        """
        pairs = zip(arrived, self.numbers, strict=True)
        found = [(number if divides else 1 / number, divides) for number, (_, divides) in pairs if number]
        if found and _is_mean(found[-1][0], self.rows):
            found.pop()
        return found


def _is_mean(divisor: float, rows: Sequence[int]) -> bool:
    """Tell whether a sum over this shape becomes a mean by that divisor: of examples, of positions, of all values."""
    sizes = [math.prod(rows[: n + 1]) for n in range(len(rows))]
    return any(math.isclose(divisor, size) for size in sizes) or (bool(rows) and rows[0] % max(divisor, 1.0) == 0)


def loss_division(loss: Tensor) -> LossDivision:
    """Return the numbers that a loss was divided by, or multiplied with, last of all.

    A loss scale may follow: it is a tensor, and no number. Nothing is computed, and nobody waits.

    Example:
        >>> import torch
        >>> w = torch.ones(2, requires_grad=True)
        >>> loss_division((w.mean() / 4) * torch.tensor(1024.0)).numbers
        [(tensor(4), True)]
        >>> loss_division(w.mean() * 0.25 / 1).numbers
        [(tensor(1), True), (tensor(0.2500, dtype=torch.float64), False)]
        >>> loss_division(w.sum() / 2), loss_division(w.mean()).numbers
        (LossDivision(numbers=[(tensor(2), True)], rows=(2,)), [])
    """
    node: Any = loss.grad_fn
    numbers: list[tuple[Tensor, bool]] = []
    for count in range(FURTHEST):
        name = "" if node is None else node.name()
        if name not in DIVISIONS and name not in THROUGH:
            break
        before = [each for each, _ in node.next_functions]
        place = next((at for at, each in enumerate(before) if each is not None), 0)
        if name in DIVISIONS:
            number = saved(node, "other" if place == 0 else "self")
            if number is not None and number.dim() == 0 and number.dtype in (torch.int64, torch.float64):
                numbers.append((number, name == "DivBackward0"))
            elif count:
                break
        node = before[place]
    return LossDivision(numbers, _summed(node) if numbers else ())


def _summed(node: Any) -> tuple[int, ...]:
    """Return the shape of what an operation adds up to one number; empty if it doesn't, or nobody knows."""
    if node is None or (node.name() != "SumBackward0" and getattr(node, "_saved_reduction", None) != SUMMED):
        return ()
    before, place = node.next_functions[0]
    described = getattr(before, "_input_metadata", ())
    return tuple(described[place].shape) if place < len(described) else ()


@dataclass
class AccumulationWindow:
    """The number of backward passes that a training divides its losses by, as steps show it.

    The last step of an epoch may have fewer passes, each divided as in the others.

    Attributes:
        passes: the number; 0 as long as nobody knows.
    """

    passes: int = 0


def whole_loss(
    losses: Sequence[float],
    divisors: Sequence[Sequence[Divisor]] = (),
    parts: bool | None = None,
    window: AccumulationWindow | None = None,
) -> float:
    """Return the mean loss of a step from those of its backward passes.

    Args:
        losses: as the passes began at them.
        divisors: what each pass's loss was divided by, the last one first.
        parts: whether they add up to the step's loss, and fewer than they were divided by (at the end of the data) to
            that part of it; False if each is a loss of its own; None to tell by what they were divided by.
        window: the number of passes that earlier steps had, and that this one may show.

    Returns:
        The mean of the losses as they were before they were divided by the number of passes; their sum where they were
        divided by all examples or tokens of the step.

    Example:
        >>> by = [[(2.0, True)]] * 2
        >>> whole_loss([0.5, 0.7], by), whole_loss([1.0, 1.4]), whole_loss([0.5, 0.7], parts=True)
        (1.2, 1.2, 1.2)

        By Accelerate's 1 and by hand; and where the data end before the step is full:

        >>> whole_loss([0.5, 0.7], [[(1.0, True), (2.0, True)]] * 2)
        1.2
        >>> whole_loss([0.25, 0.35], [[(4.0, True)]] * 2, window=AccumulationWindow(4))
        1.2
    """
    several, window = len(losses), window or AccumulationWindow()
    alike = _alike(divisors) if len(divisors) == several and parts is not False else []
    full = next((each for each in (window.passes, several) if each >= max(several, 2) and _holds(alike, each)), 0)
    if full:
        window.passes = full
        return sum(losses) * full / several
    if parts:
        return sum(losses) * max(alike[0][0] / several if alike else 1.0, 1.0)
    by_all = several > 1 and any(divides and number > several for number, divides in alike)
    return sum(losses) if by_all else sum(losses) / several


def _holds(divisors: Sequence[Divisor], passes: int) -> bool:
    """Tell whether a number of passes is among the divisors, or is the product of some that follow each other."""
    numbers = [number for number, _ in divisors]
    ends = itertools.combinations(range(len(numbers) + 1), 2)
    return any(math.isclose(math.prod(numbers[begin:end]), passes) for begin, end in ends)


def _alike(divisors: Sequence[Sequence[Divisor]]) -> list[Divisor]:
    """Return the divisors of all passes' losses, as far as they are the same."""
    found = []
    for each in zip(*divisors, strict=False):
        if len(set(each)) > 1:
            break
        found.append(each[0])
    return found
