"""``undertow examine`` and ``undertow check``."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from undertow.commands import silencing, target
from undertow.record import Severity
from undertow.reporting import Report

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
        str, typer.Argument(metavar="FILE.py:FUNCTION", help="Or a report.json that `undertow examine` wrote.")
    ],
    fail_on: Annotated[Severity, typer.Option(help="The least severity that fails.")] = Severity.WARNING,
    repeats: Repeats = 1,
) -> None:
    """Examine a model, and exit 1 if a finding is as severe as --fail-on, for continuous integration."""
    report, silenced = opened(Path(of)) if of.endswith(".json") else examined(of, repeats)
    failing = [finding for finding in report.findings if finding.severity.rank >= fail_on.rank]
    for finding in failing:
        where = ", ".join(filter(None, (finding.where, finding.source)))
        typer.echo(f"{finding.code} {finding.severity}: {finding.message} [{where}]")
    rest = len(report.findings) - len(failing)
    typer.echo(f"{_counted(len(failing), fail_on)}; {rest} below, {silenced} silenced")
    raise typer.Exit(code=bool(failing))


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
    kept = silencing.spoken(report.findings, report.run, silences)
    return Report(report.run, report.gains, kept), len(report.findings) - len(kept)


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
