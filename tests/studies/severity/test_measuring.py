"""A small run of the study, and its outcomes counted."""

import json

import pytest

from undertow.rules.consequences import Outcome
from undertow.studies.severity import STUDY, SeverityConfig
from undertow.studies.severity.config import EDGES
from undertow.studies.severity.measuring import Trained, rows

SMALL = SeverityConfig(
    [
        {"data": ["vectors"], "kind": ["mlp"], "optimizer": ["adam"], "depth": [3, 8], "activation": ["sigmoid"],
         "start": ["default"], "seed": [0]},
        {"data": ["recall"], "kind": ["rnn"], "optimizer": ["adam"], "steps": [10], "start": ["0.5"], "seed": [0]},
    ]
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "severity"
    STUDY.run(out, config=SMALL, processes=0)
    return out


def test_a_small_run_finds_the_fault_worse_the_deeper(made):
    results = json.loads((made / "results.json").read_text())
    assert (results["networks"], results["pairs"]) == (3, 6)
    assert "What a finding is worth" in (made / "index.html").read_text()
    table = json.loads((made / "consequences.json").read_text())
    assert table["rows"] == results["outcomes"]
    deep = [Outcome(**row) for row in table["rows"] if (row["code"], row["optimizer"]) == ("UT101", "any")]
    assert {row.kind for row in deep} == {"any", "activation"}
    assert sum(row.learned for row in deep if row.high <= -4) == 0


def test_a_run_that_is_there_trains_nothing_again(made):
    before = json.loads((made / "results.json").read_text())["seconds"]
    STUDY.run(made, config=SMALL, processes=0)
    assert json.loads((made / "results.json").read_text())["seconds"] == before


def test_outcomes_are_counted_by_amount():
    lost = {"UT101": -5.0, "fault": "weights"}
    found = [
        Trained(lost, "plain", False, 250, True, 40),
        Trained(lost, "plain", True, 100, True, 80),
        Trained(lost, "plain", False, 250, False, 250),  # neither learned: the rate is at fault
        Trained({"UT101": -0.7, "fault": "weights"}, "adaptive", True, 30, True, 30),
    ]
    counted = {(r.kind, r.optimizer, r.low): r for r in rows(found) if r.code == "UT101"}
    row = counted["weights", "plain", -6]
    assert (row.networks, row.learned, row.twice) == (2, 1, 1)
    assert row.speedup == pytest.approx((250 / 40 + 100 / 80) / 2, abs=0.01)
    assert counted["any", "any", -1].learned == 1
    assert all(edges == tuple(sorted(edges)) for edges in EDGES.values())
