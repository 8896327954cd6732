import pytest

from undertow.rules import RULES


@pytest.mark.parametrize("code", RULES)
def test_every_rule_is_explained_in_words_without_markup(run, code):
    output = run("rule", code.lower()).output
    assert code in output
    assert "What to do" in output
    assert "``" not in output


def test_all_rules_are_listed_and_a_wrong_one_named(run, fails):
    listed = run("rule").output
    assert [line.split()[0] for line in listed.splitlines()] == sorted(RULES)
    assert "did you mean UT101?" in fails("rule", "UT1011")
