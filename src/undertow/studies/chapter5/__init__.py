"""Chapter 5 of the book, measured again: "Why are deep neural networks hard to train?"

Every figure and number of the chapter, with many networks in place of one, as one page, pictures and a file of results.
"""

import tempfile
from pathlib import Path

from rich.console import Console

from undertow.lab import load
from undertow.studies.chapter5.check import Verdict, check
from undertow.studies.chapter5.protocol import Protocol

__all__ = ["Protocol", "Verdict", "check", "run"]


def run(out: Path, protocol: Protocol, data: str = "mnist", console: Console | None = None) -> Path:
    """Reproduce the chapter.

    Args:
        out: folder for ``index.html``, ``explore.html``, ``results.json`` with its schema, and ``figures/`` as PNG and
            SVG; it is made if it isn't there.
        protocol: how much to do, and from which seed.
        data: "mnist", "digits", or a path to IDX files.
        console: where progress is shown.

    Returns:
        The page.

    Raises:
        OSError: ``out`` can't be written to.
        undertow.lab.DataError: the data can't be had; the message says why, and how to give a path.
    """
    from undertow.studies.chapter5 import (
        article,
        explorer,
        plan,
        storage,
    )  # charts and theory: not needed to check a result

    loaded = load(data)  # before anything is written, and once before all processes do
    _check_writable(out)
    console = console or Console()
    results = plan.measure(protocol, data, loaded, console)
    storage.save(results, out)
    with console.status("drawing the figures"):
        explorer.write(results, out)
        return article.write(results, out)


def _check_writable(out: Path) -> None:
    """Find out before hours of work, not after."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise OSError(f"can't write into {out} ({error.strerror}): choose another folder with --out") from error
