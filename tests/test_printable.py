"""What isn't drawn reaches no terminal, log, title or page as it is: names come from strangers."""

import json
import warnings

import numpy as np
import pytest

import undertow
from undertow.diagnosis import Diagnosis
from undertow.printable import printable, told
from undertow.record import Edge, Event, Finding, Role, Run, Severity, Site
from undertow.report import Report, explain
from undertow.tables import of_rows, write_table

HOSTILE = "a\x1b[2J\x07b\0c\u202ed\u2066e\x9bf\u2028g\ud800h"
SEEN = r"a\x1b[2J\x07b\x00c\u202ed\u2066e\x9bf\u2028g\ud800h"
BARRED = set("\x1b\x07\0\u202e\u2066\x9b\u2028\ud800")


def hostile_run():
    sites = (
        Site(0, f"{HOSTILE}.0", "mean", Role.LOSS, (1,)),
        Site(1, f"{HOSTILE}.1", "addmm", Role.WEIGHT, (8, 4), parameters=(f"{HOSTILE}.w",), module_type=HOSTILE),
        Site(2, f"{HOSTILE}.2", "addmm", Role.WEIGHT, (8, 4), parameters=(f"{HOSTILE}.v",), source=HOSTILE),
    )
    columns = {name: np.array([[1.0, 1e-3, 1e-9]]) for name in ("grad_output", "learning_speed", "weight_norm")}
    edges = {"contribution": np.array([[1e-3, 1e-9]]), "share": np.ones((1, 2))}
    header = {"model": HOSTILE, "optimizer": HOSTILE, "unreached": [HOSTILE], "name": HOSTILE, "parameters": 3}
    steps = {"step": np.array([0.0]), "loss": np.array([1.0])}
    events = (Event(0, 0.0, "trouble", HOSTILE, {}),)
    return Run(header, sites, (Edge(0, 1), Edge(1, 2)), columns, edges, steps, events=events)


def test_everything_that_is_not_drawn_is_written_as_an_escape():
    assert printable(HOSTILE) == SEEN
    assert printable("naïve 層 86\xa0% \N{MINUS SIGN}3") == "naïve 層 86\xa0% \N{MINUS SIGN}3"


def test_an_error_is_told_whatever_its_words():
    assert told(ValueError(HOSTILE)) == f"ValueError: {SEEN}"


def test_terminals_and_logs_get_escapes():
    run = hostile_run()
    explanation = explain(run)
    shown = [explanation.text(HOSTILE), str(Report(Diagnosis(run))), *map(str, explanation.findings)]
    shown.append(str(Finding("UT101", HOSTILE, Severity.ERROR, (), HOSTILE, HOSTILE, source=HOSTILE)))
    assert not [text for text in shown if BARRED & set(text)]
    assert r"\u202e" in shown[0]


def test_pages_get_escapes(tmp_path):
    run = hostile_run()
    explain(run).save(tmp_path / "run.html", HOSTILE)
    Report(Diagnosis(run)).save(tmp_path / "report.html")
    Report(Diagnosis(run)).save(tmp_path / "report.svg")
    for file in tmp_path.iterdir():
        text = file.read_text(encoding="utf-8")
        assert not (BARRED - {"\u2028"}) & set(text), file.name
    assert r"a\x1b[2J\x07b\x00c\u202ed" in (tmp_path / "run.html").read_text(encoding="utf-8").partition("</title>")[0]


def test_json_and_tables_are_written(tmp_path):
    run = hostile_run()
    report = Report(Diagnosis(run))
    assert undertow.Report.read(report.save(tmp_path / "report.json")).run == run
    assert json.loads((tmp_path / "report.json").read_text(encoding="ascii"))
    written = write_table(of_rows([{"name": HOSTILE, "value": 1.0}]), tmp_path / "table.csv")
    assert r"\ud800" in written.read_text(encoding="utf-8")


@pytest.mark.parametrize("ending", [".parquet", ".arrow"])
def test_tables_of_arrow_are_written(tmp_path, ending):
    pytest.importorskip("pyarrow")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert write_table({"name": [HOSTILE]}, tmp_path / f"table{ending}").stat().st_size
