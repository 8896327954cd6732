"""`undertow remedy`: what each of them is."""

import pytest

from undertow.remedies import KINDS


@pytest.mark.parametrize("code", KINDS)
def test_every_remedy_is_explained_in_words_without_markup(run, code):
    output = run("remedy", code.lower()).output
    assert code in output
    assert "What it changes" in output
    assert "``" not in output


def test_all_remedies_are_listed_and_a_wrong_one_named(run, fails):
    assert [line.split()[0] for line in run("remedy").output.splitlines()] == sorted(KINDS)
    assert "there is no remedy 'UR999'" in fails("remedy", "UR999")
