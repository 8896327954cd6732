"""A treatment's page: chances as people write them, and beside every score that of the training as it was."""

import pytest

from undertow.render.blocks import Table
from undertow.render.treatment_page import article

REMEDY = {"code": "UR102", "name": "Adam"}


def treatment(p: float, **more: object) -> dict[str, object]:
    comparison = {
        "remedies": [REMEDY], "seeds": [0, 1], "control": [0.10312, 0.1], "treated": [0.9, 0.91], "effect": 0.8034,
        "interval": [0.79, 0.89], "p": p, "verdict": "HELPS",
    }  # fmt: skip
    attempts = [
        {"remedies": [REMEDY], "stage": "confirmed", "scores": [0.9, 0.91], "error": ""},
        {"remedies": [{"code": "UR101", "name": "a tenth"}], "stage": "raced", "scores": [0.2], "error": ""},
    ]
    return {
        "headline": "This training was repaired.", "steps": 9, "seeds": 2, "seconds": 32.0, "comparisons": [comparison],
        "attempts": attempts, **more,
    }  # fmt: skip


def table(of: dict[str, object], section: str) -> Table:
    (found,) = [block for each in article(of).sections if each.id == section
                for block in each.blocks if isinstance(block, Table)]  # fmt: skip
    return found


@pytest.mark.parametrize(("p", "said"), [(0.0, "<\xa00.001"), (3.4e-4, "<\xa00.001"), (0.0213, "0.021")])
def test_no_chance_is_written_as_zero(p, said):
    (row,) = table(treatment(p), "confirmed").rows
    assert row[5:] == [said, "helps"]
    assert row[1:4] == [0.102, 0.905, 0.803]


def test_scores_stand_beside_those_of_the_training_as_it_was():
    rows = table(treatment(0.01), "tried").rows
    assert [row[0] for row in rows] == ["the training as it was", "UR102 Adam", "UR101 a tenth"]
    assert rows[2][3] == "others scored better"
    assert table(treatment(0.01, running="racing"), "tried").rows[2][3] == ""


def test_a_number_stays_with_its_unit():
    assert "in 32\xa0s" in article(treatment(0.01)).html()
