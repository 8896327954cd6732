import itertools
import math
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import undertow
from undertow.analysis.gradient_path import find_gradient_path
from undertow.record import Finding, Severity
from undertow.render import gradient_charts, report_page, terminal_report
from undertow.render.blocks import Tree, walk
from undertow.render.segments import segments
from undertow.render.sitetree import LINES_AT_FIRST, MOST_PARTS, site_tree
from undertow.reporting.difference import difference
from undertow.rules import RULES
from undertow.rules.explained import page as rules_page
from undertow.rules.explained import sections
from undertow.rules.registry import SECTIONS


def page_of(made, findings=None):
    return report_page.article(made.run, made.gains, made.findings if findings is None else findings)


def lines(branches):
    for branch in branches:
        yield branch
        yield from lines(branch.parts)


def shown(branches):
    return sum(1 + (shown(branch.parts) if branch.unfolded else 0) for branch in branches)


@pytest.mark.parametrize("made", ["vanishing", "healthy", "thousand_report"])
@pytest.mark.parametrize("most", [1, 3, 40, 10_000])
def test_stretches_make_up_the_whole_way(made, most, request):
    made = request.getfixturevalue(made)
    gradient_path = find_gradient_path(made.run, step=0)
    found = segments(gradient_path, made.gains, most)
    assert 1 <= len(found) <= most
    inside = [gain for segment in found for gain in segment.gains]
    assert [gain.start for gain in inside[1:]] == [gain.end for gain in inside[:-1]]
    assert (inside[0].start, inside[-1].end) == (gradient_path.waypoints[0], gradient_path.waypoints[-1])
    for segment in found:
        assert math.prod(segment.factors.values()) == pytest.approx(segment.gain, rel=1e-9)


@pytest.mark.parametrize("made", ["vanishing", "healthy"])
def test_the_bars_of_a_stretch_add_up_to_its_dot(made, request):
    made = request.getfixturevalue(made)
    found = segments(find_gradient_path(made.run, step=0), made.gains, 40)
    bars, _, dots = gradient_charts.factor_bars(found).layer
    for dot in dots.data.values:
        total = sum(row["decades"] for row in bars.data.values if row["place"] == dot["place"])
        assert total == pytest.approx(dot["net"], abs=2e-4)


def test_a_healthy_gradient_is_drawn_flat(healthy):
    gradient_path = find_gradient_path(healthy.run, step=0)
    low, high = (
        gradient_charts.way_back(gradient_path, healthy.gains).layer[0].to_dict()["encoding"]["y"]["scale"]["domain"]
    )
    assert math.log10(high / low) >= gradient_charts.LEAST_SPAN - 1e-3


@pytest.mark.parametrize("made", ["vanishing", "healthy", "thousand_report"])
def test_the_tree_has_every_site_and_fits_a_screen_at_first(made, request):
    made = request.getfixturevalue(made)
    tree = site_tree(made.run, made.findings)
    assert sum(not branch.parts for branch in lines(tree.branches)) == len(made.run.sites)
    assert shown(tree.branches) <= max(LINES_AT_FIRST, MOST_PARTS)
    assert all(len(branch.parts) <= MOST_PARTS for branch in lines(tree.branches))
    assert all(len(branch.cells) == len(tree.columns) for branch in lines(tree.branches))


def test_the_progress_of_modules_adds_up(healthy):
    def percent(branch):
        return float(branch.cells[-1].rstrip("%") or 0)

    tree = site_tree(healthy.run, ())
    assert sum(map(percent, tree.branches)) == pytest.approx(100, abs=0.5)
    for branch in lines(tree.branches):
        if branch.parts:
            assert sum(map(percent, branch.parts)) == pytest.approx(percent(branch), abs=0.3)


def test_findings_stand_beside_the_sites_they_speak_of(vanishing):
    tree = site_tree(vanishing.run, vanishing.findings)
    flagged = {branch.label for branch in lines(tree.branches) if "UT101" in branch.flag and not branch.parts}
    assert flagged == {vanishing.run.sites[site].module for site in vanishing.findings[0].sites}


def test_shares_at_every_join_add_up_to_one(healthy):
    section = next(part for part in page_of(healthy).sections if part.id == "branches")
    (tree,) = [block for block in walk([section]) if isinstance(block, Tree)]
    assert tree.branches
    for branch in tree.branches:
        shares = [float(part.cells[0].replace("−", "-")) for part in branch.parts]
        assert sum(shares) == pytest.approx(1, abs=0.003)


def test_the_page_says_what_the_terminal_says(vanishing):
    html = page_of(vanishing).html()
    words, sentence = terminal_report.verdict_of(vanishing.run, vanishing.gains, vanishing.findings)
    assert f"Sequential: {words}" in html
    assert sentence.split(",")[0].replace(">", "&gt;") in html
    for finding in vanishing.findings:
        assert finding.code in html
        assert sections(RULES[finding.code])["References"][:20] in html


def test_names_from_models_are_never_markup(hostile_report):
    html = page_of(hostile_report).html()
    assert "<script>document" not in html
    assert 'href="#b"' not in html
    assert "<em>x</em>" not in html
    assert len(re.findall("&lt;script&gt;document", html)) > 10


def test_many_findings_of_one_code_are_one_section_that_counts_them(vanishing):
    many = [Finding("UT202", "dead units", Severity.ERROR, (i,), f"{i}", f"{i} is dead.") for i in range(12)] * 10
    html = page_of(vanishing, many).html()
    assert html.count('id="ut202"') == 1
    assert f"{120 - report_page.MOST_PLACES} more in the tree" in html


def test_a_picture_of_nothing_is_refused(vanishing):
    with pytest.raises(ValueError, match="fewer than two layers"):
        report_page.picture(type(vanishing.run)({}, ()), (), ())


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


def test_a_layer_called_often_has_a_name_for_each_call():
    torch.manual_seed(0)
    layer, x = nn.Linear(6, 6), torch.randn(20, 6)
    again = undertow.examine(layer, lambda: layer(torch.tanh(layer(torch.tanh(layer(x))))).square().mean())
    single = segments(find_gradient_path(again.run, step=0), again.gains, 40)
    called = [segment.label for segment in single]
    assert [name.partition(" #")[2] for name in called] == ["3", "2"]
    assert {pair.change for pair in difference(again, again).pairs} == {0.0}
