"""A Run for the terminal: what became of every layer through time, then one step by cause, then the findings."""

from collections.abc import Iterable, Sequence
from io import StringIO

import numpy as np
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from undertow.analysis.attribution import attribute
from undertow.analysis.gradient_path import find_gradient_path
from undertow.record import Finding, Run
from undertow.render import terminal_report
from undertow.render.buckets import Numbers
from undertow.render.run_series import QUANTITIES, Course, steps_of
from undertow.render.summary import NOTHING_YET, facts

CURVE = 24
"""Signs that a curve is drawn with."""

SHORT, FEW_COLUMNS = 7, 3
"""Of curves in the table of layers, twice as long where there are few columns."""

LEVELS = "▁▂▃▄▅▆▇█"
SHOWN = ("speed", "progress", "update", "saturated", "dead")
MOST_ROWS = 24


def summary(
    run: Run, findings: Sequence[Finding], row: int = -1, name: str = "", width: int = terminal_report.WIDTH
) -> str:
    """What ``undertow show RUN`` prints.

    Args:
        run: what was measured.
        findings: the worst first.
        row: the place, among the taped steps, of the one to tell by cause.
        name: what the run is called.
        width: columns of the terminal.

    Example:
        >>> print(summary(Run({"model": "Net"}, (), scalars={"loss": np.array([2.0, 1.0])}), [], name="first"))
          first   Net   loss 1   2 steps noted, 0 of them taped
        <BLANKLINE>
          loss   2.00 -> 1.00   █▁
        <BLANKLINE>
          nothing wrong was found
        <BLANKLINE>
    """
    course = Course(run)
    parts: list[RenderableType] = [Text("   ".join([name, *facts(course, run.header)]))]
    parts += [table for table in (_curves(course), _layers(course)) if table.row_count]
    if len(run):
        parts += _moment(run, row)
    parts.append(_findings(findings) if findings or course.noted or len(run) else Text(NOTHING_YET))
    console = Console(file=StringIO(), width=width, no_color=True, highlight=False, markup=False)
    for part in parts:
        console.print(Padding(part, (0, 0, 1, 2)))
    output = console.file
    assert isinstance(output, StringIO)  # noqa: S101  # it was made five lines above
    return "\n".join(_printable(line).rstrip() for line in output.getvalue().split("\n"))


def _printable(line: str) -> str:
    """Names come from files: a control character in one shall not reach the terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in line)


def curve(values: Numbers, log: bool = False, signs: int = CURVE, least: float = 0.0) -> str:
    """Values as a line of blocks, the largest of each segment; a gap where there are none.

    Args:
        values: in order.
        log: whether decades count.
        signs: how long the line is.
        least: what it spans at least, so that what hardly changes looks flat (decades if ``log``).

    Example:
        >>> curve(np.array([1.0, 2.0, np.nan, 8.0]), signs=4)
        '▁▂ █'
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        levels = np.log10(values) if log else np.asarray(values, float)
    parts = np.array_split(np.where(np.isfinite(levels), levels, np.nan), min(signs, max(len(levels), 1)))
    highest = np.array([np.fmax.reduce(part) if len(part) else np.nan for part in parts])
    seen = highest[~np.isnan(highest)]
    if not len(seen):
        return ""
    span = max(float(np.ptp(seen)), least)
    low = (seen.min() + seen.max() - span) / 2 if log else seen.min()
    return "".join(" " if np.isnan(h) else LEVELS[round(7 * (h - low) / span) if span else 0] for h in highest)


def _curves(course: Course) -> Table:
    table = Table.grid(padding=(0, 3))
    for name in ("loss", "grad_norm", "lr"):
        if name in course.latest:
            values = course.scalar(name)
            shown = curve(values, log=bool(values.min() > 0 and values.max() > 20 * values.min()))
            ends = (course.began[name], course.latest[name])
            table.add_row(name, " -> ".join(map(terminal_report.number, ends)), shown)
    return table


def _layers(course: Course) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="")
    measured = {key: each for key in SHOWN if (each := course.rows(key))}
    signs = SHORT if len(measured) > FEW_COLUMNS else 2 * SHORT
    table.add_column("layer, input first", no_wrap=True)
    for key in measured:
        table.add_column(QUANTITIES[key].title.replace("-to-weight", "").removeprefix("share of "), no_wrap=True)
    named = dict.fromkeys(name for each in measured.values() for name in each)
    names = sorted(named, key=_places(course.order, named).__getitem__)
    for name in names[:: -(-len(names) // MOST_ROWS) or 1]:
        cells = (_cell(each.get(name), QUANTITIES[key].log, signs) for key, each in measured.items())
        table.add_row(name, *cells)
    return table


def _places(order: Sequence[str], names: Iterable[str]) -> dict[str, int]:
    """Where each stands on the way from the input; a module of one operation goes by that."""
    known = {name: place for place, name in enumerate(order)}
    parts = {name.rpartition(".")[0]: place for name, place in reversed(known.items())}
    return {name: known.get(name, parts.get(name, len(order))) for name in names}


def _cell(read: tuple[float, Numbers] | None, log: bool, signs: int) -> str:
    return "" if read is None else f"{terminal_report.number(read[0]):>8} {curve(read[1], log, signs, least=1.0)}"


def _moment(run: Run, row: int) -> list[RenderableType]:
    row = range(len(run))[row]
    gradient_path = find_gradient_path(run, row)
    if gradient_path is None or not gradient_path.waypoints:
        return [Text("no gradient goes through any layer with weights")]
    at = f"at step {steps_of(run)[row]:,.0f}"
    if not np.isfinite(run.column("grad_output", row)[list(gradient_path.waypoints)]).any():
        return [Text(f"{at} the gradient is not finite: --step tells of another")]
    return [Text(f"{at}, from the loss:"), *terminal_report.way_back(gradient_path, attribute(run, row, gradient_path))]


def _when(finding: Finding) -> str:
    since = "from the start" if finding.from_start else f"from step {finding.began:,}"
    return since if finding.ended is None else f"{since} to step {finding.ended:,}"


def _findings(findings: Sequence[Finding]) -> RenderableType:
    if not findings:
        return Text("nothing wrong was found")
    table = Table.grid(padding=(0, 3, 0, 0))
    for finding in findings:
        when = "" if finding.began is None else f"{_when(finding)}: "
        held = f" ({finding.threshold})" if finding.threshold else ""
        table.add_row(f"{finding.code} {finding.severity}", finding.name, f"{when}{finding.message}{held}")
    return table
