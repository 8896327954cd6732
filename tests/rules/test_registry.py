"""Every rule is found, explained, and has two examples: one that fires and a healthy one that doesn't."""

import importlib
import re
from pathlib import Path

import pytest

from undertow import rules
from undertow.testing.rules import check_explained

TESTS = sorted(path.stem for path in Path(__file__).parent.glob("test_ut*.py"))


def examples(test):
    """The CASES of a test of single steps, and the RUNS (code: names of trainings) of a test of whole runs."""
    module = importlib.import_module(f"rules.{test}")
    return {**getattr(module, "CASES", {}), **getattr(module, "RUNS", {})}


def test_every_rule_has_examples_in_the_test_of_its_module():
    for code, rule in rules.RULES.items():
        home = (rule.judge or rule.judge_run).__module__.rpartition(".")[2]
        assert f"test_{home}" in TESTS, f"{code} has no test: write tests/rules/test_{home}.py"
        assert code in examples(f"test_{home}"), f"{code} has no example in tests/rules/test_{home}.py"


@pytest.mark.parametrize("rule", rules.RULES.values(), ids=rules.RULES)
def test_every_rule_is_explained(rule):
    check_explained(rule.code)
    assert re.fullmatch(r"UT[1-7]\d\d", rule.code)


@pytest.mark.parametrize("rule", rules.RULES.values(), ids=rules.RULES)
def test_every_rule_lives_in_a_file_of_its_family(rule):
    for judge in filter(None, (rule.judge, rule.judge_run)):
        assert judge.__module__.startswith(f"undertow.rules.{rule.code[:3].lower()}_")


def test_one_code_one_rule():
    with pytest.raises(ValueError, match="two rules have the code UT101"):
        rules.registry.rule("UT101", "another")(lambda _: iter(()))


@pytest.mark.parametrize(
    ("name", "over", "facts"),
    [
        ("inf or nan", rules.STEP, {}),
        ("inf or nan", rules.RUN, {}),
        ("another", rules.RUN, {}),
        ("inf or nan", rules.RUN, {"once_per_run": False}),
    ],
)
def test_a_code_that_has_both_functions_takes_no_third(name, over, facts):
    known = rules.RULES["UT103"]
    with pytest.raises(ValueError, match="two rules have the code UT103"):
        rules.rule("UT103", name, over=over, **facts)(lambda _: iter(()))
    assert rules.RULES["UT103"] is known


def test_the_facts_of_a_decorator_are_the_attributes_of_a_rule():
    own = {"code", "name", "judge", "judge_run"}
    assert set(rules.registry.Facts.__annotations__) == set(rules.Rule.__dataclass_fields__) - own
