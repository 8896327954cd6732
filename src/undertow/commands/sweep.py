"""``undertow sweep``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from undertow.sweeping import Results

EXAMPLE = "undertow sweep depth.toml --out depth.html"

INTERRUPTED = 130
LISTED = 3
"""Failures listed one by one."""


def sweep(
    spec: Annotated[
        Path, typer.Argument(metavar="SPEC.toml", help="What to compute; or a store, to only look at it (with --out).")
    ],
    store: Annotated[Path | None, typer.Option(help="Where results are kept; SPEC.sweep by default.")] = None,
    processes: Annotated[
        int | None, typer.Option(min=0, help="Of one thread each; one a processor by default, 0 for none.")
    ] = None,
    ray: Annotated[str | None, typer.Option(metavar="auto|ADDRESS", help="Compute on a Ray cluster instead.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write results: .html, .parquet, .arrow, .csv or .json.")] = None,
) -> None:
    """Compute the cells of a sweep that aren't there yet: a grid, random draws, seeds. Ctrl-C stops it, to go on later.

    Exit code 1 if cells failed; those are tried again next time.
    """
    from undertow.sweeping import open_sweep
    from undertow.sweeping.results import check_format

    console = Console(highlight=False)
    if out:
        check_format(out)
    results = open_sweep(spec) if _is_store(spec) else _carried_out(spec, store, processes, ray, console)
    if out:
        console.print(f"wrote [bold]{escape(str(results.save(out)))}[/bold]", soft_wrap=True)
    console.print(_summary(results), soft_wrap=True)
    raise typer.Exit(bool(results.counts()["failed"]))


def _carried_out(spec: Path, store: Path | None, processes: int | None, ray: str | None, console: Console) -> "Results":
    from undertow.sweeping import open_sweep
    from undertow.sweeping import sweep as carry_out

    kept = store or spec.with_suffix(".sweep")
    try:
        return carry_out(spec, kept, processes=processes, ray=ray, console=console)
    except KeyboardInterrupt:
        there = open_sweep(kept).counts() if kept.is_file() else {"done": 0}
        console.print(
            f"stopped; {there['done']:,} cells are done and kept in {escape(str(kept))}: "
            "the same command goes on from there",
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED) from None


def _is_store(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\x00"


def _summary(results: "Results") -> str:
    counts, failed = results.counts(), results.failed()
    lines = [f"{counts['done']:,} done, {counts['failed']:,} failed, {counts['waiting']:,} waiting"]
    lines += [f"  {escape(_cell(results, row))}: {escape(row['error'])}" for row in failed[:LISTED]]
    if len(failed) > LISTED:
        lines.append(f"  ... {len(failed) - LISTED} more; tracebacks are in the store and on the page")
    return "\n".join([*lines, f"[bold]{escape(str(results.path))}[/bold] holds the results"])


def _cell(results: "Results", row: dict[str, object]) -> str:
    return ", ".join(f"{name} = {row[name]}" for name in results.swept() if name in row)
