"""The backbone in as many pieces as a reader takes in: from mark to mark, or by module where there are many."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from undertow.backbone import Backbone
from undertow.record import BackwardGain, Role, Site
from undertow.split import product


@dataclass(frozen=True)
class Stretch:
    """Neighbouring blocks of the backbone.

    Attributes:
        label: names of the marks it begins at, or of the module they are in.
        marks: WEIGHT Sites and joins that are left behind, the loss's side first.
        gains: its blocks, the loss's side first.
    """

    label: str
    marks: tuple[int, ...]
    gains: tuple[BackwardGain, ...]

    @property
    def gain(self) -> float:
        """What it does to the gradient's norm."""
        return math.prod(gain.gain for gain in self.gains)

    @property
    def factors(self) -> dict[str, float]:
        """The gain by cause."""
        return product(self.gains)

    @property
    def decades(self) -> dict[str, float]:
        """log10 of the factors; those of zero, inf and nan are left out."""
        return {cause: math.log10(factor) for cause, factor in self.factors.items() if 0 < factor < math.inf}


def label(site: Site) -> str:
    """What to call a Site where there is little room: a layer by its module, anything else with its operation.

    Example:
        >>> label(Site(0, "block.0", "add", Role.JOIN))
        'block.0 add'
    """
    return site.name if site.role is Role.WEIGHT or not site.module else f"{site.module} {site.op}"


def stretches(backbone: Backbone, gains: Sequence[BackwardGain], most: int) -> list[Stretch]:
    """From each mark to the next; if these are more than ``most``, gathered by module, as deep as there is room for.

    Modules that have more parts than there is room for are cut into pieces of equal length.
    """
    single = _from_mark_to_mark(backbone, gains)
    if len(single) <= most:
        return single
    modules = [backbone.run.sites[each.marks[0]].module for each in single]
    for depth in range(max(module.count(".") + 1 for module in modules), 0, -1):
        gathered = list(_gathered(single, [_prefix(module, depth) for module in modules]))
        if most / 4 < len(gathered) <= most:
            return gathered
    size = math.ceil(len(single) / most)
    return [_merged(single[first : first + size]) for first in range(0, len(single), size)]


def _from_mark_to_mark(backbone: Backbone, gains: Sequence[BackwardGain]) -> list[Stretch]:
    marks = backbone.marks
    places = {gain.start: number for number, gain in enumerate(gains)}
    found = []
    for (start, end), name in zip(pairwise(marks), names(backbone), strict=False):
        last = places.get(end, len(gains))
        inside = tuple(gain for gain in gains[places[start] : last] if gain.end <= end)
        found.append(Stretch(name, (start,), inside))
    return found


def names(backbone: Backbone) -> list[str]:
    """What to call each mark: its label, numbered in the order of the forward pass where it comes more than once."""
    seen: Counter[str] = Counter()
    found = []
    for mark in reversed(backbone.marks):
        name = label(backbone.run.sites[mark])
        seen[name] += 1
        found.append(f"{name} #{seen[name]}" if seen[name] > 1 else name)
    return found[::-1]


def _prefix(module: str, depth: int) -> str:
    return ".".join(module.split(".")[:depth])


def _gathered(single: Sequence[Stretch], names: Sequence[str]) -> Iterator[Stretch]:
    second: Callable[[tuple[Stretch, str]], str] = lambda pair: pair[1]  # noqa: E731  # a name for groupby
    for name, group in groupby(zip(single, names, strict=True), key=second):
        parts = [stretch for stretch, _ in group]
        merged = _merged(parts)
        yield Stretch(f"{name} ({len(parts)})", merged.marks, merged.gains) if name and len(parts) > 1 else merged


def _merged(parts: Sequence[Stretch]) -> Stretch:
    named = parts[0].label if len(parts) == 1 else f"{parts[0].label} … {parts[-1].label}"
    marks = tuple(mark for part in parts for mark in part.marks)
    return Stretch(named, marks, tuple(gain for part in parts for gain in part.gains))
