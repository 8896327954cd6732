"""How deep a network may be: networks trained over depth and variances, with theory's depth scale drawn over them.

After Schoenholz et al. 2017, "Deep information propagation".
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from undertow.studies.study import Scale
from undertow.studies.trainability.protocol import Protocol

__all__ = ["STUDY", "Protocol", "run"]

STORE = "cells.sweep"


def run(
    out: Path,
    quick: bool = False,
    seed: int = 0,
    console: Console | None = None,
    data: str = "mnist",
    *,
    processes: int | None = None,
    ray: str | None = None,
) -> Path:
    """Train the map and write its page.

    A run that was interrupted goes on where it stopped: what is trained is kept in ``cells.sweep``.

    Args:
        out: folder for ``index.html``, ``results.json``, ``cells.sweep``, ``results.parquet`` (if pyarrow
            is installed) and ``figures/`` as PNG and SVG; it is made if it isn't there.
        quick: a taste in under a minute.
        seed: where all randomness starts.
        console: where progress is shown.
        data: "mnist", "digits", or a path to IDX files.
        processes, ray: as in `undertow.sweeping.sweep`.

    Returns:
        The page.

    Raises:
        OSError: ``out`` can't be written to.
        RuntimeError: networks could not be trained; the message says which and why.
        undertow.lab.DataError: the data can't be had.
    """
    from undertow.sweeping import sweep

    protocol = Protocol.of(quick, seed)
    results = sweep(protocol.spec(data), out / STORE, processes=processes, ray=ray, console=console)
    failed = results.failed()
    if failed:
        raise RuntimeError(f"{len(failed)} networks could not be trained; the first: {failed[0]['error']}")
    measured = measure(results, protocol, data)
    return write(measured, results, out)


@dataclass(frozen=True)
class _Trainability:
    """A study that is a sweep: resumable, and on a cluster if wanted."""

    name: str = "trainability"
    summary: str = "how deep a network may be: depth and variances, with theory's depth scale over them"
    stopped: str = "what was trained is kept, and the same command goes on from there"

    def run(self, out: Path, scale: Scale, data: str = "mnist", console: Console | None = None) -> Path:
        """See the function `run`."""
        return run(out, scale.quick, scale.seed, console, data)


STUDY = _Trainability()


def measure(results: Any, protocol: Protocol, data: str) -> dict[str, Any]:
    """What `results.json` holds, as NumPy arrays and plain values."""
    from undertow.lab import load
    from undertow.studies.environment import environment
    from undertow.studies.trainability import claims, measuring
    from undertow.studies.wording import unmarked

    loaded, names = load(data), ("width", "images", "epochs", "batch_size", "seeds")
    rows = results.rows()
    found = {
        "study": "trainability",
        "schema": 1,
        "quick": protocol.quick,
        "seed": protocol.seed,
        "protocol": {name: getattr(protocol, name) for name in names},
        "data": {"name": unmarked(loaded.name), "sha256": loaded.sha256},
        "networks": len(rows),
        "seconds": results.seconds(),
        **measuring.fields(rows, protocol),
        "environment": environment(),
    }
    return {**found, "claims": claims.judge(found)}


def write(measured: dict[str, Any], results: Any, out: Path) -> Path:
    """Write the page, its figures, and the numbers."""
    from importlib.util import find_spec

    from undertow.studies.keeping import JSON_NAME, PARQUET_NAME, write_json
    from undertow.studies.trainability.article import article

    write_json(measured, out / JSON_NAME)
    if find_spec("pyarrow"):
        results.save(out / PARQUET_NAME)
    return article(measured).write(out / "index.html", figures_in=out / "figures")
