"""`UpdateReader`: reads what optimizers take at a full step, and what they make of the weights."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from undertow.measure import Meter, Part, take_units
from undertow.tape import Plans
from undertow.watching.sharding import local_parts
from undertow.watching.step_facts import Number, norms
from undertow.watching.updated_parameters import UpdatedParameters


class UpdateReader:
    """Reads gradients and weights before an optimizer steps, and how far the weights moved.

    Args:
        meter: keeps the numbers on their devices; it knows the weights' norms that the tape took.
        with_rows: also see how alike a layer's units are, and its biases.
        precise: numbers are so small or large that float32 can't hold their squares.
        plans: know which parameters are tables that the model chooses from; None if no backward pass is ever taped.

    Attributes:
        names: of the parameters, as the first optimizer that stepped found them.
        unreached: parameters that require grad and got none.
        moves: wait for how far the weights moved.
        rates: the learning rates.
    """

    def __init__(
        self, meter: Meter, with_rows: bool = False, precise: bool = False, plans: Plans | None = None
    ) -> None:
        self._meter, self._with_rows, self._precise, self._plans = meter, with_rows, precise, plans
        self.names: Sequence[str] = ()
        self.unreached: list[str] = []
        self.moves: list[Callable[[], Part]] = []
        self.rates: list[tuple[UpdatedParameters, list[Any]]] = []
        self._stepping: list[UpdatedParameters] = []
        self._entered: UpdatedParameters | None = None

    def enters(self, updated: UpdatedParameters | None) -> None:
        """Sample the weights of those parameters that gradient reached at the last step: an optimizer enters its."""
        if updated is not None:
            updated.sample.enter()
            self._entered = updated

    def before(
        self, updated: UpdatedParameters, gradients: Sequence[Tensor | None], units: Mapping[str, int]
    ) -> Sequence[Number]:
        """Read what an optimizer is about to take, and the weights before; return the norms of the gradients.

        Args:
            updated: its parameters.
            gradients: theirs.
            units: by a weight's name, which of its dimensions counts the units of its layer.
        """
        if self._entered is not None and self._entered is not updated:  # gradient reached others than it did then
            self._entered.sample.leave()
        self._entered = None
        self.names = self.names or updated.watched
        updated = updated if updated.watched == self.names else updated.among(self.names)
        reached = updated.reached(gradients)
        self.unreached += updated.unreached
        found = norms(reached, self._precise)
        self._meter.take_each(updated.gradient_labels, found)
        self._take_weights(updated)
        if self._with_rows:
            self._take_units(updated, reached, units)
        if self._plans is not None and self._plans.choices.chosen:
            places = updated.places.tolist()
            self._plans.see_tables(zip(places, (self.names[n] for n in places), reached, strict=True), self._meter)
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

    def _take_units(self, updated: UpdatedParameters, reached: Sequence[Tensor], units: Mapping[str, int]) -> None:
        """Take what tells how alike a layer's units are and are pulled, and the sizes of its biases."""
        parts = zip(updated.places.tolist(), local_parts(updated.parameters), local_parts(reached), strict=True)
        for place, weight, grad in parts:
            name = self.names[place]
            if name in units and weight.numel():
                take_units(weight, grad, units[name], place, self._meter)
            elif weight.dim() == 1 and self._meter.inflow and weight.numel():
                self._meter.weight_norm("bias", place, weight, None)
                self._meter.note("biases", place, len(weight))

    def after(self) -> None:
        """Read how far the weights moved: an optimizer has stepped."""
        for updated in self._stepping:
            self.moves += updated.sample.after()
        self._stepping.clear()
