"""`UpdatedParameters`: the parameters of an optimizer that gradient reached, looked up once for all such steps."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from undertow.measure import Label, Part
from undertow.watching.sharding import local_parts
from undertow.watching.update_sampler import UpdateSampler
from undertow.watching.watched_parameters import WatchedParameter

Layouts = Sequence[torch.layout | None]
T = TypeVar("T")


class ParameterGroups:
    """The parameter groups of an optimizer that some of its parameters are in.

    Args:
        parameters: the parameters.

    Attributes:
        place: of each parameter's group among the groups.
    """

    def __init__(self, parameters: Sequence[WatchedParameter]) -> None:
        groups = {id(each.group): each.group for each in parameters}
        order = {key: n for n, key in enumerate(groups)}
        self._groups = list(groups.values())
        self.place = np.array([order[id(each.group)] for each in parameters], dtype=np.intp)

    def rates(self) -> list[Any]:
        """Return the learning rate of each group."""
        return [group.get("lr") for group in self._groups]


class UpdateSample:
    """Samples what a step does to those of some parameters whose gradients aren't sparse.

    Args:
        parameters: the parameters.
        places: numbers to call them by.
        dense: which of them have a gradient that isn't sparse.
    """

    def __init__(self, parameters: Sequence[Tensor], places: Sequence[int], dense: Sequence[int]) -> None:
        self._parameters, self._dense = parameters, dense
        self._places = [places[n] for n in dense]
        self._sampler: UpdateSampler | None = None
        self._entered = False

    def enter(self) -> None:
        """Sample the weights before a step is taken whose gradients are computed in it, maybe by other weights."""
        self._sampler_of(self._weights()).weights_before(self._weights())
        self._entered = True

    def before(self, gradients: Sequence[Tensor]) -> None:
        """Sample weights and gradients before a step is taken; weights only if they weren't when it was entered."""
        weights = self._weights()
        sampler = self._sampler_of(weights)
        if not self._entered:
            sampler.weights_before(weights)
        self._entered = False
        sampler.gradients_before(local_parts(self._of_dense(gradients)))

    def leave(self) -> None:
        """Forget that a step was entered."""
        self._entered = False

    def _weights(self) -> Sequence[Tensor]:
        return local_parts(self._of_dense(self._parameters))

    def _sampler_of(self, weights: Sequence[Tensor]) -> UpdateSampler:
        if self._sampler is None or not self._sampler.fits(weights):
            self._sampler, self._entered = UpdateSampler(weights, self._places), False
        return self._sampler

    def after(self) -> list[Callable[[], Part]]:
        """Sample the weights after the step; what is returned waits for the numbers."""
        return [] if self._sampler is None else self._sampler.after(self._weights())

    def _of_dense(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        return tensors if len(self._dense) == len(tensors) else [tensors[n] for n in self._dense]


class UpdatedParameters:
    """The parameters of one optimizer that gradient reached, and what is the same at every step that reaches them.

    Args:
        held: all parameters of the optimizer.
        watched: names of all parameters that are watched; those that aren't among them are left out.
        layouts: of the gradients of ``held``; None where there is none.

    Attributes:
        parameters: the parameters that gradient reached, and their ``identities``.
        places: theirs among the names.
        gradient_labels, weight_labels: of the norms of their gradients, and of their own, in a `Meter`.
        names: of those that this process answers for, and ``copies``, the places of the others.
        unreached: names of those that require grad and got none.
        groups: the parameter groups of ``parameters``.
        sample: what a step does to them.
    """

    def __init__(self, held: Sequence[WatchedParameter], watched: Sequence[str], layouts: Layouts) -> None:
        self.held, self.watched, self.layouts = held, watched, layouts
        known = {name: place for place, name in enumerate(watched)}
        self._at = [n for n, each in enumerate(held) if layouts[n] is not None and each.name in known]
        mine = [held[n] for n in self._at]
        self.parameters = [each.parameter for each in mine]
        self.identities = [id(p) for p in self.parameters]
        self.places = np.array([known[each.name] for each in mine], dtype=np.intp)
        self.gradient_labels: list[Label] = [("grad of parameter", place) for place in self.places.tolist()]
        self.weight_labels: list[Label] = [("parameter", place) for place in self.places.tolist()]
        self.copies = [known[each.name] for each in mine if not each.counts]
        self._counting = [n for n, each in enumerate(mine) if each.counts]
        self.names = tuple(mine[n].name for n in self._counting)
        without = [each for each, layout in zip(held, layouts, strict=True) if layout is None]
        self.unreached = [each.name for each in without if each.parameter.requires_grad]
        self.groups = ParameterGroups(mine)
        dense = [n for n, place in enumerate(self._at) if layouts[place] is torch.strided]
        self.sample = UpdateSample(self.parameters, self.places.tolist(), dense)

    def among(self, watched: Sequence[str]) -> "UpdatedParameters":
        """Return the same parameters with their places among other names."""
        return UpdatedParameters(self.held, watched, self.layouts)

    def reached(self, gradients: Sequence[Tensor | None]) -> list[Tensor]:
        """Select the gradients of the parameters that gradient reached, from those of all that the optimizer holds."""
        return [g for n in self._at if (g := gradients[n]) is not None]

    def counted(self, values: Sequence[T]) -> Sequence[T]:
        """Select the values of the parameters that this process answers for, from one value for each parameter."""
        return values if len(self._counting) == len(values) else [values[n] for n in self._counting]
