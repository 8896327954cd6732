"""The study's page, whose text is `article.md`."""

from undertow.render.page import Article
from undertow.studies.article import page
from undertow.studies.study import Results


def article(results: Results) -> Article:
    """Build the page."""
    amount = results["amount"]
    meta = {"networks_of_each_kind": str(amount["members"]), "hidden_layers": f"5 of {amount['width']}"}
    return page(__package__, results, "figures", **meta)
