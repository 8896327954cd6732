"""The pages of the studies in a real browser, as a reader meets them."""

import pytest

from reading import console, read_through, requested, screen

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
