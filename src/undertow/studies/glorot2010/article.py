"""The study's page, whose text is `article.md`."""

from undertow.render.page import Article
from undertow.studies.article import page
from undertow.studies.glorot2010 import claims, config, figures, values
from undertow.studies.study import Results


def article(results: Results) -> Article:
    """Build the page."""
    meta = {"networks_of_each_kind": str(results["amount"]["members"])}
    return page(
        __package__, results, figures, values, claims, config, figures, **meta,
        hidden_layers=f"5 of {results['amount']['width']}",
    )  # fmt: skip
