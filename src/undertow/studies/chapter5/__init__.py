"""Chapter 5 of the book, measured again: "Why are deep neural networks hard to train?"

Every figure and number of the chapter, with many networks in place of one, as one page, pictures and a file of results.
"""

from pathlib import Path

from rich.console import Console

from undertow.lab import load
from undertow.studies.chapter5.check import Verdict, check
from undertow.studies.chapter5.protocol import Protocol
from undertow.studies.keeping import check_writable

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
    check_writable(out)
    console = console or Console()
    results = plan.measure(protocol, data, loaded, console)
    storage.save(results, out)
    with console.status("drawing the figures"):
        explorer.write(results, out)
        return article.write(results, out)
