"""The study's page, whose text is `article.md`."""

from undertow.render.page import Article
from undertow.studies.article import page
from undertow.studies.study import Results


def article(results: Results) -> Article:
    """Build the page."""
    meta = {"networks": f"{results['amount']['networks']:,}"}
    return page(__package__, results, "table", **meta)
