"""Those of an optimizer's parameters that gradient reached, with what is the same at every step at which it did."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from undertow.measure import Label, Part
from undertow.watching.update_sampler import Sampler
from undertow.watching.watched_parameters import Member, parts

Layouts = Sequence[torch.layout | None]


class Roster:
    """What is looked up once for all steps that reach the same parameters of an optimizer.

    Args:
        members: all of the optimizer's.
        names: of all parameters that are watched; those that aren't among them are left out.
        layouts: of the members' gradients; None where there is none.

    Attributes:
        parameters: those that gradient reached.
        at: their places among the members.
        places: and among ``names``.
        labels: of their gradients' norms, and ``weighed`` of their own.
        counting: places among ``parameters`` of those that this process answers for, and ``names`` of these.
        copies: places of those that another process answers for.
        unreached: names of those that require grad and got none.
        groups: the optimizer's parameter groups, and ``group`` each parameter's among these.
    """

    def __init__(self, members: Sequence[Member], names: Sequence[str], layouts: Layouts) -> None:
        self.members, self.watched, self.layouts = members, names, layouts
        known = {name: place for place, name in enumerate(names)}
        self.at = [n for n, m in enumerate(members) if layouts[n] is not None and m.name in known]
        mine = [members[n] for n in self.at]
        self.parameters = [m.parameter for m in mine]
        self.identities = [id(p) for p in self.parameters]
        self.places = np.array([known[m.name] for m in mine], dtype=np.intp)
        self.labels: list[Label] = [("grad of parameter", place) for place in self.places.tolist()]
        self.weighed: list[Label] = [("parameter", place) for place in self.places.tolist()]
        self.copies = [known[m.name] for m in mine if not m.counts]
        self.counting = [n for n, m in enumerate(mine) if m.counts]
        self.names = tuple(mine[n].name for n in self.counting)
        self.unreached = [m.name for n, m in enumerate(members) if layouts[n] is None and m.parameter.requires_grad]
        self._own_groups(mine)
        self._dense = [n for n, place in enumerate(self.at) if layouts[place] is torch.strided]
        self._sampled = self.places[self._dense].tolist()
        self._sampler: Sampler | None = None

    def _own_groups(self, mine: Sequence[Member]) -> None:
        groups = {id(m.group): m.group for m in mine}
        order = {key: n for n, key in enumerate(groups)}
        self.groups = list(groups.values())
        self.group = np.array([order[id(m.group)] for m in mine], dtype=np.intp)

    @property
    def rates(self) -> list[Any]:
        """The learning rate of each group."""
        return [group.get("lr") for group in self.groups]

    def among(self, names: Sequence[str]) -> "Roster":
        """The same with other names to be counted among."""
        return Roster(self.members, names, self.layouts)

    def reached(self, gradients: Sequence[Tensor | None]) -> list[Tensor]:
        """Of the members' gradients those of its parameters."""
        return [g for n in self.at if (g := gradients[n]) is not None]

    def counted(self, values: Sequence[Tensor]) -> Sequence[Tensor]:
        """Of one value for each parameter, those of the parameters that this process answers for."""
        return values if len(self.counting) == len(values) else [values[n] for n in self.counting]

    def before(self, gradients: Sequence[Tensor]) -> None:
        """A step is about to be taken: sample weights and gradients. What has no weights here, or is sparse, isn't."""
        weights = parts(self._of_dense(self.parameters))
        if self._sampler is None or not self._sampler.fits(weights):
            self._sampler = Sampler(weights, self._sampled)
        self._sampler.before(weights, parts(self._of_dense(gradients)))

    def after(self) -> list[Callable[[], Part]]:
        """It was taken: what the sampler says then."""
        return [] if self._sampler is None else self._sampler.after(parts(self._of_dense(self.parameters)))

    def _of_dense(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        return tensors if len(self._dense) == len(tensors) else [tensors[n] for n in self._dense]
