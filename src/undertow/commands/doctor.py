"""``undertow doctor``: find out what is wrong with a training, try remedies, print what helped."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from undertow import user_model
from undertow.user_function import split

if TYPE_CHECKING:
    from undertow.doctoring import Treatment

INTERRUPTED = 130

EXAMPLE = "undertow doctor train.py:training --budget 5m"

Target = Annotated[str, typer.Argument(metavar="FILE.py:FUNCTION", help="FUNCTION() returns an undertow.Training.")]


def doctor(
    of: Target,
    budget: Annotated[str, typer.Option(help="How long it may take: 90s, 5m, 1h.")] = "5m",
    seeds: Annotated[int, typer.Option(min=2, help="Seeds of the final comparison.")] = 5,
    levels: Annotated[str, typer.Option(help="Levels of remedies that may be tried, of A, B, C and D.")] = "ABCD",
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of a full training, if not the Training's own.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the answer: .html, .json or .txt.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    store: Annotated[Path | None, typer.Option(help="Keep trials here, to go on after an interruption.")] = None,
    processes: Annotated[int | None, typer.Option(min=0, help="Trials at a time; one a processor.")] = None,
    ray: Annotated[str | None, typer.Option(metavar="auto|ADDRESS", help="Make trials on a Ray cluster.")] = None,
    live: Annotated[
        Path | None, typer.Option(help="Write what is known as it goes: NAME.treatment.json, for undertow serve.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Write what helps into FILE.py.")] = False,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="With --write: levels C and D, too.")] = False,
    force: Annotated[bool, typer.Option("--force", help="With --write: also over changes that git lacks.")] = False,
) -> None:
    """Find out what is wrong with a training, try remedies fairly, and print what was seen to help.

    Ctrl-C ends it with what is known until then.
    """
    from undertow.doctoring import doctor as treat
    from undertow.doctoring.treatment import check_format

    for path in filter(None, (out, live)):
        check_format(path)
    treatment = treat(
        user_model.training(of, steps), budget, seeds=seeds, levels=levels.upper(), processes=processes, store=store,
        ray=ray, live=live, tell=_said_on_stderr,
    )  # fmt: skip
    if out:
        treatment.save(out)
        _said_on_stderr(f"wrote {out}")
    if as_json:
        json.dump(treatment.to_dict(), sys.stdout, allow_nan=False)
        typer.echo()
    else:
        typer.echo(str(treatment))
    if write:
        _written(treatment, of, unsafe, force)
    if treatment.interrupted:
        raise typer.Exit(INTERRUPTED)


def _written(treatment: "Treatment", of: str, unsafe: bool, force: bool) -> None:
    from undertow.doctoring.patching import patched

    if not treatment.remedies:
        _said_on_stderr("there is nothing to write")
        return
    patch = patched(*split(of), treatment.remedies)
    if patch.diff:
        patch.write(unsafe, force)
        typer.echo(patch.diff, err=True)
    for each in patch.left:
        _said_on_stderr(f"left to you, as no line of {patch.file.name} is its place: {each.code} {each.name}")


def _said_on_stderr(line: str) -> None:
    typer.echo(f"  {line}", err=True)
