"""The chapter's page in a real browser, as a reader meets it."""

import pytest

from reading import axe, clipped, console, hyphens, read_through, requested, screen

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser, folder):
    screen(browser, 1280)
    browser.get_log("browser"), browser.get_log("performance")
    browser.get((folder / "index.html").as_uri())
    return browser


def test_every_chart_lives_and_nothing_is_fetched(page, folder):
    read_through(page)
    panels = page.execute_script("return document.querySelectorAll('.panel').length")
    assert panels >= 25
    assert page.execute_script("return undertow.views.length") == panels
    assert console(page) == []
    assert requested(page) == [(folder / "index.html").as_uri()]
    assert axe(page) == []
    assert clipped(page) == []
    assert hyphens(page) == []


def test_a_layer_is_followed_through_the_whole_page(page):
    read_through(page)
    page.find_element("css selector", "button[data-layer='2']").click()
    assert set(page.execute_script("return undertow.views.map((view) => view.signal('layer'))")) == {2}


def test_the_slider_shows_another_network(page):
    read_through(page)
    bars = """return [...document.querySelectorAll('#bars .panel:first-child .live .mark-rect path')]
      .map((bar) => bar.getAttribute('d'))"""
    before = page.execute_script(bars)
    assert len(before) == 12  # six neurons of two layers: one network at a time
    page.execute_script(
        "const s = document.querySelector('#bars input[type=range]'); s.value = 5; s.dispatchEvent(new Event('input'))"
    )
    after = page.execute_script(bars)
    assert len(after) == 12
    assert after != before


def test_the_equations_are_typeset(page):
    sizes = page.execute_script(
        "return [...document.querySelectorAll('.equation math')].map((m) => m.getBoundingClientRect().height)"
    )
    assert len(sizes) >= 7
    assert min(sizes) > 10


def test_a_phone_shows_it_without_scrolling_sideways(page):
    screen(page, 360, 740)
    read_through(page)
    assert page.execute_script("return document.documentElement.scrollWidth") <= 360
    assert clipped(page) == []
