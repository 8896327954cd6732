"""Draw the gradient path for the terminal: a row for each layer and join, those alike in one, with bars and causes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from undertow.analysis.attribution import product
from undertow.analysis.gradient_path import GradientPath
from undertow.analysis.theory_check import SegmentPrediction, TheoryCheck
from undertow.analysis.theory_check.interpretation import summary
from undertow.diagnosis import Diagnosis
from undertow.formatting import terse
from undertow.record import BackwardGain
from undertow.render.labels import elided, every_layer, full_names, in_ranges, without_shared_path
from undertow.render.terminal import PROSE, Column, Screen, fitted
from undertow.render.verdict import WORTH_SAYING, chance_range

MOST_ROWS = 24
MOST_CAUSES = 4
MOST_DEVIATIONS = 4
MOST_NAME = 40
BAR_WIDTH = 18
BARS = ""
"""The header of the column of bars."""

ALIKE = 0.2
"""Decades that gains may be from their mean, if their layers are to share a row: a factor of 1.6."""

LONGEST_PERIOD = 6
FEWEST_ALIKE = 4
"""Repetitions of a layer, or of a sequence of up to six, that are folded."""

SHORT_PATH = 8
"""Rows that are few enough to be shown each."""


def way_back(diagnosis: Diagnosis, on: Screen | None = None) -> list[RenderableType]:
    """Return the gradient path as a table, what remains from end to end, what theory expected, and all layers' names.

    Args:
        diagnosis: of the step to show.
        on: where it will be shown.
    """
    path, on = diagnosis.gradient_path, on or Screen()
    if path is None or not path.waypoints:
        return []
    layers = _prose(f"Layers, input first: {every_layer(diagnosis.run.sites)}.", on)
    if not np.isfinite(diagnosis.column("grad_output")[list(path.waypoints)]).any():
        return [_prose("The gradient is not finite at any layer: there are no factors to show.", on), layers]
    theory = [_theory(diagnosis.theory, on)] if diagnosis.theory.predictions else []
    return [_table(diagnosis, path, on), _sum(path, diagnosis.gains), *theory, layers]


def deviation(prediction: SegmentPrediction) -> str:
    """Say in a line where a segment isn't as theory expects, and what that means.

    Example:
        >>> deviation(SegmentPrediction(0, 2, "fc2", measured=-0.7, expected=-0.2, spread=0.05, saying="its weights"))
        'fc2: x .200 where theory expects x .631 (by chance x .398 to x 1.00): its weights'
    """
    low, high = map(terse, chance_range(prediction))
    expected_gain, gain = terse(10**prediction.expected), terse(10**prediction.measured)
    return (
        f"{prediction.name}: x {gain} where theory expects x {expected_gain} (by chance x {low} to x {high}): "
        f"{prediction.saying}"
    )


@dataclass(frozen=True)
class TableRow:
    """One waypoint of the gradient path, or several, each with the blocks until the next one.

    Attributes:
        sites: the waypoints, the loss's side first.
        gains: for each of them, the blocks that follow; none at the front.
        alike: whether they are of one kind and pass on nearly the same, so that the mean stands for each of them.
    """

    sites: tuple[int, ...]
    gains: tuple[tuple[BackwardGain, ...], ...]
    alike: bool = False

    @cached_property
    def factors(self) -> dict[str, float]:
        """The factors by cause: of all of them, or of each if they are alike."""
        factors = product(gain for each in self.gains for gain in each)
        power = 1 / len(self.sites) if self.alike else 1.0
        return {cause: factor**power for cause, factor in factors.items()}

    @cached_property
    def gain(self) -> float:
        """The factor by which they, or each of them, change the gradient's norm; nan at the front."""
        if not any(self.gains):
            return math.nan
        gain = math.prod(gain.gain for each in self.gains for gain in each)
        return gain ** (1 / len(self.sites)) if self.alike else gain


def _rows(diagnosis: Diagnosis, path: GradientPath) -> list[TableRow]:
    """Return a row for each waypoint, those alike in one; if there are still too many, neighbours together."""
    single, place, ends = [], 0, (*path.waypoints[1:], path.waypoints[-1])
    for waypoint, end in zip(path.waypoints, ends, strict=True):
        inside = []
        while place < len(diagnosis.gains) and diagnosis.gains[place].end <= end:
            inside += [diagnosis.gains[place]] if diagnosis.gains[place].start >= waypoint else []
            place += 1
        single.append(TableRow((waypoint,), (tuple(inside),)))
    rows = _folded(diagnosis, single)
    size = math.ceil(len(rows) / MOST_ROWS)
    return [_merged(rows[first : first + size]) for first in range(0, len(rows), size)]


def _merged(rows: Sequence[TableRow], alike: bool = False) -> TableRow:
    if len(rows) == 1:
        return rows[0]
    return TableRow(tuple(s for row in rows for s in row.sites), tuple(g for row in rows for g in row.gains), alike)


def _folded(diagnosis: Diagnosis, rows: Sequence[TableRow]) -> list[TableRow]:
    """Merge what repeats: a kind of layer, or a sequence of kinds, four times or more with nearly the same gains."""
    if len(rows) <= SHORT_PATH:
        return list(rows)
    kinds = [_kind(diagnosis, row) for row in rows]
    found: list[TableRow] = []
    first = 0
    while first < len(rows):
        period, times = max(
            ((period, _repeats(rows, kinds, first, period)) for period in range(1, LONGEST_PERIOD + 1)),
            key=lambda each: each[0] * each[1] if each[1] >= FEWEST_ALIKE else 0,
        )
        if times < FEWEST_ALIKE:
            period, times = 1, 1
        end = first + period * times
        found += [_merged(rows[first + phase : end : period], alike=True) for phase in range(period)]
        first = end
    return found


def _kind(diagnosis: Diagnosis, row: TableRow) -> tuple[object, ...]:
    site, received = diagnosis.run.sites[row.sites[0]], float(diagnosis.column("grad_output")[row.sites[0]])
    if not 0 < received < math.inf:
        return (repr(received),)  # nothing tells layers apart that get none, or no number
    return site.role, site.op, site.module_type, math.isfinite(row.gain) and row.gain > 0


def _repeats(rows: Sequence[TableRow], kinds: Sequence[object], first: int, period: int) -> int:
    """Count how often the ``period`` rows from ``first`` on come again and again, the first time included."""
    low, high = [math.inf] * period, [0.0] * period
    for place in range(first, len(rows)):
        phase = (place - first) % period
        gain = rows[place].gain
        if kinds[place] != kinds[first + phase]:
            return (place - first) // period
        if 0 < gain < math.inf:
            low[phase], high[phase] = min(low[phase], gain), max(high[phase], gain)
            if math.log10(high[phase] / low[phase]) > 2 * ALIKE:
                return (place - first) // period
    return (len(rows) - first) // period


def _table(diagnosis: Diagnosis, path: GradientPath, on: Screen) -> Group:
    rows = _rows(diagnosis, path)
    received = diagnosis.column("grad_output")
    levels = [float(received[row.sites[0]]) for row in rows]
    unit, bars = _bars(levels)
    expected = [_beside(diagnosis.theory, row) for row in rows] if diagnosis.theory.covered else []
    columns = [
        Column("gradient", [terse(level) or "nan" for level in levels], 9.0),
        Column(BARS, bars, 6.0, right=False),
        Column("passes on", _passed(rows, levels), 8.0),
        *([Column("theory", expected, 4.0)] if expected else []),
        *(Column(cause, _shares(rows, levels, cause), 7.0 - k / 2) for k, cause in enumerate(_causes(rows))),
        Column("speed (coherence)", [_speed(diagnosis, row) for row in rows], 3.0),
    ]
    names = full_names(diagnosis.run.sites)
    table = fitted(Column("layer", [_name(names, row) for row in rows], 10.0, right=False), columns, on.width)
    drawn = unit and any(column.header == BARS for column in table.columns)  # a narrow terminal has no room for them
    legend = f"one # more: {terse(10**unit)} times the gradient"
    return Group(table, Text(legend, "dim")) if drawn else Group(table)


def _passed(rows: Sequence[TableRow], levels: Sequence[float]) -> list[str]:
    each = [" each" if row.alike else "" for row in rows]
    wide = "     " if any(each) else ""
    said = zip(rows, levels, each, strict=True)
    return [f"x {terse(row.gain)}{word or wide}" if _counts(row.gain, level) else "" for row, level, word in said]


def _shares(rows: Sequence[TableRow], levels: Sequence[float], cause: str) -> list[str]:
    found = zip((row.factors.get(cause, math.nan) for row in rows), levels, strict=True)
    return [f"x {terse(factor)}" if _counts(factor, level) else "" for factor, level in found]


def _counts(factor: float, level: float) -> bool:
    """Tell whether a factor says anything: of no gradient, or of one that is no number, it doesn't."""
    return not math.isnan(factor) and 0 < level < math.inf


def _speed(diagnosis: Diagnosis, row: TableRow) -> str:
    reading = diagnosis.run.reading(row.sites[0], diagnosis.step)
    if math.isnan(reading["learning_speed"]) or len(row.sites) > 1:
        return ""
    coherence = terse(reading["coherence"])
    return f"{terse(reading['learning_speed'])}{f' ({coherence})' if coherence else ''}"


def _name(names: Sequence[str], row: TableRow) -> str:
    if len(row.sites) == 1:
        return elided(names[row.sites[0]], MOST_NAME)
    count = f"{len(row.sites)} alike" if row.alike else f"{len(row.sites)} in a row"
    kind = f" ({first.rpartition(' (')[2]}" if (first := names[row.sites[0]]).endswith(")") else ""
    plain = [names[site].removesuffix(kind) for site in row.sites]
    shown = in_ranges(plain)
    if len(shown) > 1:
        shown = [f"{elided(plain[0], MOST_NAME)} .. {without_shared_path(plain[-1], plain[0])}"]
    return f"{shown[0]}{kind}, {count}"


def _beside(theory: TheoryCheck, row: TableRow) -> str:
    """Return what theory expects a row to pass on, with a sign where that is not what was measured."""
    found = [each for each in theory.predictions if each.start in row.sites]
    if not found or not all(each.covered for each in found):
        return "-" if found else ""
    sign = " !" if any(each.deviates for each in found) else "  " if theory.deviating else ""
    decades = sum(each.expected for each in found) / (len(row.sites) if row.alike else 1)
    return f"x {terse(10**decades)}{sign}"


def _theory(theory: TheoryCheck, on: Screen) -> Group:
    said = [summary(theory), *(f"! {deviation(each)}" for each in theory.deviating[:MOST_DEVIATIONS])]
    return Group(*(_prose(each, on) for each in said))


def _prose(text: str, on: Screen) -> RenderableType:
    return Padding(Text(text), (0, max(0, on.width - 2 - PROSE), 0, 0))


def _causes(rows: Sequence[TableRow]) -> list[str]:
    size: dict[str, float] = {}
    for row in rows:
        for cause, factor in row.factors.items():
            decades = abs(math.log10(factor)) if 0 < factor < math.inf else 0.0 if math.isnan(factor) else math.inf
            size[cause] = max(size.get(cause, 0.0), decades)
    worth = [cause for cause, decades in size.items() if decades >= WORTH_SAYING]
    return sorted(worth, key=lambda cause: -size[cause])[:MOST_CAUSES]


def _bars(values: Sequence[float]) -> tuple[float, list[str]]:
    """Return the decades that one sign stands for, and a logarithmic bar for every value, from the smallest."""
    levels = np.array([math.log10(v) if 0 < v < math.inf else math.nan for v in values])
    if np.isnan(levels).all():
        return 0.0, ["" for _ in values]
    heights = levels - np.nanmin(levels)
    unit = next((u for u in (0.125, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0) if np.nanmax(heights) / u < BAR_WIDTH), 20.0)
    return unit, ["" if math.isnan(h) else "#" * (1 + round(h / unit)) for h in heights]


def _sum(gradient_path: GradientPath, gains: Sequence[BackwardGain]) -> Text:
    start, end = gradient_path.waypoints[0], gradient_path.waypoints[-1]
    inside = [gain for gain in gains if start <= gain.start and gain.end <= end]
    total = math.prod(gain.gain for gain in inside)
    rest = product(inside).get("unattributed", 1.0)
    if math.isnan(total):
        return Text("")
    return Text(f"from end to end x {terse(total)}, of which unattributed x {terse(rest)}")
