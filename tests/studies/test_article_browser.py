"""The pages of the studies in a real browser, as a reader meets them."""

import pytest

from reading import axe, clipped, console, hyphens, read_through, requested, screen
from undertow.studies.remedies.config import ACTIVATIONS, STARTS

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("name", ["glorot2010", "sutskever2013", "remedies"])
@pytest.mark.parametrize("width", [1280, 360])
def test_every_chart_lives_nothing_is_fetched_and_nothing_scrolls_sideways(browser, studied, name, width):
    page = (studied(name) / "index.html").as_uri()
    screen(browser, width)
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(page)
    read_through(browser)
    panels = browser.execute_script("return document.querySelectorAll('.panel').length")
    assert browser.execute_script("return undertow.views.length") == panels > 5
    assert console(browser) == []
    assert requested(browser) == [page]
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert clipped(browser) == []
    assert hyphens(browser) == []
    if width == 1280:
        assert axe(browser) == []


def test_the_map_of_remedies_leaves_out_no_name_on_a_phone(browser, studied):
    screen(browser, 360)
    browser.get((studied("remedies") / "index.html").as_uri())
    read_through(browser)
    written = "return [...document.querySelectorAll('#reach-map .live svg text')].map(each => each.textContent)"
    names = {*STARTS, "plain", "Batch", "Layer", "Norm", "residual", "+ norm"}
    found = browser.execute_script(written)
    assert {name: sum(name in text for text in found) >= len(ACTIVATIONS) for name in names} == dict.fromkeys(
        names, True
    )


@pytest.mark.parametrize("name", ["glorot2010", "sutskever2013", "remedies"])
def test_no_legend_is_cut_off_on_a_phone(browser, studied, name):
    screen(browser, 360)
    browser.get((studied(name) / "index.html").as_uri())
    read_through(browser)
    cut = """
        return [...document.querySelectorAll('.live svg .role-legend text')]
            .filter(each => each.getBoundingClientRect().right > each.closest('svg').getBoundingClientRect().right + 1)
            .map(each => each.textContent)"""
    assert browser.execute_script(cut) == []
