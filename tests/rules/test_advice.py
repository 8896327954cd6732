"""Advice: every finding that is more than a note says what to do in its model, and the lines it gives do it."""

import ast
import importlib
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from rules import (
    test_ut2_attention,
    test_ut2_likeness,
    test_ut4_decay,
    test_ut4_membership,
    test_ut4_step_size,
)
from rules.advising import found_in, run, shrunk
from undertow.examination import examine
from undertow.record import Severity
from undertow.rules import RULES

pytestmark = pytest.mark.filterwarnings("ignore:Using a target size")  # torch's own hint, at some losses

MOST = 8
"""Examples of one code that are tried: further ones differ in the data alone."""


def _examples():
    for path in sorted(Path(__file__).parent.glob("test_ut*.py")):
        cases = getattr(importlib.import_module(f"rules.{path.stem}"), "CASES", {})
        for code, (fires, _) in cases.items():
            for number, build in enumerate((fires if isinstance(fires, list) else [fires])[:MOST]):
                yield pytest.param(code, build, id=f"{code}-{number}")


def _more():
    """Further guises of a fault, which want other advice."""
    for name, (build, _) in test_ut4_step_size.SMALL.items():
        yield pytest.param("UT408", build, id=f"UT408 {name}")
    for build in test_ut4_membership.FAULTY:
        yield pytest.param("UT407", lambda build=build: test_ut4_membership.case(build), id=f"UT407 {build.__name__}")
    for name, build in test_ut2_attention.SATURATED.items():
        yield pytest.param("UT203", build, id=f"UT203 {name}")
    for name, build in test_ut2_likeness.ALIKE.items():
        yield pytest.param("UT205", build, id=f"UT205 {name}")
    for name, make in test_ut4_decay.TOO_MUCH.items():
        yield pytest.param("UT409", lambda make=make: test_ut4_decay.case(make), id=f"UT409 {name}")


EXAMPLES = [*_examples(), *_more()]


def names_something_of(finding):
    """Whether a number or a part of the finding's place is in the advice."""
    parts = set(re.split(r"[\s,.>()-]+", finding.where.lower())) - {"", "the", "loss", "model", "of", "and", "more"}
    words = set(re.findall(r"\w+", finding.advice.lower()))
    return bool(re.search(r"\d", finding.advice)) or bool(parts & words)


def says_something_of_its_own(finding):
    assert finding.advice.strip(), finding
    assert finding.advice[0].isupper()
    assert finding.advice[-1] in ".)"
    assert finding.advice not in RULES[finding.code].explanation
    assert "undertow" not in finding.snippet
    tree = ast.parse(finding.snippet)
    assert not any(isinstance(node, ast.Constant) and node.value is ... for node in ast.walk(tree)), finding.snippet
    for word in ("addmm", " mm ", "baddbmm", "convolution_backward", "native_"):
        assert word not in f"{finding.message} {finding.advice} {finding.where}"


@pytest.mark.parametrize(("code", "build"), EXAMPLES)
def test_every_finding_says_what_to_do(code, build):
    torch.manual_seed(0)
    findings = examine(*build()).findings
    assert code in {each.code for each in findings}
    for finding in findings:
        if finding.severity is not Severity.NOTE or finding.code == code:
            says_something_of_its_own(finding)
    assert all(names_something_of(each) for each in findings if each.severity is not Severity.NOTE), findings


IN_PLACE = frozenset([
    "UT101", "UT102", "UT104", "UT105", "UT106", "UT107", "UT109", "UT201", "UT202", "UT203", "UT205", "UT301", "UT302",
    "UT401", "UT402", "UT407", "UT408", "UT409", "UT410", "UT502", "UT503", "UT505", "UT506", "UT602", "UT703", "UT705",
])  # fmt: skip
"""Codes whose lines change ``model`` or ``optimizer`` themselves, at least where modules and not calls are at fault."""


def changes_the_objects(finding):
    """Whether the lines act on the model or the optimizer, and none of them stands for a line of the user's."""
    of_the_loop = finding.snippet.startswith(("# ", "inputs = "))
    return bool(finding.snippet) and "# in " not in finding.snippet and not of_the_loop


@pytest.mark.parametrize(("code", "build"), [each for each in EXAMPLES if each.values[0] in IN_PLACE])
def test_the_lines_do_what_they_say(code, build):
    torch.manual_seed(0)
    model, compute_loss, optimizer = build()
    before = found_in(code, model, compute_loss, optimizer)
    if not changes_the_objects(before):
        assert before.snippet.count("#"), "the lines neither change the model nor say where they belong"
        return
    left = run(before, model=model, optimizer=optimizer, torch=torch, nn=nn)
    assert shrunk(code, before, found_in(code, left["model"], compute_loss, left["optimizer"]))
