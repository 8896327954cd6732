"""What keeps a contract passes, and every way of breaking one is named."""

from dataclasses import replace
from itertools import count

import pytest
import torch
from torch import nn

from undertow import rules
from undertow.printable import printable
from undertow.record import Finding, Run, Severity
from undertow.remedies import KINDS, remedy
from undertow.report import WRITERS
from undertow.testing import check_remedy, check_renderer, check_rule, check_tracker
from undertow.testing.rules import check_explained, check_finding
from undertow.training import Training

SECTIONS = "\n".join(f"    {section}:\n        It is said." for section in rules.registry.SECTIONS)
CALLS = count()
LOUD, QUIET = Run({"loud": True}, ()), Run({}, ())


@pytest.fixture
def register():
    """A function that makes a rule of runs of a docstring and what it yields; forgotten after the test."""
    known, kinds = dict(rules.RULES), dict(KINDS)

    def made(code="AB101", doc=f"It is loud.\n\n{SECTIONS}\n", **finding):
        def judge(history):
            if history.run.header.get("loud"):
                yield replace(Finding(code, "loud", Severity.NOTE, (), "", "It is loud.", began=0), **finding)

        judge.__doc__ = doc
        rules.rule(code, "loud", over=rules.RUN)(judge)
        return code

    yield made
    for registry, before in ((rules.RULES, known), (KINDS, kinds)):
        registry.clear()
        registry.update(before)


def test_a_rule_of_runs_keeps_its_contract(register):
    check_rule(register(), LOUD, lambda: QUIET)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"doc": "It is loud."}, r"the docstring of AB101 has the sections \[''\]"),
        ({"doc": f"\n\n{SECTIONS}\n"}, "the docstring of AB101 says nothing in its first line"),
        ({"code": "UT998"}, "UT998: UT is for undertow's own rules"),
        ({"message": " "}, "AB101 has no message"),
        ({"snippet": "for each in"}, "AB101 has lines to paste that are no Python"),
        ({"confidence": 2.0}, "AB101 has a confidence of 2.0"),
        ({"evidence": {"size": "large"}}, "AB101: evidence is numbers"),
    ],
)
def test_what_a_rule_does_wrong_is_named(register, made, said):
    code = register(**made)
    with pytest.raises(AssertionError, match=said):
        check_rule(code, LOUD, QUIET)


def test_a_rule_that_never_or_always_fires_is_named(register):
    code = register()
    with pytest.raises(AssertionError, match="AB101 finds nothing where it should; found: nothing"):
        check_rule(code, QUIET, QUIET)
    with pytest.raises(AssertionError, match="AB101 finds something in the healthy case: AB101 note: from step 0"):
        check_rule(code, LOUD, LOUD)
    with pytest.raises(AssertionError, match="there is no rule AB999"):
        check_explained("AB999")


def test_numbers_that_are_nan_or_infinite_are_findings_too():
    check_finding(
        Finding("AB101", "loud", Severity.NOTE, (), "", "Loud.", {"a": float("nan"), "b": float("inf")}), QUIET
    )


def training():
    sgd = lambda model: torch.optim.SGD(model.parameters(), lr=0.1)  # noqa: E731
    model = lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))  # noqa: E731
    return Training(model, [torch.ones(4, 3)], lambda model, x: model(x).square().mean(), sgd)


def changed(training, change):
    def model():
        made = training.model()
        return change(made) or made

    return replace(training, model=model)


@torch.no_grad()
def halve(model):
    for parameter in model.parameters():
        parameter.mul_(0.5)


def freeze(model):
    model[0].requires_grad_(False)


HALVED = "with torch.no_grad():\n    for parameter in model.parameters():\n        parameter.mul_(0.5)"


@pytest.mark.parametrize(
    ("level", "change", "lines", "said"),
    [
        ("B", halve, HALVED, ""),
        ("B", halve, "pass", "what is pasted for AB201 has a loss of"),
        ("B", halve, "", "AB201 has no lines to paste"),
        ("B", halve, "for each in", "AB201 has lines to paste that are no Python"),
        ("A", halve, HALVED, "AB201 is of level A and changes the weights"),
        ("B", lambda model: model.append(nn.Linear(1, 1)), "pass", "AB201 is of level B and changes the parameters"),
        ("C", lambda model: model.append(nn.Linear(1, 1)), "pass", "other parameters than apply makes"),
        ("C", freeze, "model[0].requires_grad_(False)", "under AB201 no gradient reaches 0.weight, which had one"),
    ],
)
def test_what_a_remedy_does_wrong_is_named(register, level, change, lines, said):
    del register  # it is there to forget the remedy again

    def apply(training):
        return changed(training, change)

    apply.__doc__ = "It changes.\n\n" + "\n".join(
        f"    {section}:\n        It is said." for section in ("What it changes", "When", "Predicts", "References")
    )
    kind = remedy("AB201", "changed", level)(apply)
    kind.written(lambda: lines)
    if not said:
        check_remedy("AB201", training())
        return
    with pytest.raises(AssertionError, match=said):
        check_remedy("AB201", training())


@pytest.mark.parametrize("suffix", [".txt", ".json", ".svg"])
def test_our_own_renderers_keep_their_contract(suffix):
    check_renderer(lambda diagnosis: WRITERS[suffix](diagnosis).decode())


@pytest.mark.parametrize(
    ("render", "said"),
    [
        (lambda _: None, "makes a NoneType"),
        (lambda _: b"", "makes nothing"),
        (lambda _: int("no number"), "the renderer refuses all that there is, as of an empty run: invalid literal"),
        (lambda _: str(next(CALLS)), "something else the second time"),
        (lambda diagnosis: f"of {diagnosis.run.header['model']}", "hands on control characters"),
        (lambda diagnosis: diagnosis.run.header.update(seen=True) or "seen", "the renderer changes an empty run"),
    ],
)
def test_what_a_renderer_does_wrong_is_named(render, said):
    with pytest.raises(AssertionError, match=said):
        check_renderer(render)
    assert printable("fc") == "fc"


class Kept:
    """A tracker in memory, which may do something wrong."""

    def __init__(self, wrong=None):
        self.wrong, self.logged, self.rest = wrong, {}, []

    def scalars(self, step, values):
        for name, value in values.items():
            if self.wrong != "forgets" or step:
                self.logged.setdefault(name, []).append((step + (self.wrong == "shifts"), value))

    def finding(self, step, finding):
        if self.wrong == "fails":
            finding.message.encode("ascii")
        self.rest.append((step, finding.code))

    def page(self, path):
        self.rest.append(path.read_text())
        if self.wrong == "moves":
            path.unlink()

    def table(self, name, columns, rows):
        self.rest.append((name, len(columns), len(rows)))


def test_a_tracker_keeps_its_contract():
    kept = Kept()
    check_tracker(lambda: kept, lambda: kept.logged)
    assert len(kept.logged) == 12
    assert kept.rest[0] == (3, "UT101")
    assert kept.rest[-1] == ("doctor", 2, 2)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("forgets", r"undertow/loss is not there at step 0; there are steps \[3, 10\]"),
        ("shifts", "undertow/loss is not there at step 0"),
        ("fails", "Kept raises on another thread: UnicodeEncodeError"),
        ("moves", "it takes the page away"),
    ],
)
def test_what_a_tracker_does_wrong_is_named(wrong, said):
    kept = Kept(wrong)
    with pytest.raises(AssertionError, match=said):
        check_tracker(lambda: kept, lambda: kept.logged)


def test_a_tracker_without_a_method_is_named():
    with pytest.raises(AssertionError, match="a tracker has a method scalars, and object has none"):
        check_tracker(object)
