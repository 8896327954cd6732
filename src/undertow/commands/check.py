"""``undertow check``: fail where a model, a report or a run has findings as severe as one says."""

import contextlib
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from undertow.commands._inputs import Opened, Repeats, examined, is_run, judged, read
from undertow.record import Severity

if TYPE_CHECKING:
    from undertow.render.check_formats import Checked

EXAMPLE = "undertow check net.py:build --fail-on error --format github"


class Format(StrEnum):
    """Choose how findings are written."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"
    JUNIT = "junit"


Codes = list[str] | None


def check(
    of: Annotated[
        str,
        typer.Argument(
            metavar="RUN_OR_FILE.py:FUNCTION",
            help="A model, a report.json that `undertow examine` wrote, or a run that `undertow.watch` recorded.",
        ),
    ],
    fail_on: Annotated[Severity, typer.Option(help="The least severity that fails.")] = Severity.WARNING,
    select: Annotated[Codes, typer.Option(metavar="CODE,...", help="Only these rules: UT101, or UT1 for all.")] = None,
    ignore: Annotated[Codes, typer.Option(metavar="CODE,...", help="Without these rules.")] = None,
    format_: Annotated[Format, typer.Option("--format", help="How findings are written.")] = Format.TEXT,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    repeats: Repeats = 1,
) -> None:
    """Examine a model or judge a run, and exit 1 if a finding is as severe as --fail-on: for continuous integration.

    Exit codes: 0 nothing fails, 1 findings, 2 your mistake, 3 undertow's.
    """
    from undertow.render.check_formats import FORMATS, Checked
    from undertow.rules.selection import prefixes, selected

    chosen, left_out = prefixes(select), prefixes(ignore)
    written = Format.JSON if as_json else format_
    with contextlib.redirect_stdout(sys.stdout if written is Format.TEXT else sys.stderr):  # the user's prints
        opened = _open(of, repeats)
    findings = selected(opened.findings, chosen, left_out)
    checked = Checked(of, findings, fail_on, opened.silenced)
    typer.echo(FORMATS[written](checked) if written is not Format.TEXT else _text(checked, len(opened.findings)))
    raise typer.Exit(int(bool(checked.failing)))


def _open(of: str, repeats: int) -> Opened:
    if is_run(of):
        return judged(Path(of))
    return read(Path(of)) if of.endswith(".json") else examined(of, repeats)


def _text(checked: "Checked", found: int) -> str:
    from undertow.render.terminal import printed, screen
    from undertow.render.terminal_findings import blocks

    failing, on = checked.failing, screen()
    rest = [f"{len(checked.findings) - len(failing)} below", f"{checked.silenced} silenced"]
    rest += [f"{left} not selected"] if (left := found - len(checked.findings)) else []
    said = f"{_counted(len(failing), checked.fail_on)}; {', '.join(rest)}"
    return "\n".join(filter(None, (printed(blocks(failing, on), on), said)))


def _counted(failing: int, least: Severity) -> str:
    above = f"as severe as {least}" if least is Severity.ERROR else f"as severe as {least} or more"
    return f"{failing or 'no'} finding{'' if failing == 1 else 's'} {above}"
