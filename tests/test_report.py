import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import undertow
from undertow import Report
from undertow.record import SITE_COLUMNS


@pytest.mark.parametrize("made", ["vanishing", "healthy", "hostile_report"])
def test_a_report_survives_json(made, request, tmp_path):
    report = request.getfixturevalue(made)
    back = Report.read(report.save(tmp_path / "report.json"))
    assert back == report
    assert back.run == report.run
    assert str(back) == str(report)
    assert list(back.gains) == list(report.gains)


def test_other_reports_are_not_equal(vanishing, healthy):
    assert vanishing != healthy
    assert Report(replace(vanishing.diagnosis, findings=vanishing.findings[:1])) != vanishing
    assert vanishing != 3


def test_what_isnt_finite_survives_json(tmp_path):
    torch.manual_seed(0)
    net, x = nn.Linear(3, 3), torch.randn(4, 3)
    report = undertow.examine(net, lambda: (net(x) * 0).log().sum() * 0)
    assert math.isnan(report.run.header["loss"])
    path = report.save(tmp_path / "report.json")
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    back = Report.read(path)
    assert back == report
    assert math.isnan(back.run.header["loss"])
    for suffix in ("html", "txt"):
        report.save(tmp_path / f"report.{suffix}")


def test_every_suffix_writes_what_it_says(vanishing, tmp_path):
    begins = {"png": b"\x89PNG", "svg": b"<svg", "html": b"<!DOCTYPE html>", "json": b"{", "txt": b"  undertow"}
    for suffix, beginning in begins.items():
        path = vanishing.save(tmp_path / "deep" / f"report.{suffix.upper()}")
        assert path.read_bytes().startswith(beginning)
    assert len(list((tmp_path / "deep").iterdir())) == len(begins)  # nothing half-written beside them


@pytest.mark.parametrize("name", ["report.pdf", "report"])
def test_another_suffix_is_refused_with_those_known(vanishing, tmp_path, name):
    with pytest.raises(ValueError, match=r"known are \.html, \.png, \.svg, \.json, \.txt"):
        vanishing.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "why"),
    [("{", "no JSON"), ("[]", "not a report"), ("{}", "not a report"), ('{"format": "undertow report 9"}', "report 9")],
)
def test_what_is_no_report_is_refused(tmp_path, content, why):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=why):
        Report.read(path)


def test_a_damaged_report_is_refused(vanishing, tmp_path):
    data = vanishing.to_dict()
    del data["run"]["sites"]
    (tmp_path / "report.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match="damaged"):
        Report.read(tmp_path / "report.json")


def test_the_table_has_a_row_for_every_site_of_every_repeat():
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 1)), torch.randn(8, 4)
    report = undertow.examine(net, lambda: net(x).square().mean(), repeats=3)
    columns = report.table()
    assert {len(column) for column in columns.values()} == {3 * len(report.run.sites)}
    assert set(SITE_COLUMNS) < set(columns)
    last = len(report.run.sites) * 2
    assert columns["step"][last] == 2
    np.testing.assert_array_equal(columns["grad_output"][last:], report.run.column("grad_output", 2))


def test_undertow_and_saved_reports_need_no_torch(vanishing, tmp_path):
    path = vanishing.save(tmp_path / "report.json")
    program = f"""
import sys, undertow
assert not {{"torch", "altair", "numpy"}} & set(sys.modules), "import undertow loads too much"
report = undertow.Report.read({str(path)!r})
assert "UT101" in {{finding.code for finding in report.findings}}
report.save({str(tmp_path / "again.html")!r})
assert "torch" not in sys.modules, "a saved report needs torch"
assert {{"examine", "Report"}} <= set(dir(undertow))
"""
    subprocess.run([sys.executable, "-c", program], check=True)
