"""A report for the terminal: the verdict, the gradient path as a table with bars, the findings. Reads records only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import takewhile
from pathlib import Path

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from undertow.analysis.attribution import product
from undertow.analysis.gradient_path import GradientPath, find_gradient_path
from undertow.analysis.theory_check import SegmentPrediction, TheoryCheck, check_theory
from undertow.analysis.theory_check.gain_model import BY_CHANCE
from undertow.analysis.theory_check.interpretation import summary
from undertow.record import BackwardGain, Finding, Role, Run, Severity

WIDTH = 118
MOST_ROWS = 24
MOST_CAUSES = 4
MOST_DEPARTURES = 4
BAR_WIDTH = 18
LABEL_WIDTH = 40
WORTH_A_COLUMN = 0.02
"""Decades that a cause must make somewhere to get a column of its own."""


def report(run: Run, gains: Sequence[BackwardGain], findings: Sequence[Finding], width: int = WIDTH) -> str:
    """What ``print(report)`` shows.

    Args:
        run: what was measured; its first step is shown.
        gains: every block of the gradient path at that step.
        findings: the worst first.
        width: columns of the terminal.
    """
    gradient_path = find_gradient_path(run, step=0)
    parts: list[RenderableType] = [_heading(run), _verdict(gradient_path, gains, findings)]
    if gradient_path is not None and gradient_path.waypoints:
        parts += way_back(gradient_path, gains)
    if findings:
        parts.append(_findings(findings))
    console = Console(file=StringIO(), width=width, no_color=True, highlight=False, markup=False)
    for part in parts:
        console.print(Padding(part, (0, 0, 1, 2)))
    output = console.file
    assert isinstance(output, StringIO)  # noqa: S101  # it was made six lines above
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines())


def number(value: float) -> str:
    """Three digits, without the zero before the point.

    Example:
        >>> number(0.20449), number(0.00301), number(1.0), number(2e-7), number(float("nan"))
        ('.204', '.00301', '1.00', '2.0e-07', '')
    """
    if math.isnan(value):
        return ""
    if value == 0 or not 1e-3 <= abs(value) < 1e4:
        return f"{value:.1e}" if value else "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    shown = f"{value:.{max(digits, 0)}f}"
    return shown.replace("0.", ".", 1) if shown.lstrip("-").startswith("0.") else shown


def near(source: str) -> str:
    """A line of source as it is called from the folder one is in.

    Example:
        >>> near(str(Path.cwd() / "net.py:12")), near("/elsewhere/net.py:3")
        ('net.py:12', '/elsewhere/net.py:3')
    """
    path = Path(source)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else source


def way_back(gradient_path: GradientPath, gains: Sequence[BackwardGain]) -> list[RenderableType]:
    """The gradient path as a table with bars, what remains from end to end, and what theory expected of it."""
    theory = check_theory(gradient_path.run, gradient_path.step, gradient_path)
    told = [_theory(theory)] if theory.predictions else []
    return [_table(gradient_path, gains, theory), _sum(gradient_path, gains), *told]


def _heading(run: Run) -> Text:
    loss = run.steps["loss"][0] if "loss" in run.steps else run.header.get("loss", float("nan"))
    shown = [f"{run.header.get('model', 'model')}, {run.header.get('parameters', 0):,} parameters", f"loss {loss:.4g}"]
    if run.header.get("repeats", 1) > 1:
        shown.append(f"{run.header['repeats']} passes")
    return Text("undertow   " + "   ".join(shown))


def verdict(
    gradient_path: GradientPath | None, gains: Sequence[BackwardGain], findings: Sequence[Finding]
) -> tuple[str, str]:
    """In two or three words, and in a sentence or two. Arguments as in `report`; ``gradient_path`` is the run's.

    Example:
        >>> verdict(None, (), ())
        ('no weights', 'No gradient goes through any layer with weights.')
    """
    worst = next((f for f in findings if f.severity is not Severity.NOTE), None)
    if worst is not None:
        return worst.name, _sentences(worst, gradient_path, gains)
    if gradient_path is None:
        return "no weights", "No gradient goes through any layer with weights."
    found = gradient_path.decay()
    return "nothing wrong", (
        f"The gradient changes by {found.total:+.2f} decades over {len(gradient_path.waypoints)} layers and joins, "
        f"{found.rate:+.3f} from one to the next."
    )


def verdict_of(run: Run, gains: Sequence[BackwardGain], findings: Sequence[Finding]) -> tuple[str, str]:
    """`verdict` where the gradient path isn't at hand."""
    return verdict(find_gradient_path(run, step=0), gains, findings)


def _verdict(gradient_path: GradientPath | None, gains: Sequence[BackwardGain], findings: Sequence[Finding]) -> Table:
    words, sentence = verdict(gradient_path, gains, findings)
    grid = Table.grid(padding=(0, 2))
    grid.add_row(words.upper(), sentence)
    return grid


def _sentences(worst: Finding, gradient_path: GradientPath | None, gains: Sequence[BackwardGain]) -> str:
    if gradient_path is None or worst.code not in ("UT101", "UT102"):
        return worst.message
    waypoints = gradient_path.decay().waypoints
    causes = product(gain for gain in gains if waypoints[0] <= gain.start and gain.end <= waypoints[-1])
    decades = {cause: math.log10(factor) for cause, factor in causes.items() if factor > 0}
    shown = [f"{cause} {d:+.2f}" for cause, d in sorted(decades.items(), key=_size) if abs(d) >= WORTH_A_COLUMN]
    return f"{worst.message} In decades: {', '.join(shown)}."


def _size(item: tuple[str, float]) -> float:
    return -abs(item[1])


@dataclass(frozen=True)
class _Row:
    """A waypoint of the gradient path, or several in a row, and what happens to the gradient until the next one."""

    sites: tuple[int, ...]
    gains: tuple[BackwardGain, ...]

    @property
    def gain(self) -> float:
        return math.prod(gain.gain for gain in self.gains) if self.gains else float("nan")


def _rows(gradient_path: GradientPath, gains: Sequence[BackwardGain]) -> list[_Row]:
    waypoints = gradient_path.waypoints
    size = math.ceil(len(waypoints) / MOST_ROWS)
    rows = []
    for first in range(0, len(waypoints), size):
        end = waypoints[first + size] if first + size < len(waypoints) else waypoints[-1]
        inside = tuple(gain for gain in gains if waypoints[first] <= gain.start and gain.end <= end)
        rows.append(_Row(waypoints[first : first + size], inside))
    return rows


def _table(gradient_path: GradientPath, gains: Sequence[BackwardGain], theory: TheoryCheck) -> Group:
    rows = _rows(gradient_path, gains)
    beside = ["theory"] if theory.covered else []
    causes = _causes(rows)[: MOST_CAUSES - len(beside)]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="")
    table.add_column("layer", no_wrap=True)
    table.add_column("gradient", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for name in ("passes on", *beside, *causes, "speed (coherence)"):
        table.add_column(name, justify="right", no_wrap=True)
    unit, bars = _bars(
        [float(gradient_path.run.column("grad_output", gradient_path.step)[row.sites[0]]) for row in rows]
    )
    for row, bar in zip(rows, bars, strict=True):
        label, norm, drawn, gain, *rest = _cells(gradient_path, row, bar, causes)
        table.add_row(label, norm, drawn, gain, *([_beside(theory, row)] if beside else []), *rest)
    return Group(table, Text(f"each # is {unit} decades") if unit else Text(""))


def _cells(gradient_path: GradientPath, row: _Row, bar: str, causes: Sequence[str]) -> list[str]:
    reading = gradient_path.run.reading(row.sites[0], gradient_path.step)
    factors = product(row.gains)
    shown = [f"x {number(factors[cause])}" if cause in factors else "" for cause in causes]
    speed = ""
    if not math.isnan(reading["learning_speed"]) and len(row.sites) == 1:
        speed = f"{number(reading['learning_speed'])} ({number(reading['coherence'])})"
    passes_on = f"x {number(row.gain)}" if row.gains else ""
    return [_label(gradient_path.run, row.sites), number(reading["grad_output"]), bar, passes_on, *shown, speed]


def _beside(theory: TheoryCheck, row: _Row) -> str:
    """What theory expects a row to pass on, with a mark where that is not what was measured."""
    found = [each for each in theory.predictions if each.start in row.sites]
    if not found or not all(each.covered for each in found):
        return "-" if found else ""
    waypoint = " !" if any(each.deviates for each in found) else "  " if theory.deviating else ""
    return f"x {number(10 ** sum(each.expected for each in found))}{waypoint}"


def _theory(found: TheoryCheck) -> Group:
    told = [Text(summary(found))]
    for each in found.deviating[:MOST_DEPARTURES]:
        told.append(Text(f"! {deviation(each)}"))
    return Group(*told)


def deviation(prediction: SegmentPrediction) -> str:
    """A segment that isn't as theory expects, and what that means, in a line.

    Example:
        >>> deviation(SegmentPrediction(0, 2, "fc2", measured=-0.7, expected=-0.2, spread=0.05, saying="its weights"))
        'fc2: x .200 where theory expects x .631 (by chance x .398 to x 1.00): its weights'
    """
    reach = BY_CHANCE * prediction.spread
    low, high = (number(10 ** (prediction.expected + each)) for each in (-reach, reach))
    expected_gain, gain = number(10**prediction.expected), number(10**prediction.measured)
    return (
        f"{prediction.name}: x {gain} where theory expects x {expected_gain} (by chance x {low} to x {high}): "
        f"{prediction.saying}"
    )


def _label(run: Run, sites: Sequence[int]) -> str:
    first = run.sites[sites[0]]
    name = first.name if first.role is Role.WEIGHT or not first.module else f"{first.module} {first.op}"
    if len(sites) > 1:
        name = f"{name} .. {_apart(first.name, run.sites[sites[-1]].name)} ({len(sites)})"
    return name if len(name) <= LABEL_WIDTH else f"…{name[1 - LABEL_WIDTH :]}"


def _apart(first: str, last: str) -> str:
    """The last name without the path that both begin with.

    Example:
        >>> _apart("transformer.h.11.add", "transformer.h.10.add"), _apart("8", "0")
        ('10.add', '0')
    """
    parts, others = last.split("."), first.split(".")
    shared = sum(1 for _ in takewhile(bool, map(str.__eq__, parts[:-1], others)))
    return ".".join(parts[shared:])


def _causes(rows: Sequence[_Row]) -> list[str]:
    size: dict[str, float] = {}
    for row in rows:
        for cause, factor in product(row.gains).items():
            decades = abs(math.log10(factor)) if 0 < factor < math.inf else math.inf
            size[cause] = max(size.get(cause, 0.0), decades)
    worth = [cause for cause, decades in size.items() if decades >= WORTH_A_COLUMN]
    return sorted(worth, key=lambda cause: -size[cause])[:MOST_CAUSES]


def _bars(values: Sequence[float]) -> tuple[float, list[str]]:
    """A bar for every value, on a logarithmic scale from the smallest, and the decades that one sign stands for."""
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
    return Text(f"end to end x {number(total)}; unattributed x {number(rest)}")


def _findings(findings: Sequence[Finding]) -> Table:
    table = Table.grid(padding=(0, 3, 0, 0))
    for finding in findings:
        sure = "" if finding.confidence == 1 else f" In {finding.confidence:.0%} of the passes."
        held = f" ({finding.threshold})" if finding.threshold else ""
        line = f" At {near(finding.source)}." if finding.source else ""
        table.add_row(f"{finding.code} {finding.severity}", finding.name, f"{finding.message}{held}{line}{sure}")
    return table
