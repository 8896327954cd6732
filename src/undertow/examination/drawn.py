"""Find what is drawn without gradient from a learned mean and deviation, and goes on into layers."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

MOST = 64
"""Draws that are kept."""


class Draws:
    """Follows numbers that `torch.normal` drew by what learns, while gradients were off.

    Of those whose log-probability is looked at (policy gradients) the layers before learn by that.

    Example:
        >>> import torch
        >>> z, draws = torch.zeros(2, 3), Draws()
        >>> draws.drawn(z, 7)
        >>> draws.enters_a_layer(z.view(3, 2)), draws.passed_on()
        (None, 7)
    """

    def __init__(self) -> None:
        self._drawn: dict[int, tuple[Tensor, int]] = {}
        self._entered: list[int] = []
        self._scored: set[int] = set()

    def drawn(self, out: Tensor, number: int) -> None:
        """Take what was drawn; ``number`` is autograd's at that time."""
        if len(self._drawn) < MOST:
            self._drawn[out.data_ptr()] = out, number  # kept, so that nobody else gets its memory

    def enters_a_layer(self, data: Tensor) -> None:
        """Take what a layer with weights is called with."""
        if self._drawn and data.data_ptr() in self._drawn:
            self._entered.append(data.data_ptr())

    def scored(self, given: Sequence[Any]) -> None:
        """Take what is subtracted from each other, as a draw and its mean in a log-probability."""
        if self._drawn:
            self._scored.update(each.data_ptr() for each in given if isinstance(each, Tensor))

    def passed_on(self) -> int | None:
        """Return the number of the first draw that went into a layer and whose probability nobody asked for."""
        return next((self._drawn[place][1] for place in self._entered if place not in self._scored), None)
