"""The chapter's page, whose text is `article.md`, and the page to play with beside it."""

from pathlib import Path

from undertow.render.page import Article
from undertow.studies.article import page
from undertow.studies.chapter5 import explorer, storage
from undertow.studies.study import Results

FIGURES = ("figures", "theory_figures", "helped")


def article(results: Results) -> Article:
    """Build the page."""
    members = str(results["members"])
    return page(__package__, results, "chains", "helped", figures=FIGURES, networks_of_each_kind=members)


def write_beside(results: Results, out: Path) -> None:
    """Write the page to play with, and the schema of results.json."""
    storage.write_schema(results, out)
    explorer.article(results).write(out / explorer.NAME)
