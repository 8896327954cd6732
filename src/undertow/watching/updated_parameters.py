"""`UpdatedParameters`: the parameters of an optimizer that gradient reached, looked up once for all such steps."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from undertow.measure import Label, Part
from undertow.watching.sharding import local_parts
from undertow.watching.update_sampler import UpdateSampler
from undertow.watching.watched_parameters import WatchedParameter

Layouts = Sequence[torch.layout | None]


class UpdatedParameters:
    """The parameters of one optimizer that gradient reached, and what is the same at every step that reaches them.

    Args:
        held: all parameters of the optimizer.
        names: of all parameters that are watched; those that aren't among them are left out.
        layouts: of their gradients; None where there is none.

    Attributes:
        parameters: the parameters that gradient reached.
        at: their places among those that the optimizer holds.
        places: and among ``names``.
        labels: of their gradients' norms, and ``weighed`` of their own.
        counting: places among ``parameters`` of those that this process answers for, and ``names`` of these.
        copies: places of those that another process answers for.
        unreached: names of those that require grad and got none.
        groups: the optimizer's parameter groups, and ``group`` each parameter's among these.
    """

    def __init__(self, held: Sequence[WatchedParameter], names: Sequence[str], layouts: Layouts) -> None:
        self.held, self.watched, self.layouts = held, names, layouts
        known = {name: place for place, name in enumerate(names)}
        self.at = [n for n, m in enumerate(held) if layouts[n] is not None and m.name in known]
        mine = [held[n] for n in self.at]
        self.parameters = [m.parameter for m in mine]
        self.identities = [id(p) for p in self.parameters]
        self.places = np.array([known[m.name] for m in mine], dtype=np.intp)
        self.labels: list[Label] = [("grad of parameter", place) for place in self.places.tolist()]
        self.weighed: list[Label] = [("parameter", place) for place in self.places.tolist()]
        self.copies = [known[m.name] for m in mine if not m.counts]
        self.counting = [n for n, m in enumerate(mine) if m.counts]
        self.names = tuple(mine[n].name for n in self.counting)
        self.unreached = [m.name for n, m in enumerate(held) if layouts[n] is None and m.parameter.requires_grad]
        self._find_groups(mine)
        self._dense = [n for n, place in enumerate(self.at) if layouts[place] is torch.strided]
        self._sampled = self.places[self._dense].tolist()
        self._sampler: UpdateSampler | None = None

    def _find_groups(self, mine: Sequence[WatchedParameter]) -> None:
        groups = {id(m.group): m.group for m in mine}
        order = {key: n for n, key in enumerate(groups)}
        self.groups = list(groups.values())
        self.group = np.array([order[id(m.group)] for m in mine], dtype=np.intp)

    @property
    def rates(self) -> list[Any]:
        """Return the learning rate of each group."""
        return [group.get("lr") for group in self.groups]

    def among(self, names: Sequence[str]) -> "UpdatedParameters":
        """Return the same parameters with their places among other names."""
        return UpdatedParameters(self.held, names, self.layouts)

    def reached(self, gradients: Sequence[Tensor | None]) -> list[Tensor]:
        """Select the gradients of the parameters that gradient reached, from those of all that the optimizer holds."""
        return [g for n in self.at if (g := gradients[n]) is not None]

    def counted(self, values: Sequence[Tensor]) -> Sequence[Tensor]:
        """Select the values of the parameters that this process answers for, from one value for each parameter."""
        return values if len(self.counting) == len(values) else [values[n] for n in self.counting]

    def before(self, gradients: Sequence[Tensor]) -> None:
        """Sample weights and gradients before a step is taken, but for those whose gradient is sparse."""
        weights = local_parts(self._of_dense(self.parameters))
        if self._sampler is None or not self._sampler.fits(weights):
            self._sampler = UpdateSampler(weights, self._sampled)
        self._sampler.before(weights, local_parts(self._of_dense(gradients)))

    def after(self) -> list[Callable[[], Part]]:
        """Sample the weights after the step; what is returned waits for the numbers."""
        return [] if self._sampler is None else self._sampler.after(local_parts(self._of_dense(self.parameters)))

    def _of_dense(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        return tensors if len(self._dense) == len(tensors) else [tensors[n] for n in self._dense]
