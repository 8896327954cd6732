"""The map's page in a real browser."""

import pytest

from reading import console, read_through, requested, screen


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_in_a_browser(browser, folder, width):
    screen(browser, width)
    browser.get_log("browser"), browser.get_log("performance")
    browser.get((folder / "index.html").as_uri())
    read_through(browser)
    assert browser.execute_script("return undertow.views.length") == 5
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert console(browser) == []
    assert len(requested(browser)) == 1
