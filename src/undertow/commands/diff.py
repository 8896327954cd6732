"""``undertow diff``: show two runs or reports side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from undertow.commands._inputs import is_run

if TYPE_CHECKING:
    from undertow.diagnosis import Diagnosis

EXAMPLE = "undertow diff before.json after.json"

Saved = Annotated[
    Path, typer.Argument(help="A report.json that `undertow examine --out` wrote, or a run that `undertow.watch` did.")
]


def diff(before: Saved, after: Saved) -> None:
    """Two runs or reports side by side: what became of every layer's gain, and which findings came and went.

    Of a run the last finite step that was measured in full is compared, and the findings of all of it.
    """
    from undertow.render import terminal_difference
    from undertow.render.terminal import screen

    typer.echo(terminal_difference.text((str(before), _read(before)), (str(after), _read(after)), screen()))


def _read(file: Path) -> "Diagnosis":
    from undertow.report import Report, explain
    from undertow.store import open_run

    report = explain(open_run(file)).report() if is_run(str(file)) else Report.read(file)
    return report.diagnosis
