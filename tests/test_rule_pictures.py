"""Every rule is shown by a how-to and has a picture of it, which says what is seen."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import rule_diagrams
import rule_pages
import rule_pictures
from rule_diagrams import DIAGRAMS
from rule_examples import examples

from undertow.rules import RULES
from undertow.rules.consequences import table

DOCS = Path(__file__).parents[1] / "docs"

OURS = [code for code in RULES if code.startswith("UT")]


def test_every_rule_is_shown_by_a_how_to():
    assert set(examples()) >= set(OURS)


@pytest.mark.parametrize("code", OURS)
def test_every_rule_has_a_small_picture_that_says_what_is_seen(code):
    svg = (DOCS / "pictures" / "rules" / f"{code}.svg").read_text("utf-8")
    assert len(svg) < 16_000
    seen = rule_pages.TITLE.search(svg)[1]
    assert seen.endswith(".")
    assert code in DIAGRAMS or "from the input to the loss" in seen or "step by step" in seen


@pytest.mark.parametrize("code", DIAGRAMS)
def test_a_drawing_stands_as_it_is_drawn(code):
    """It is well-formed, and no box nor line of it reaches beyond its paper."""
    svg, seen = rule_diagrams.diagram(code)
    assert (DOCS / "pictures" / "rules" / f"{code}.svg").read_text("utf-8") == rule_pictures.titled(svg, seen)
    wide, tall = map(float, re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups())
    for shape in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}rect"):  # noqa: S314  # our own
        x, y, width, height = (float(shape.get(name, 0)) for name in ("x", "y", "width", "height"))
        assert 0 <= x <= x + width <= wide
        assert 0 <= y <= y + height <= tall


def test_a_picture_is_drawn_anew_as_it_stands():
    code = "UT101"
    _, seen = rule_pictures.picture(*rule_pictures.explained(code, examples()[code]))
    assert seen == rule_pages.TITLE.search((DOCS / "pictures" / "rules" / f"{code}.svg").read_text("utf-8"))[1]


def test_what_the_study_counts_has_a_name():
    assert {row.code for row in table()} == set(rule_pages.AMOUNTS)


def test_a_rules_page_has_the_table_of_its_severities_or_says_why_it_has_none():
    assert "| under −6 | 102 |" in rule_pages.page(RULES["UT101"])
    assert "Not among the faults" in rule_pages.page(RULES["UT103"])
    assert "severity |" not in rule_pages.page(RULES["UT107"])
