"""``undertow diff``."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from undertow.record import Finding
from undertow.reporting import Report
from undertow.reporting.difference import Difference, Pair, difference
from undertow.show.stretches import Stretch
from undertow.show.text import number, verdict_of

Saved = Annotated[Path, typer.Argument(help="A report.json that `undertow examine --out` wrote.")]
WORTH_SHOWING = 0.005
"""Decades: what changed less is counted and not listed."""


def diff(before: Saved, after: Saved) -> None:
    """Two reports side by side: what became of every layer's gain, and which findings came and went."""
    reports = Report.read(before), Report.read(after)
    found = difference(*reports)
    console = Console(highlight=False, markup=False)
    for sign, file, report in zip("-+", (before, after), reports, strict=True):
        words, sentence = verdict_of(report.run, report.gains, report.findings)
        console.print(f"{sign} {file}: {words}. {sentence}", soft_wrap=True)
    console.print()
    _print_gains(console, found)
    for sign, findings in (("-", found.gone), ("+", found.new), (" ", found.kept)):
        _print_findings(console, sign, findings)


def _print_gains(console: Console, found: Difference) -> None:
    changed = [pair for pair in found.pairs if not abs(pair.change) < WORTH_SHOWING]
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="")
    for name in ("layer", "passed on", "passes on", "decades", "because of"):
        table.add_column(name, justify="left" if name in ("layer", "because of") else "right", no_wrap=True)
    for pair in changed:
        table.add_row(*_cells(pair))
    if changed:
        console.print(table)
    alike = len(found.pairs) - len(changed)
    if alike:
        console.print(f"{alike} of {len(found.pairs)} layers and joins pass on what they did, within 1 %")
    console.print()


def _cells(pair: Pair) -> tuple[str, ...]:
    change = "" if math.isnan(pair.change) else f"{pair.change:+.2f}"
    return pair.name, _gain(pair.before), _gain(pair.after), change, pair.cause


def _gain(stretch: Stretch | None) -> str:
    return "not there" if stretch is None else f"x {number(stretch.gain)}"


def _print_findings(console: Console, sign: str, findings: Sequence[Finding]) -> None:
    for finding in findings:
        console.print(f"{sign} {finding.code} {finding.severity}: {finding.message}", soft_wrap=True)
