"""The glossary: one source, one page, and the words that findings' evidence and pages use."""

from pathlib import Path

import pytest

from undertow.glossary import GLOSSARY, anchor, page

PAGE = Path(__file__).parents[1] / "docs" / "glossary.md"


def test_the_page_is_what_the_source_says():
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"


def test_every_word_has_one_plain_sentence():
    assert list(GLOSSARY) == sorted(GLOSSARY)
    for word, meaning in GLOSSARY.items():
        assert meaning[0].isupper(), word
        assert meaning.endswith("."), word
        assert meaning.count(". ") == 0, f"{word}: more than one sentence"
        assert len(meaning) < 160, word


@pytest.mark.parametrize(
    "word",
    [
        "gradient", "norm", "decade", "gain", "factor", "coherence", "learning speed", "share of progress", "saturated",
        "dead", "waypoint", "gradient path", "warm-up", "clipping",
    ],
)  # fmt: skip
def test_the_words_of_findings_are_there(word):
    assert f"### {word}\n" in page()
    assert anchor(word) == word.replace(" ", "-")


def test_a_word_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(KeyError, match="no 'flux'; it has: activation"):
        anchor("flux")
