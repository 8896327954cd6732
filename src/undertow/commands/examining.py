"""``undertow examine`` and ``undertow check``."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from undertow.commands import silencing, target
from undertow.record import Finding, Run, Severity
from undertow.reporting import Report
from undertow.rules import over_time
from undertow.store import open_run

Target = Annotated[
    str, typer.Argument(metavar="FILE.py:FUNCTION", help="FUNCTION() returns (model, compute_loss[, optimizer]).")
]
Repeats = Annotated[int, typer.Option(min=1, help="Passes to make; compute_loss may take another batch each time.")]


def examine(
    of: Target,
    out: Annotated[Path | None, typer.Option(help="Write the report: .html, .png, .svg, .json or .txt.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    repeats: Repeats = 1,
) -> None:
    """Say how the gradient gets from the loss to the first layer of a model, what becomes of it and why."""
    report, silenced = examined(of, repeats)
    if out:
        report.save(out)
    print_report(report, silenced, as_json)
    if out:
        typer.echo(f"  {out} holds the report", err=as_json)


def check(
    of: Annotated[
        str,
        typer.Argument(
            metavar="RUN_OR_FILE.py:FUNCTION",
            help="A model, a report.json that `undertow examine` wrote, or a run that `undertow.watch` recorded.",
        ),
    ],
    fail_on: Annotated[Severity, typer.Option(help="The least severity that fails.")] = Severity.WARNING,
    repeats: Repeats = 1,
) -> None:
    """Examine a model or judge a run, and exit 1 if a finding is as severe as --fail-on: for continuous integration."""
    findings, silenced = found(of, repeats)
    failing = [finding for finding in findings if finding.severity.rank >= fail_on.rank]
    for finding in failing:
        typer.echo(str(finding))
    rest = len(findings) - len(failing)
    typer.echo(f"{_counted(len(failing), fail_on)}; {rest} below, {silenced} silenced")
    raise typer.Exit(code=bool(failing))


def found(of: str, repeats: int = 1) -> tuple[Sequence[Finding], int]:
    """What is wrong with a model, in a report or in a run, and how many findings its project silences."""
    if is_run(of):
        return _in_run(Path(of))
    report, silenced = opened(Path(of)) if of.endswith(".json") else examined(of, repeats)
    return report.findings, silenced


def _in_run(file: Path) -> tuple[Sequence[Finding], int]:
    silences, run = silencing.configured(file), open_run(file)
    return _kept(over_time(run), run, silences)


def is_run(of: str) -> bool:
    """Whether it is the name of a run's file, and neither of a report nor of a function of the user's."""
    path = Path(of)
    return path.suffix.lower() not in (".json", ".py") and (path.is_file() or ":" not in of)


def examined(of: str, repeats: int) -> tuple[Report, int]:
    """The report on a FILE.py:FUNCTION without what its project silences, and how many findings that is."""
    file, _ = target.split(of)
    silences = silencing.configured(file)  # before the work: what is wrong with it can be said at once
    from undertow.examination import examine as examination

    model, compute_loss, optimizer = target.load(of)
    return _spoken(examination(model, compute_loss, optimizer, repeats), silences)


def opened(file: Path) -> tuple[Report, int]:
    """The same of a saved report."""
    return _spoken(Report.read(file), silencing.configured(file))


def _spoken(report: Report, silences: list[silencing.Silence]) -> tuple[Report, int]:
    kept, silenced = _kept(report.findings, report.run, silences)
    return Report(report.run, report.gains, kept), silenced


def _kept(findings: Sequence[Finding], run: Run, silences: list[silencing.Silence]) -> tuple[Sequence[Finding], int]:
    kept = silencing.spoken(findings, run, silences)
    return kept, len(findings) - len(kept)


def print_report(report: Report, silenced: int, as_json: bool) -> None:
    """On standard output."""
    if as_json:
        json.dump(report.to_dict(), sys.stdout, allow_nan=False)
        typer.echo()
        return
    typer.echo(str(report))
    if silenced:
        typer.echo(f"  {silenced} finding{'s' if silenced > 1 else ''} silenced by pyproject.toml")


def _counted(failing: int, least: Severity) -> str:
    above = f"as severe as {least}" if least is Severity.ERROR else f"as severe as {least} or more"
    return f"{failing or 'no'} finding{'' if failing == 1 else 's'} {above}"
