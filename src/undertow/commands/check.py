"""``undertow check``: fail where a model, a report or a run has findings as severe as one says."""

from pathlib import Path
from typing import Annotated

import typer

from undertow.commands._inputs import Opened, Repeats, examined, is_run, judged, read
from undertow.record import Severity


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
    opened = _open(of, repeats)
    failing = [finding for finding in opened.findings if finding.severity.rank >= fail_on.rank]
    for finding in failing:
        typer.echo(str(finding))
    rest = len(opened.findings) - len(failing)
    typer.echo(f"{_counted(len(failing), fail_on)}; {rest} below, {opened.silenced} silenced")
    raise typer.Exit(code=bool(failing))


def _open(of: str, repeats: int) -> Opened:
    if is_run(of):
        return judged(Path(of))
    return read(Path(of)) if of.endswith(".json") else examined(of, repeats)


def _counted(failing: int, least: Severity) -> str:
    above = f"as severe as {least}" if least is Severity.ERROR else f"as severe as {least} or more"
    return f"{failing or 'no'} finding{'' if failing == 1 else 's'} {above}"
