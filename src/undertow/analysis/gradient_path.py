"""The path the gradient takes: what all gradient to the front layer must cross, and how fast it decays there.

The *front* is the WEIGHT Site with the most WEIGHT Sites between it and the loss. The *gradient path* is the chain of
its dominators: the Sites that every path from the loss to the front crosses. Its *waypoints* are those at which a layer
or a join stands. Gradient lost in a branch beside the gradient path is not lost to the front.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from undertow.record import Role, Run

SMALLEST, LARGEST = -330.0, 310.0
"""Decades that a gradient of zero, and one of inf, count as: just beyond what float64 can hold."""


LARGEST_STEP = 0.7
"""Part of a total that a single step may make if the decay is to be called steady."""


@dataclass(frozen=True)
class Decay:
    """Say how a gradient changes along a path.

    Attributes:
        rate: decades per waypoint, the Theil-Sen slope: the median over all pairs of waypoints.
        total: decades from the first waypoint to the last.
        climb: decades from the lowest waypoint to the last.
        steady: whether no single step from waypoint to waypoint makes more than 70 % of the total.
        waypoints: the Sites it was read at.
        gone: the first Site at which nothing at all is left of it; the decay is that before. None as a rule.
    """

    rate: float
    total: float
    steady: bool
    waypoints: tuple[int, ...]
    climb: float = 0.0
    gone: int | None = None


@dataclass(frozen=True)
class GradientPath:
    """The way from the loss to the front.

    Attributes:
        run: where the numbers are.
        step: which recorded step.
        sites: the gradient path, the loss first and the front last.
        depth: for every Site of the run, the WEIGHT Sites on the longest way to it from the loss, itself included.
    """

    run: Run
    step: int
    sites: tuple[int, ...]
    depth: NDArray[np.intp]

    @property
    def front(self) -> int:
        """The Site that is farthest from the loss."""
        return self.sites[-1]

    @cached_property
    def waypoints(self) -> tuple[int, ...]:
        """The gradient path's WEIGHT Sites and joins, the loss's side first."""
        sites = self.run.sites
        return tuple(i for i in self.sites if sites[i].role in (Role.WEIGHT, Role.JOIN))

    @cached_property
    def gradient(self) -> NDArray[np.floating]:
        """log10 of the norm of the gradient received, [waypoints]."""
        return decades(self.run.column("grad_output", self.step)[list(self.waypoints)])

    def decay(self) -> Decay:
        """Along the gradient path."""
        return decay(self.gradient, self.waypoints)

    def blocks(self) -> list[tuple[int, int]]:
        """Neighbours on the gradient path."""
        return list(zip(self.sites[:-1], self.sites[1:], strict=True))

    def main_path(self, start: int, end: int) -> list[int]:
        """Edges from ``start`` to ``end``: at every join the one with the largest share. Both must be of a block."""
        share = self._share
        return self._back(start, end, lambda edge, _: share[edge], self._live)

    def deepest_path(self, start: int, end: int) -> list[int]:
        """Edges from ``start`` to ``end`` along the most WEIGHT Sites; of equals, with the larger share.

        Edges that carry nothing count as well: a starved branch is just what this is to find. They may lead around
        ``start``, which is a dominator only of what carries gradient; such ways are none of the block's.
        """
        share = self._share
        return self._back(start, end, lambda edge, depth: (depth, share[edge]), self.run.incoming)

    @cached_property
    def _share(self) -> NDArray[np.floating]:
        share = self.run.edge_column("share", self.step)
        return np.where(np.isnan(share), 0.0, share)

    @cached_property
    def _live(self) -> Sequence[Sequence[int]]:
        """Incoming edges as the dominators saw them: one that carries nothing may lead out of its block."""
        live = _live(self.run, self.step)
        return live if live[self.front] else self.run.incoming

    def _back(
        self, start: int, end: int, worth: Callable[[int, int], Any], incoming: Sequence[Sequence[int]]
    ) -> list[int]:
        """Edges from ``start`` to ``end``, at every Site the worthiest of those that lead back to ``start``."""
        edges = self.run.edges
        if len(incoming[end]) == 1 and edges[incoming[end][0]].source == start:
            return list(incoming[end])  # a block of one edge, as most are: there is nothing to choose
        depth = self._depth_within(start, end, incoming)
        path: list[int] = []
        while end != start:
            inside = [edge for edge in incoming[end] if edges[edge].source in depth]
            path.append(max(inside, key=lambda edge: worth(edge, depth[edges[edge].source])))
            end = edges[path[-1]].source
        return path[::-1]

    def _depth_within(self, start: int, end: int, incoming: Sequence[Sequence[int]]) -> dict[int, int]:
        """WEIGHT Sites on the longest way from ``start`` to each Site that it leads to, up to ``end``."""
        depth = {start: 0}
        for site in range(start + 1, end + 1):
            before = [depth[source] for e in incoming[site] if (source := self.run.edges[e].source) in depth]
            if before:
                depth[site] = max(before) + (self.run.sites[site].role is Role.WEIGHT)
        return depth

    def starvation(self, path: Sequence[int]) -> Decay:
        """Fit the decay of the gradient at the WEIGHT Sites along a path of edges, down to where it is smallest.

        What joins bring along the way counts: a stack of residual branches is fed anew by every skip.
        """
        sources = [self.run.edges[edge].source for edge in path]
        waypoints = [source for source in sources if self.run.sites[source].role is Role.WEIGHT]
        levels = decades(self.run.column("grad_output", self.step)[waypoints])
        lowest = int(np.argmin(levels)) + 1 if len(levels) else 0
        return decay(levels[:lowest], tuple(waypoints[:lowest]))


def find_gradient_path(run: Run, step: int = -1) -> GradientPath | None:
    """The gradient path of a recorded step; None if there are no weights that gradient reaches.

    Example:
        >>> from undertow.record import Edge, Site
        >>> sites = [Site(i, f"fc{i}", "addmm", Role.WEIGHT) for i in range(3)]
        >>> run = Run({}, tuple(sites), (Edge(0, 1), Edge(1, 2)), {"grad_output": np.array([[1.0, 0.1, 0.01]])})
        >>> gradient_path = find_gradient_path(run)
        >>> gradient_path.sites, gradient_path.decay().rate
        ((0, 1, 2), -1.0)
    """
    live = _live(run, step)
    all_carry = live is run.of_graph(_all_live)  # as a rule: and then the path is the same at every step
    sites = (() if all_carry else _chain(run, live)) or run.of_graph(_chain_of_all)
    return GradientPath(run, step, sites, weight_depth(run)) if sites else None


def _chain_of_all(run: Run) -> tuple[int, ...]:
    return _chain(run, run.incoming, lonely=True)


def _chain(run: Run, incoming: Sequence[Sequence[int]], lonely: bool = False) -> tuple[int, ...]:
    """Return the dominators of the front; none if nothing leads to it, unless it may be ``lonely``."""
    depth = weight_depth(run)
    deepest = depth.max(initial=0)
    candidates = [site.index for site in run.sites if site.role is Role.WEIGHT and depth[site.index] == deepest]
    parent, level = _dominators(run, incoming)
    if not candidates or (not lonely and all(parent[site] < 0 for site in candidates)):
        return ()
    # Of many equally deep (an RNN's first step, and the inputs of all its steps) the one with the most to cross.
    front = max(candidates, key=lambda site: (level[site], site))
    chain = [front]
    while parent[chain[-1]] >= 0:
        chain.append(parent[chain[-1]])
    return tuple(reversed(chain))


def weight_depth(run: Run) -> NDArray[np.intp]:
    """WEIGHT Sites on the longest way from the loss to every Site, itself included."""
    return run.of_graph(_weight_depth)


def _weight_depth(run: Run) -> NDArray[np.intp]:
    own = np.array([site.role is Role.WEIGHT for site in run.sites], dtype=np.intp)
    depth = own.copy()
    for site, incoming in enumerate(run.incoming):
        if incoming:
            depth[site] += max(depth[run.edges[edge].source] for edge in incoming)
    depth.flags.writeable = False  # all steps share it
    return depth


def _live(run: Run, step: int) -> Sequence[Sequence[int]]:
    """Incoming edges that carry any gradient: where an RNN's last output is taken, its other outputs' carry none."""
    silent = run.edge_column("contribution", step) == 0
    return _reached(run, silent) if silent.any() else run.of_graph(_all_live)


def _all_live(run: Run) -> Sequence[Sequence[int]]:
    return _reached(run, np.zeros(len(run.edges), bool))


def _reached(run: Run, silent: NDArray[np.bool_]) -> list[list[int]]:
    reached = {0}
    live: list[list[int]] = []
    for site, incoming in enumerate(run.incoming):
        live.append([edge for edge in incoming if not silent[edge] and run.edges[edge].source in reached])
        if live[-1]:
            reached.add(site)
    return live


def _dominators(run: Run, incoming: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
    """Every Site's nearest dominator and its level: one pass, as givers stand before receivers.

    The dominator of a Site is the lowest common ancestor, in the tree of dominators, of all that it receives from.
    Those that nothing reaches have none (-1).
    """
    parent, level = [-1] * len(run.sites), [0] * len(run.sites)
    reached = {0}
    for site, arriving in enumerate(incoming):
        sources = [source for edge in arriving if (source := run.edges[edge].source) in reached]
        if not sources:
            continue
        reached.add(site)
        common = sources[0]
        for other in sources[1:]:
            while common != other:
                if level[common] < level[other]:
                    common, other = other, common
                common = parent[common]
        parent[site], level[site] = common, level[common] + 1
    return parent, level


def decades(norm: ArrayLike) -> NDArray[np.floating]:
    """log10, with zero and inf as numbers.

    Example:
        >>> decades([0.1, 0.0]).tolist()
        [-1.0, -330.0]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.minimum(np.maximum(np.log10(norm), SMALLEST), LARGEST)


def decades_of(norm: float) -> float:
    """`decades` of one number.

    Example:
        >>> decades_of(0.1), decades_of(0.0)
        (-1.0, -330.0)
    """
    if not 0 < norm < math.inf:
        return float(decades(norm))
    return min(max(float(np.log10(norm)), SMALLEST), LARGEST)


def decay(levels: NDArray[np.floating], waypoints: tuple[int, ...], places: ArrayLike | None = None) -> Decay:
    """Describe levels in decades, one per waypoint; ``places`` are positions, one apart unless given."""
    places = np.arange(len(levels)) if places is None else np.asarray(places)
    there = levels > SMALLEST
    left = len(levels) if there[-1:].any() else int(np.flatnonzero(there).max(initial=-1)) + 1
    gone = waypoints[left] if 0 < left < len(levels) else None
    if gone is not None:
        levels, waypoints, places = levels[:left], waypoints[:left], places[:left]
    total = float(levels[-1] - levels[0]) if len(levels) else 0.0
    steady = len(levels) > 1 and float((np.sign(total) * (levels[1:] - levels[:-1])).max()) <= LARGEST_STEP * abs(total)
    climb = float(levels[-1] - levels.min()) if len(levels) else 0.0
    return Decay(theil_sen(places, levels), total, steady, waypoints, climb, gone)


MOST_PAIRED, LAGS = 512, 48
"""Points all pairs of which are looked at, and distances between pairs of more."""


def theil_sen(x: ArrayLike, y: ArrayLike) -> float:
    """Median slope over all pairs with different x (Sen 1968); 0 with fewer than two points.

    Of many points every pair would be millions: then each is paired with those at a few dozen distances, near and far.

    Example:
        >>> theil_sen([0, 1, 2, 3, 4], [0, -1, -2, 96, -4])
        -1.0
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if len(x) <= MOST_PAIRED:
        first, second = _pairs(len(x))
    else:
        lags = np.unique(np.linspace(1, len(x) - 1, LAGS).astype(int))
        first = np.concatenate([np.arange(len(x) - lag) for lag in lags])
        second = first + np.repeat(lags, len(x) - lags)
    run, rise = x[second] - x[first], y[second] - y[first]
    apart = run != 0
    slopes = rise / run if apart.all() else rise[apart] / run[apart]
    return _median(slopes) if len(slopes) else 0.0


@lru_cache(maxsize=4)
def _pairs(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return all pairs of so many points: every rule that fits a path has as many."""
    return np.triu_indices(count, 1)


def _median(values: NDArray[np.floating]) -> float:
    """Return what `numpy.median` does, in a fifth of the time for few values; nan if there are any."""
    middle, odd = divmod(len(values), 2)
    parted = np.partition(values, (middle, len(values) - 1) if odd else (middle - 1, middle, len(values) - 1))
    if parted[-1] != parted[-1]:  # nan is sorted behind all numbers
        return float("nan")
    return float(parted[middle] if odd else (parted[middle - 1] + parted[middle]) / 2)
