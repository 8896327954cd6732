"""Write for the terminal: text of a width, and the gradient path as a table with bars."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from undertow.analysis.attribution import product
from undertow.analysis.gradient_path import GradientPath
from undertow.analysis.theory_check import SegmentPrediction, TheoryCheck
from undertow.analysis.theory_check.interpretation import summary
from undertow.diagnosis import Diagnosis
from undertow.formatting import terse
from undertow.printable import printable
from undertow.record import BackwardGain
from undertow.render.labels import elided, label, without_shared_path
from undertow.render.verdict import WORTH_SAYING, chance_range

WIDTH = 118
MOST_ROWS = 24
MOST_COLUMNS = 4
MOST_DEVIATIONS = 4
BAR_WIDTH = 18
LABEL_WIDTH = 40


def printed(parts: Iterable[RenderableType], width: int = WIDTH) -> str:
    """Return the parts as plain text, with an empty line after each.

    Args:
        parts: what rich can draw.
        width: columns of the terminal.

    Example:
        >>> printed(["one", "two"])
        '  one\\n\\n  two\\n'
    """
    output = StringIO()
    console = Console(file=output, width=width, no_color=True, highlight=False, markup=False)
    for part in parts:
        console.print(Padding(part, (0, 0, 1, 2)))
    return "\n".join(printable(line).rstrip() for line in output.getvalue().split("\n")[:-1])


def way_back(diagnosis: Diagnosis) -> list[RenderableType]:
    """Return the gradient path as a table with bars, what remains from end to end, and what theory expected of it."""
    if diagnosis.gradient_path is None:
        return []
    theory = [_theory(diagnosis.theory)] if diagnosis.theory.predictions else []
    return [_table(diagnosis, diagnosis.gradient_path), _sum(diagnosis.gradient_path, diagnosis.gains), *theory]


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
    """One waypoint of the gradient path, or several in a row, and the blocks until the next one."""

    sites: tuple[int, ...]
    gains: tuple[BackwardGain, ...]

    @property
    def gain(self) -> float:
        """The factor by which they change the gradient's norm; nan at the front."""
        return math.prod(gain.gain for gain in self.gains) if self.gains else float("nan")


def _rows(gradient_path: GradientPath, gains: Sequence[BackwardGain]) -> list[TableRow]:
    waypoints = gradient_path.waypoints
    size = math.ceil(len(waypoints) / MOST_ROWS)
    rows = []
    for first in range(0, len(waypoints), size):
        end = waypoints[first + size] if first + size < len(waypoints) else waypoints[-1]
        inside = tuple(gain for gain in gains if waypoints[first] <= gain.start and gain.end <= end)
        rows.append(TableRow(waypoints[first : first + size], inside))
    return rows


def _table(diagnosis: Diagnosis, gradient_path: GradientPath) -> Group:
    rows = _rows(gradient_path, diagnosis.gains)
    beside = ["theory"] if diagnosis.theory.covered else []
    causes = _causes(rows)[: MOST_COLUMNS - len(beside)]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="")
    table.add_column("layer", no_wrap=True)
    table.add_column("gradient", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for name in ("passes on", *beside, *causes, "speed (coherence)"):
        table.add_column(name, justify="right", no_wrap=True)
    received = diagnosis.column("grad_output")
    unit, bars = _bars([float(received[row.sites[0]]) for row in rows])
    for row, bar in zip(rows, bars, strict=True):
        name, norm, drawn, gain, *rest = _cells(diagnosis, row, bar, causes)
        table.add_row(name, norm, drawn, gain, *([_beside(diagnosis.theory, row)] if beside else []), *rest)
    return Group(table, Text(f"each # is {unit} decades") if unit else Text(""))


def _cells(diagnosis: Diagnosis, row: TableRow, bar: str, causes: Sequence[str]) -> list[str]:
    reading = diagnosis.run.reading(row.sites[0], diagnosis.step)
    factors = product(row.gains)
    shown = [f"x {terse(factors[cause])}" if cause in factors else "" for cause in causes]
    speed = ""
    if not math.isnan(reading["learning_speed"]) and len(row.sites) == 1:
        speed = f"{terse(reading['learning_speed'])} ({terse(reading['coherence'])})"
    passes_on = f"x {terse(row.gain)}" if row.gains else ""
    return [_name(diagnosis, row.sites), terse(reading["grad_output"]), bar, passes_on, *shown, speed]


def _name(diagnosis: Diagnosis, sites: Sequence[int]) -> str:
    first, last = diagnosis.run.sites[sites[0]], diagnosis.run.sites[sites[-1]]
    name = label(first)
    if len(sites) > 1:
        name = f"{name} .. {without_shared_path(last.name, first.name)} ({len(sites)})"
    return elided(name, LABEL_WIDTH)


def _beside(theory: TheoryCheck, row: TableRow) -> str:
    """Return what theory expects a row to pass on, with a sign where that is not what was measured."""
    found = [each for each in theory.predictions if each.start in row.sites]
    if not found or not all(each.covered for each in found):
        return "-" if found else ""
    sign = " !" if any(each.deviates for each in found) else "  " if theory.deviating else ""
    return f"x {terse(10 ** sum(each.expected for each in found))}{sign}"


def _theory(theory: TheoryCheck) -> Group:
    deviating = theory.deviating[:MOST_DEVIATIONS]
    return Group(Text(summary(theory)), *(Text(f"! {deviation(each)}") for each in deviating))


def _causes(rows: Sequence[TableRow]) -> list[str]:
    size: dict[str, float] = {}
    for row in rows:
        for cause, factor in product(row.gains).items():
            decades = abs(math.log10(factor)) if 0 < factor < math.inf else math.inf
            size[cause] = max(size.get(cause, 0.0), decades)
    worth = [cause for cause, decades in size.items() if decades >= WORTH_SAYING]
    return sorted(worth, key=lambda cause: -size[cause])[:MOST_COLUMNS]


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
    return Text(f"end to end x {terse(total)}; unattributed x {terse(rest)}")
