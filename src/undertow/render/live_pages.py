"""Render the pages that `undertow serve` answers with; what is on them they ask for themselves."""

from collections.abc import Sequence
from urllib.parse import urlencode

from undertow.render.run_view import names_and_colours
from undertow.render.templating import BOARD, DRAWING, filled


def run_page(name: str) -> str:
    """Return the page of one run, kept up to date.

    Example:
        >>> "view?name=a%26b.undertow" in run_page("a&b.undertow")
        True
    """
    asked = urlencode({"name": name})
    urls = {"view": f"view?{asked}", "step": f"step?{asked}", "events": f"events?{asked}"}
    given = {"name": name, "urls": urls, "stepViews": None, **names_and_colours()}
    return filled("run/run.html", name, given, (*BOARD, "run/live"), live=True)


def runs_page(folder: str, treatments: Sequence[str] = ()) -> str:
    """Return the list of all runs in a folder, with links to what the doctor has written there.

    Example:
        >>> "treatment?name=net.treatment.json" in runs_page("runs", ["net.treatment.json"])
        True
    """
    links = [{"name": name, "page": f"treatment?{urlencode({'name': name})}"} for name in treatments]
    given = {"treatments": links} if links else {}
    return filled("run/runs.html", f"Runs in {folder}", given, ("address", "run/runs"), live=True)


def compare_page(names: Sequence[str]) -> str:
    """Return the page of several runs side by side."""
    asked = urlencode([("name", name) for name in names])
    urls = {"views": [f"view?{urlencode({'name': name})}" for name in names], "events": f"events?{asked}"}
    runs = [{"name": name, "page": f"run?{urlencode({'name': name})}"} for name in names]
    given = {"runs": runs, "urls": urls, **names_and_colours()}
    return filled("run/compare.html", "Runs side by side", given, (*DRAWING, "run/compare"), live=True)
