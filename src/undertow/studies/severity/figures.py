"""The tables of the study's page, each named as in `article.md`."""

from undertow.formatting import percent
from undertow.render.page import Table
from undertow.studies.severity.values import of_code
from undertow.studies.study import Results

OPTIMIZER = {"plain": "SGD", "adaptive": "Adam", "any": "either"}
HEAD = ["fault", "optimizer", "amount", "networks", "learned", "twin in half the steps", "twin faster, median"]


def vanishing(results: Results) -> Table:
    """UT101: decades from end to end."""
    return _outcomes(results, "UT101")


def exploding(results: Results) -> Table:
    """UT102: decades from the lowest waypoint on."""
    return _outcomes(results, "UT102")


def front(results: Results) -> Table:
    """UT104: share of the progress that the front half makes."""
    return _outcomes(results, "UT104")


def back(results: Results) -> Table:
    """UT105: share of the progress that the back half makes."""
    return _outcomes(results, "UT105")


def branch(results: Results) -> Table:
    """UT106: decades along a branch."""
    return _outcomes(results, "UT106")


def memory(results: Results) -> Table:
    """UT107: the horizon as a part of the sequence."""
    return _outcomes(results, "UT107")


def saturated(results: Results) -> Table:
    """UT201: share of values where the activation is flat."""
    return _outcomes(results, "UT201")


def dead(results: Results) -> Table:
    """UT202: share of units that are off for every example."""
    return _outcomes(results, "UT202")


def theory(results: Results) -> Table:
    """UT301: decades that theory expects."""
    return _outcomes(results, "UT301")


def _outcomes(results: Results, code: str) -> Table:
    rows = [
        [row["kind"], OPTIMIZER[row["optimizer"]], f"{row['low']:g} to {row['high']:g}", f"{row['networks']}",
         percent(row["learned"] / row["networks"]), percent(row["twice"] / row["networks"]), f"{row['speedup']:.1f}"]
        for row in of_code(results, code)
    ]  # fmt: skip
    return Table(HEAD, rows)
