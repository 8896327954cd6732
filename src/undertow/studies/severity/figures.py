"""The tables of the study's page, each named as in `article.md`."""

from functools import partial

from undertow.formatting import percent
from undertow.render.page import Table
from undertow.studies.severity.values import of_code
from undertow.studies.study import Results

OPTIMIZER = {"plain": "SGD", "adaptive": "Adam", "any": "either"}
HEAD = ["fault", "optimizer", "amount", "networks", "learned", "twin in half the steps", "twin faster, median"]


def _outcomes(results: Results, code: str) -> Table:
    rows = [
        [row["kind"], OPTIMIZER[row["optimizer"]], f"{row['low']:g} to {row['high']:g}", f"{row['networks']}",
         percent(row["learned"] / row["networks"]), percent(row["twice"] / row["networks"]), f"{row['speedup']:.1f}"]
        for row in of_code(results, code)
    ]  # fmt: skip
    return Table(HEAD, rows)


vanishing = partial(_outcomes, code="UT101")  # decades from end to end
exploding = partial(_outcomes, code="UT102")  # decades from the lowest waypoint on
front = partial(_outcomes, code="UT104")  # share of the progress that the front half makes
back = partial(_outcomes, code="UT105")  # share of the progress that the back half makes
branch = partial(_outcomes, code="UT106")  # decades along a branch
memory = partial(_outcomes, code="UT107")  # the horizon as a part of the sequence
saturated = partial(_outcomes, code="UT201")  # share of values where the activation is flat
dead = partial(_outcomes, code="UT202")  # share of units that are off for every example
theory = partial(_outcomes, code="UT301")  # decades that theory expects
