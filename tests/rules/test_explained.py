import itertools
from pathlib import Path

import pytest

from undertow.rules import RULES
from undertow.rules.explained import page as rules_page
from undertow.rules.explained import sections
from undertow.rules.registry import SECTIONS


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_every_rule_can_be_explained(rule):
    told = sections(rule)
    assert list(told) == ["", *SECTIONS]
    assert all(told.values())
    for name, other in itertools.permutations(SECTIONS, 2):
        assert f"{other}:\n" not in told[name]


def test_the_rules_page_is_made_from_the_docstrings():
    made = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")
    assert made == rules_page(), "run `make docs`"
