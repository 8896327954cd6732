"""``undertow diff``: show two runs or reports side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from undertow.commands._inputs import is_run

if TYPE_CHECKING:
    from undertow.diagnosis import Diagnosis

EXAMPLE = "undertow diff before.json after.json --out difference.html"

Saved = Annotated[
    Path, typer.Argument(help="A report.json that `undertow examine --out` wrote, or a run that `undertow.watch` did.")
]


Out = Annotated[Path | None, typer.Option(help="Write a page of it, an .html file, too.")]


def diff(before: Saved, after: Saved, out: Out = None) -> None:
    """Two runs or reports side by side: what became of every layer's gain, and which findings came and went.

    Of a run the last finite step that was measured in full is compared, and the findings of all of it.
    """
    from undertow.render import terminal_difference
    from undertow.render.terminal import screen

    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"can't write {out}: a difference is written as a page, so name it .html")
    named = (str(before), _read(before)), (str(after), _read(after))
    typer.echo(terminal_difference.text(*named, screen()))
    if out is not None:
        from undertow.render import difference_page

        difference_page.article(*named).write(out)
        typer.echo(f"wrote {out}")


def _read(file: Path) -> "Diagnosis":
    from undertow.report import Report, explain
    from undertow.store import open_run

    report = explain(open_run(file)).report() if is_run(str(file)) else Report.read(file)
    return report.diagnosis
