"""`UpdateReader`: reads what optimizers take at a full step, and what they make of the weights."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from undertow.measure import Meter, Part
from undertow.watching.sharding import local_parts
from undertow.watching.step_facts import norms
from undertow.watching.updated_parameters import UpdatedParameters


class UpdateReader:
    """Reads gradients and weights before an optimizer steps, and how far the weights moved.

    Args:
        meter: keeps the numbers on their devices; it knows the weights' norms that the tape took.
        with_rows: also see how alike a layer's units are, and its biases.
        precise: numbers are so small or large that float32 can't hold their squares.

    Attributes:
        names: of the parameters, as the first optimizer that stepped found them.
        unreached: parameters that require grad and got none.
        moves: wait for how far the weights moved.
        rates: the learning rates.
    """

    def __init__(self, meter: Meter, with_rows: bool = False, precise: bool = False) -> None:
        self._meter, self._with_rows, self._precise = meter, with_rows, precise
        self.names: Sequence[str] = ()
        self.unreached: list[str] = []
        self.moves: list[Callable[[], Part]] = []
        self.rates: list[tuple[UpdatedParameters, list[Any]]] = []
        self._stepping: list[UpdatedParameters] = []

    def before(self, updated: UpdatedParameters, gradients: Sequence[Tensor | None]) -> list[Tensor]:
        """Read what an optimizer is about to take, and the weights before; return the norms of the gradients."""
        self.names = self.names or updated.watched
        updated = updated if updated.watched == self.names else updated.among(self.names)
        reached = updated.reached(gradients)
        self.unreached += updated.unreached
        found = norms(reached, self._precise)
        self._meter.take_each(updated.gradient_labels, found)
        self._take_weights(updated)
        for place in updated.copies:
            self._meter.note("copy", place, 1.0)
        updated.sample.before(reached)
        self.rates.append((updated, updated.groups.rates()))
        self._stepping.append(updated)
        return found

    def _take_weights(self, updated: UpdatedParameters) -> None:
        """Take the weights' norms; those that the tape took need not be taken again."""
        known = [self._meter.known_norm(identity) for identity in updated.identities]
        left = iter(norms([p for p, norm in zip(updated.parameters, known, strict=True) if norm is None]))
        self._meter.take_each(updated.weight_labels, [next(left) if norm is None else norm for norm in known])
        if self._with_rows:
            for place, weight in zip(updated.places.tolist(), local_parts(updated.parameters), strict=True):
                self._take_rows(place, weight)

    def _take_rows(self, place: int, weight: Tensor) -> None:
        if weight.dim() > 1 and weight.numel() and not weight.is_complex():
            self._meter.norm("sum of rows", place, weight.sum(0))
            self._meter.note("units of parameter", place, len(weight))
        elif weight.dim() == 1 and self._meter.inflow and weight.numel():
            self._meter.weight_norm("bias", place, weight, None)
            self._meter.note("biases", place, len(weight))

    def after(self) -> None:
        """Read how far the weights moved: an optimizer has stepped."""
        for updated in self._stepping:
            self.moves += updated.sample.after()
        self._stepping.clear()
