"""The study's page, whose text is `article.md`."""

from undertow.render.page import Article
from undertow.studies.article import page
from undertow.studies.remedies import claims, config, figures, table, values
from undertow.studies.study import Results


def article(results: Results) -> Article:
    """Build the page."""
    networks = f"{results['amount']['networks']:,}"
    return page(__package__, results, figures, values, claims, config, table, networks=networks)
