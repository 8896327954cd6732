"""The study's page, whose text is `article.md`, and the table that rules read."""

import json
from pathlib import Path

from undertow.files import write_whole
from undertow.render.page import Article
from undertow.studies.article import page
from undertow.studies.study import Results

TABLE_NAME = "consequences.json"


def article(results: Results) -> Article:
    """Build the page."""
    meta = {"networks_trained": f"{results['trained']:,}", "trained_in": f"{results['seconds']:.0f} s of one core"}
    return page(__package__, results, **meta)


def write_beside(results: Results, out: Path) -> None:
    """Write ``consequences.json``: what lies beside the rules as the table of their severities."""
    write_whole(out / TABLE_NAME, table_text(results).encode())


def table_text(results: Results) -> str:
    """Return the table as JSON, a row a line, so that two of them can be compared.

    Example:
        >>> print(table_text({"trained": 2, "outcomes": [{"code": "UT101"}]}))
        {
         "schema": 1,
         "trained": 2,
         "rows": [
          {"code": "UT101"}
         ]
        }
        <BLANKLINE>
    """
    rows = ",\n".join(f"  {json.dumps(row)}" for row in results["outcomes"])
    return f'{{\n "schema": 1,\n "trained": {results["trained"]},\n "rows": [\n{rows}\n ]\n}}\n'
