"""``undertow doctor``: find out what is wrong with a training, try remedies, print what helped."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from undertow import user_model

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
) -> None:
    """Find out what is wrong with a training, try remedies fairly, and print what was seen to help."""
    from undertow.doctoring import doctor as treat

    training = user_model.training(of, steps)
    treatment = treat(
        training, budget, seeds=seeds, levels=levels.upper(), processes=processes, store=store, tell=_said_on_stderr
    )
    if out:
        treatment.save(out)
    if as_json:
        json.dump(treatment.to_dict(), sys.stdout, allow_nan=False)
        typer.echo()
    else:
        typer.echo(str(treatment))


def _said_on_stderr(line: str) -> None:
    typer.echo(f"  {line}", err=True)
