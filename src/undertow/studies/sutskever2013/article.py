"""The study's page, whose text is `article.md`."""

from undertow.render.page import Article
from undertow.studies.article import page
from undertow.studies.study import Results
from undertow.studies.sutskever2013 import claims, config, figures, values


def article(results: Results) -> Article:
    """Build the page."""
    members = str(results["amount"]["members"])
    return page(__package__, results, figures, values, claims, config, networks_of_each_kind=members)
