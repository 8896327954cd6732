from dataclasses import replace

import pytest

from undertow.render.site_tree import LINES_AT_FIRST, MOST_PARTS, site_tree


def lines(branches):
    for branch in branches:
        yield branch
        yield from lines(branch.parts)


def shown(branches):
    return sum(1 + (shown(branch.parts) if branch.unfolded else 0) for branch in branches)


@pytest.mark.parametrize("made", ["vanishing", "healthy", "thousand_report"])
def test_the_tree_has_every_site_and_fits_a_screen_at_first(made, request):
    made = request.getfixturevalue(made)
    tree = site_tree(made.diagnosis)
    assert sum(not branch.parts for branch in lines(tree.branches)) == len(made.run.sites)
    assert shown(tree.branches) <= max(LINES_AT_FIRST, MOST_PARTS)
    assert all(len(branch.parts) <= MOST_PARTS for branch in lines(tree.branches))
    assert all(len(branch.cells) == len(tree.columns) for branch in lines(tree.branches))


def test_the_progress_of_modules_adds_up(healthy):
    def percent(branch):
        return float(branch.cells[-1].rstrip("%") or 0)

    tree = site_tree(replace(healthy.diagnosis, findings=()))
    assert sum(map(percent, tree.branches)) == pytest.approx(100, abs=0.5)
    for branch in lines(tree.branches):
        if branch.parts:
            assert sum(map(percent, branch.parts)) == pytest.approx(percent(branch), abs=0.3)


def test_findings_stand_beside_the_sites_they_speak_of(vanishing):
    tree = site_tree(vanishing.diagnosis)
    found = next(finding for finding in vanishing.findings if finding.code == "UT101")
    flagged = {branch.label for branch in lines(tree.branches) if "UT101" in branch.flag and not branch.parts}
    assert flagged == {vanishing.run.sites[site].module for site in found.sites}
