"""The gradient path in as many segments as a reader takes in: by waypoint, or by module where there are many."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise

from undertow.analysis.attribution import product
from undertow.diagnosis import Diagnosis
from undertow.record import BackwardGain
from undertow.render.labels import waypoint_names

MOST_SEGMENTS = 40
"""Segments that a page draws; where there are more, they are gathered."""


@dataclass(frozen=True)
class Segment:
    """Neighbouring blocks of the gradient path.

    Attributes:
        label: names of the waypoints it begins at, or of the module they are in.
        waypoints: WEIGHT Sites and joins that are left behind, the loss's side first.
        gains: its blocks, the loss's side first.
    """

    label: str
    waypoints: tuple[int, ...]
    gains: tuple[BackwardGain, ...]

    @cached_property
    def gain(self) -> float:
        """The factor by which it changes the gradient's norm."""
        return math.prod(gain.gain for gain in self.gains)

    @property
    def net_decades(self) -> float | None:
        """log10 of the gain; None where that is no number."""
        gain = self.gain
        return math.log10(gain) if 0 < gain < math.inf else None

    @cached_property
    def factors(self) -> dict[str, float]:
        """The gain by cause."""
        return product(self.gains)

    @cached_property
    def decades(self) -> dict[str, float]:
        """log10 of the factors; those of zero, inf and nan are left out."""
        return {cause: math.log10(factor) for cause, factor in self.factors.items() if 0 < factor < math.inf}


def segments(diagnosis: Diagnosis, most: int | None = MOST_SEGMENTS) -> list[Segment]:
    """Cut the path from each waypoint to the next; if these are more than ``most``, gather them by module.

    Modules that have more parts than there is room for are cut into pieces of equal length. Without a gradient path
    there are no segments; with ``most`` None they are never gathered.
    """
    single = _from_waypoint_to_waypoint(diagnosis)
    if most is None or len(single) <= most:
        return single
    modules = [diagnosis.run.sites[each.waypoints[0]].module for each in single]
    for depth in range(max(module.count(".") + 1 for module in modules), 0, -1):
        gathered = list(_gathered(single, [_prefix(module, depth) for module in modules]))
        if most / 4 < len(gathered) <= most:
            return gathered
    size = math.ceil(len(single) / most)
    return [_merged(single[first : first + size]) for first in range(0, len(single), size)]


def _from_waypoint_to_waypoint(diagnosis: Diagnosis) -> list[Segment]:
    gradient_path, gains = diagnosis.gradient_path, diagnosis.gains
    if gradient_path is None:
        return []
    places = {gain.start: number for number, gain in enumerate(gains)}
    found = []
    names = waypoint_names(gradient_path)
    for (start, end), name in zip(pairwise(gradient_path.waypoints), names, strict=False):
        last = places.get(end, len(gains))
        inside = tuple(gain for gain in gains[places[start] : last] if gain.end <= end)
        found.append(Segment(name, (start,), inside))
    return found


def _prefix(module: str, depth: int) -> str:
    return ".".join(module.split(".")[:depth])


def _gathered(single: Sequence[Segment], names: Sequence[str]) -> Iterator[Segment]:
    second: Callable[[tuple[Segment, str]], str] = lambda pair: pair[1]  # noqa: E731  # a name for groupby
    for name, group in groupby(zip(single, names, strict=True), key=second):
        parts = [segment for segment, _ in group]
        merged = _merged(parts)
        yield Segment(f"{name} ({len(parts)})", merged.waypoints, merged.gains) if name and len(parts) > 1 else merged


def _merged(parts: Sequence[Segment]) -> Segment:
    named = parts[0].label if len(parts) == 1 else f"{parts[0].label} … {parts[-1].label}"
    waypoints = tuple(waypoint for part in parts for waypoint in part.waypoints)
    return Segment(named, waypoints, tuple(gain for part in parts for gain in part.gains))
