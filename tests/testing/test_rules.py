"""What keeps a rule's contract passes, and every way of breaking it is named."""

from dataclasses import replace

import pytest

from undertow import rules
from undertow.record import Finding, Run, Severity
from undertow.testing import check_rule
from undertow.testing.rules import check_explained, check_finding

SECTIONS = "\n".join(f"    {section}:\n        It is said." for section in rules.registry.SECTIONS)

LOUD, QUIET = Run({"loud": True}, ()), Run({}, ())


@pytest.fixture
def register():
    """A function that makes a rule of runs of a docstring and what it yields."""

    def made(code="AB101", doc=f"It is loud.\n\n{SECTIONS}\n", **finding):
        def judge(history):
            if history.run.header.get("loud"):
                yield replace(Finding(code, "loud", Severity.NOTE, (), "", "It is loud.", began=0), **finding)

        judge.__doc__ = doc
        rules.rule(code, "loud", over=rules.RUN)(judge)
        return code

    return made


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
