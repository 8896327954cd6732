"""Render a Run for the terminal: what is wrong and what to do, every layer through time, then one step by cause."""

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from undertow.formatting import terse
from undertow.render.buckets import Numbers
from undertow.render.diagnosed_run import DiagnosedRun
from undertow.render.labels import in_ranges
from undertow.render.run_series import QUANTITIES, RunSeries
from undertow.render.run_summary import NOTHING_YET, recorded, standing, unseen
from undertow.render.terminal import Column, Screen, fitted, printed
from undertow.render.terminal_findings import blocks
from undertow.render.terminal_path import way_back
from undertow.render.verdict import by_cause, is_fault

CURVE = 24
"""Signs that a curve is drawn with."""

SHORT, FEW_COLUMNS = 7, 3
"""Of curves in the table of layers, twice as long where there are few columns."""

LEVELS = "▁▂▃▄▅▆▇█"
SHOWN = ("speed", "progress", "update", "saturated", "dead")
MOST_ROWS = 24
ALL_WELL = "NOTHING WRONG WAS FOUND"


def text(diagnosed: DiagnosedRun, name: str = "", on: Screen | None = None) -> str:
    """Return what ``undertow show RUN`` prints.

    Args:
        diagnosed: the run, its findings, and the step to show by cause.
        name: what the run is called.
        on: where it is shown; 100 columns without colour unless given.

    Example:
        >>> from undertow.diagnosis import Diagnosis
        >>> from undertow.record import Run
        >>> run = Run({"model": "Net"}, (), scalars={"loss": np.array([2.0, 1.0])})
        >>> print(text(DiagnosedRun(Diagnosis(run)), name="first"))
          first   Net   loss 1, 2 at first
        <BLANKLINE>
          NOTHING WRONG WAS FOUND
        <BLANKLINE>
          0 steps of 2 were measured in full; every=10 measures more
        <BLANKLINE>
          loss   2.00 -> 1.00   █▁
        <BLANKLINE>
    """
    run, series, on = diagnosed.run, diagnosed.series, on or Screen()
    parts: list[RenderableType] = [Text("   ".join([name, *standing(series, run.header)]))]
    parts += _findings(diagnosed, on)
    parts.append(Text("   ".join(recorded(series, run.header)), "dim"))
    parts += [_curves(series)] if _curves(series).row_count else []
    parts += _layers(series, on)
    if len(run):
        parts += _step(diagnosed, on)
    return f"{printed(parts, on)}\n"


def _findings(diagnosed: DiagnosedRun, on: Screen) -> list[RenderableType]:
    findings, run = diagnosed.chosen.findings, diagnosed.run
    if not findings and not diagnosed.series.noted and not len(run):
        return [Text(NOTHING_YET)]
    hidden = [Text(f"not seen: {sentence}") for sentence in unseen(run.header)]
    verdict = Text("NOTHING WRONG WAS FOUND IN WHAT WAS SEEN", "bold") if hidden else Text(ALL_WELL, "bold green")
    good = [] if any(map(is_fault, findings)) else [verdict]
    return [*good, *hidden, *blocks(findings, on, partial(by_cause, diagnosed.chosen))]


def curve(values: Numbers, log: bool = False, signs: int = CURVE, least: float = 0.0) -> str:
    """Draw values as a line of blocks, the largest of each segment; a gap where there are none.

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


def _curves(series: RunSeries) -> Table:
    table = Table.grid(padding=(0, 3))
    for name in ("loss", "grad_norm", "lr"):
        if name in series.latest:
            values = series.scalar(name)
            shown = curve(values, log=bool(values.min() > 0 and values.max() > 20 * values.min()))
            lost = name == "loss" and series.loss_end.lost
            ends = (series.began[name], series.loss_end.loss if lost else series.latest[name])
            table.add_row(name, " -> ".join(filter(None, [*map(terse, ends), "nan" * lost])), shown)
    return table


def _layers(series: RunSeries, on: Screen) -> list[RenderableType]:
    """Return the table of layers through time; where there are too many for it, the others' names."""
    measured = {key: each for key in SHOWN if (each := series.rows(key))}
    signs = SHORT if len(measured) > FEW_COLUMNS else 2 * SHORT
    named = dict.fromkeys(name for each in measured.values() for name in each)
    names = sorted(named, key=_places(series.order, named).__getitem__)
    shown = names[:: -(-len(names) // MOST_ROWS) or 1]
    columns = [
        Column(_title(key), [_cell(each.get(name), QUANTITIES[key].log, signs) for name in shown], -place, right=False)
        for place, (key, each) in enumerate(measured.items())
    ]
    if not columns:
        return []
    table = fitted(Column("layer, input first", shown, 1.0, right=False), columns, on.width)
    left = ", ".join(in_ranges([name for name in names if name not in shown]))
    there = {str(column.header) for column in table.columns}
    usual = {_title(key): QUANTITIES[key].usual for key in measured}
    told = [f"usual {title}: {said}" for title, said in usual.items() if said and title in there]
    told += [f"not shown, as there is no room: {left}"] if left else []
    return [Group(table, *(Text(line, "dim") for line in told))]


def _title(key: str) -> str:
    return QUANTITIES[key].title.replace("-to-weight", "").removeprefix("share of ")


def _places(order: Sequence[str], names: Iterable[str]) -> dict[str, int]:
    """Return where each stands on the way from the input; a module of one operation goes by that."""
    known = {name: place for place, name in enumerate(order)}
    parts = {name.rpartition(".")[0]: place for name, place in reversed(known.items())}
    return {name: known.get(name, parts.get(name, len(order))) for name in names}


def _cell(read: tuple[float, Numbers] | None, log: bool, signs: int) -> str:
    return "" if read is None else f"{terse(read[0]):>8} {curve(read[1], log, signs, least=1.0)}"


def _step(diagnosed: DiagnosedRun, on: Screen) -> list[RenderableType]:
    diagnosis = diagnosed.chosen
    if diagnosis.gradient_path is None or not diagnosis.gradient_path.waypoints:
        return [Text("no gradient goes through any layer with weights")]
    at = f"at step {diagnosed.steps[diagnosis.step]:,.0f}"
    if not np.isfinite(diagnosis.column("grad_output")[list(diagnosis.gradient_path.waypoints)]).any():
        return [Text(f"{at} the gradient is not finite: --step tells of another")]
    return [Text(f"{at}, from the loss:"), *way_back(diagnosis, on)]
