"""Numbers that the sentences of the study's page quote, and the rows of its table."""

from collections.abc import Mapping, Sequence
from typing import Any

from undertow.rules.consequences import FEWEST_NETWORKS
from undertow.studies.severity.config import BUDGET
from undertow.studies.study import Results


def table_rows(results: Results) -> Sequence[Mapping[str, Any]]:
    """Return every row of outcomes, with shares beside the counts."""
    return [
        {**row, "share learned": row["learned"] / row["networks"], "share twice": row["twice"] / row["networks"]}
        for row in results["outcomes"]
    ]


def of_code(results: Results, code: str) -> list[Mapping[str, Any]]:
    """Return the rows of a code that rules look at, all kinds and optimizers."""
    return [row for row in results["outcomes"] if row["code"] == code and row["networks"] >= FEWEST_NETWORKS]


def min_budget(results: Results) -> int:
    """Return the smallest number of steps that a kind of network is given."""
    del results
    return min(BUDGET.values())


def max_budget(results: Results) -> int:
    """Return the largest."""
    del results
    return max(BUDGET.values())
