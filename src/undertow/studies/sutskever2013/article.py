"""The study's page, whose text is `article.md`."""

from undertow.render.page import Article
from undertow.studies.article import page
from undertow.studies.study import Results


def article(results: Results) -> Article:
    """Build the page."""
    meta = {"networks_of_each_kind": str(results["amount"]["members"])}
    return page(__package__, results, **meta)
