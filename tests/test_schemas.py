"""What undertow prints as JSON is what its published schemas say, and the schemas say what files are checked by."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from sample_models import NET
from undertow import schemas
from undertow.doctoring.comparison import Comparison, Verdict
from undertow.doctoring.treatment import NOTHING_HELPS, Attempt, Treatment
from undertow.record import Finding, Severity, checking
from undertow.remedies import Remedy
from undertow.schemas import SCHEMAS, schema
from undertow.training import Trial

DOCS = Path(__file__).parents[1] / "docs" / "schemas"
KINDS = {name: kind for name, kind in vars(checking).items() if isinstance(kind, checking.FieldKind)}
VALUES = [
    None, True, 0, -1, 3, 1.5, "", "a", "inf", "-inf", "nan", [], ["a"], [1], [-1], [True], [1.5], [None], [{}],
    [{"a": 1}], {}, {"a": 1}, {"a": "inf"}, {"a": "b"}, {"a": None}, [["a"]],
]  # fmt: skip


def valid(name, value):
    jsonschema.Draft202012Validator(schema(name)).validate(json.loads(json.dumps(value, allow_nan=False)))


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_accepts_what_its_schema_accepts(name):
    by_schema = jsonschema.Draft202012Validator(KINDS[name].schema)
    assert [by_schema.is_valid(value) for value in VALUES] == [KINDS[name].holds(value) for value in VALUES]


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one_and_is_published(name):
    jsonschema.Draft202012Validator.check_schema(schema(name))
    assert json.loads((DOCS / f"{name}.json").read_text("utf-8")) == schema(name), "run `make docs`"


def test_nothing_else_is_published():
    assert {path.stem for path in DOCS.iterdir()} == set(SCHEMAS)


@pytest.mark.parametrize("name", ["vanishing", "hostile_report"])
def test_a_report(request, name):
    report = request.getfixturevalue(name).to_dict()
    valid("report", report)
    for finding in report["findings"]:
        valid("finding", finding)


def test_every_site_edge_and_column_of_a_report_is_held(vanishing):
    report = vanishing.to_dict()
    sites = report["run"]["sites"]
    for spoilt in (
        {**report, "format": "undertow report 2"},
        {**report, "more": 1},
        {**report, "run": {**report["run"], "sites": [{**sites[0], "role": "boss"}]}},
        {**report, "run": {**report["run"], "edges": [[0]]}},
        {**report, "run": {**report["run"], "columns": {"dead": [1.0]}}},
        {**report, "gains": [{}]},
    ):
        with pytest.raises(jsonschema.ValidationError):
            valid("report", spoilt)


def test_a_check(project, run):
    project("net.py", NET)
    valid("check", json.loads(run("check", "net.py:build", "--json", "--select", "UT101,UT301").stdout))


def test_a_forecast(tmp_path, run):
    for number, activation in enumerate(("tanh", "relu")):
        out = tmp_path / f"{number}.json"
        run("predict", "--activation", activation, "--weight-var", 3, "--depth", 4, "--out", out)
        valid("forecast", json.loads(out.read_text()))


def test_a_sweep(tmp_path, run):
    (tmp_path / "f.py").write_text("def f(n, kind):\n    return {'square': n * n}\n")
    spec = tmp_path / "a.toml"
    spec.write_text('function = "f.py:f"\n[grid]\nn = [1, 2]\nkind = ["a"]\n')
    run("sweep", spec, "--processes", 0, "--out", tmp_path / "cells.json")
    cells = json.loads((tmp_path / "cells.json").read_text())
    valid("sweep", cells)
    assert len(cells["cells"]) == 2


def test_a_treatment(vanishing):
    """Made by hand: that the doctor makes nothing else is held where it is tested."""
    remedy = Remedy("UR101", {"factor": 0.1}, "why", ("UT101",), 0.5, lines="lr = 0.1")
    compared = Comparison((remedy,), (0, 1), (0.1, 0.2), (0.3, float("inf")), 0.1, (0.1, 0.3), 0.01, Verdict.HELPS)
    finding = Finding("UT101", "vanishing", Severity.ERROR, (0,), "0", "It fades.", {"total": float("-inf")})
    whole = Treatment(
        NOTHING_HELPS, (remedy,), Holder(), [compared, replace(compared, seeds=(), verdict=Verdict.UNTESTED)],
        vanishing.diagnosis, [finding], [Attempt((remedy,), "raced", (1.0,))], vanishing.diagnosis, [remedy],
        {"as it was": [Trial(0, [1.0, float("nan")])]}, ["a note"], 10, 2, 3.5,
    )  # fmt: skip
    valid("treatment", whole.to_dict())
    assert set(whole.to_dict()) == set(schemas.TREATMENT)


class Holder:
    """A training that is asked for its score only."""

    score = None
