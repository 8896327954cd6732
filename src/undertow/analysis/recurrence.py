"""Loops through time: where the same weights are used in a chain, and what each use leaves of the gradient.

An unrolled recurrence repeats one piece of graph. Every Site within it has an *age*: how many uses of the recurrent
weights lie between the loss and it. The edges from one age to the next carry all that the gradient takes one step back
in time, over every way there is: an LSTM's through the cell and through the weights, a GRU's around them. What a head
or another layer adds at a step comes from outside of the loop and is not the recurrence's.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from undertow.record import Role, Run

SMALLEST_TRUSTED = 1e-34
"""Norms below it may be made of float32's subnormal numbers, which have few digits or none."""

DIGITS_LEFT = 1e3
"""A gradient that vanished altogether had few digits left while it was less than this many times its last trace."""


@dataclass(frozen=True)
class Arrival:
    """A Site at which gradient comes in from the step after, and its edges: by where they come from.

    Attributes:
        site: which.
        through_time: edges from the age before.
        within: edges from the same age: the step's own affairs.
        outside: edges from outside of the loop.
    """

    site: int
    through_time: tuple[int, ...]
    within: tuple[int, ...]
    outside: tuple[int, ...]


@dataclass(frozen=True)
class Loop:
    """A recurrence.

    Attributes:
        module: path of the module its weights are used in; the common part where there are several.
        weights: WEIGHT Sites of one of its recurrent weights, the loss's side (the last step) first.
        ages: the Arrivals at every age, from 1 on.
    """

    module: str
    weights: tuple[int, ...]
    ages: tuple[tuple[Arrival, ...], ...]

    @property
    def steps(self) -> int:
        """Return how many times the weights are used: the length of the sequence."""
        return len(self.weights)


@dataclass(frozen=True, eq=False)
class Passage:
    """The effect of a Loop on the gradient at one recorded step of a Run.

    Attributes:
        loop: which.
        run: where the numbers are.
        step: which recorded step.
    """

    loop: Loop
    run: Run
    step: int

    @cached_property
    def gains(self) -> NDArray[np.floating]:
        """Return what each step back leaves of the gradient's norm, the last step first; those that can be told.

        The first step may be left out: the cell of an LSTM gets gradient around the weights there, from outside of the
        loop as it were, so that not the whole state is known.
        """
        ages = self.loop.ages
        whole = 0 if len(ages) > 1 and len(ages[0]) == len(ages[1]) else 1
        came, had = self._came[whole + 1 :], self._had[whole:-1]
        trusted = (came > 0) & (had > SMALLEST_TRUSTED)
        if (came == 0).any() and (had > 0).any():
            trusted &= had > DIGITS_LEFT * had[had > 0].min()
        return np.asarray(came[trusted] / had[trusted])

    @property
    def gain(self) -> float:
        """Geometric mean of `gains`; 0 where not even one step leaves anything."""
        return float(np.exp(np.log(self.gains).mean())) if len(self.gains) else 0.0

    @property
    def horizon(self) -> float:
        """Steps in which the gradient falls tenfold."""
        if self.gain >= 1:
            return float("inf")
        return float(np.log(10) / -np.log(self.gain)) if self.gain > 0 else 0.0

    @cached_property
    def fed_at_end_only(self) -> bool:
        """Tell whether nothing comes in from outside the loop before its last two steps: the loss sits at the end."""
        carried = self.run.edge_column("contribution", self.step)
        edges = [edge for age in self.loop.ages[1:] for arrival in age for edge in arrival.outside]
        return not np.any(carried[edges])

    @cached_property
    def _came(self) -> NDArray[np.floating]:
        """Norm of the gradient that arrives through time, [ages]."""
        return self._norms(lambda arrival: arrival.through_time)

    @cached_property
    def _had(self) -> NDArray[np.floating]:
        """Norm of the gradient that the state has, whatever comes in from outside included, [ages]."""
        return self._norms(lambda arrival: arrival.through_time + arrival.outside)

    def _norms(self, which: Callable[[Arrival], tuple[int, ...]]) -> NDArray[np.floating]:
        squares = [sum(self._norm(each, which(each)) ** 2 for each in age) for age in self.loop.ages]
        return np.sqrt(np.array(squares, dtype=float))

    def _norm(self, arrival: Arrival, kept: Sequence[int]) -> float:
        """Norm of the sum of some of the contributions that meet at a Site; exact unless two or more are left out."""
        arriving = self.run.incoming[arrival.site]
        total = float(self.run.column("grad_output", self.step)[arrival.site])
        if len(kept) in (0, len(arriving)):
            return total if kept else 0.0
        carried, share = (self.run.edge_column(name, self.step) for name in ("contribution", "share"))
        if len(kept) == 1:
            return float(carried[kept[0]])
        left_out = [edge for edge in arriving if edge not in kept]
        if len(left_out) == 1:  # |G - g|^2 = |G|^2 - 2 <g, G> + |g|^2
            lost = 2 * float(np.nan_to_num(share[left_out[0]]))
            return float(max(0.0, total**2 * (1 - lost) + float(carried[left_out[0]]) ** 2)) ** 0.5
        return abs(float(np.nan_to_num(share[list(kept)]).sum())) * total


def find_loops(run: Run, fewest: int) -> tuple[Loop, ...]:
    """Every recurrence of at least ``fewest`` steps, each once, the loss's side first.

    Example:
        >>> from undertow.record import Edge, Site
        >>> sites = tuple(Site(i, "rnn", "mm", Role.WEIGHT, parameters=("rnn.w",)) for i in range(4))
        >>> find_loops(Run({}, sites, (Edge(0, 1), Edge(1, 2), Edge(2, 3))), fewest=4)[0].steps
        4
    """
    uses: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for site in run.sites:
        if site.role is Role.WEIGHT and site.parameters:
            uses[site.parameters].append(site.index)
    found: list[tuple[list[int], set[int]]] = []
    for family in (sites for sites in uses.values() if len(sites) >= fewest):
        if any(not inside.isdisjoint(family) for _, inside in found):  # another weight of a loop that is known
            continue
        age = _ages(run, family)
        if len({age[site] for site in family}) >= fewest:
            found.append((family, _inside(run, family, age)))
    return tuple(_loop(run, family, inside) for family, inside in found)


def _ages(run: Run, family: Sequence[int]) -> list[int]:
    """For every Site, how many of the family lie between the loss and it."""
    members, age = set(family), [0] * len(run.sites)
    for site, arriving in enumerate(run.incoming):
        sources = [run.edges[edge].source for edge in arriving]
        age[site] = max((age[source] + (source in members) for source in sources), default=0)
    return age


def _inside(run: Run, family: Sequence[int], age: Sequence[int]) -> set[int]:
    """Sites on some way from a use of the weights to another."""
    leads = set(family)
    for site in range(len(run.sites) - 1, -1, -1):
        if any(run.edges[edge].target in leads for edge in run.outgoing[site]):
            leads.add(site)
    members = set(family)
    return {site for site in leads if age[site] > 0 or site in members}


def _loop(run: Run, family: Sequence[int], inside: set[int]) -> Loop:
    age = _ages(run, family)
    arrivals: dict[int, list[Arrival]] = defaultdict(list)
    for site in sorted(inside):
        arrival = _arrival(run, site, inside, age)
        if arrival.through_time:
            arrivals[age[site]].append(arrival)
    modules = {run.sites[site].module for site in inside if run.sites[site].role is Role.WEIGHT}
    chain = sorted({age[site]: site for site in reversed(family)}.values())
    return Loop(_common(modules), tuple(chain), tuple(tuple(arrivals[each]) for each in sorted(arrivals)))


def _arrival(run: Run, site: int, inside: set[int], age: Sequence[int]) -> Arrival:
    edges: dict[str, list[int]] = {"through_time": [], "within": [], "outside": []}
    for edge in run.incoming[site]:
        source = run.edges[edge].source
        kind = "outside" if source not in inside else "through_time" if age[source] < age[site] else "within"
        edges[kind].append(edge)
    return Arrival(site, **{kind: tuple(found) for kind, found in edges.items()})


def _common(modules: set[str]) -> str:
    """The part of module paths that all of them begin with."""
    parts = [module.split(".") for module in sorted(modules)]
    same = 0
    while all(len(each) > same and each[same] == parts[0][same] for each in parts):
        same += 1
    return ".".join(parts[0][:same])
