import pytest

from reading import axe, clipped, console, hyphens, read_through, requested, screen, until

pytestmark = pytest.mark.browser

PANELS = 8
LAYERS_CHOSEN = "return undertow.views.map((view) => view.signal('layer'))"


@pytest.fixture
def page(browser, written):
    screen(browser, 1280)
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(written.as_uri())
    yield browser
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_every_chart_wakes_and_no_request_leaves_the_page(page, written):
    read_through(page)
    assert page.execute_script("return undertow.views.length") == PANELS
    sizes = page.execute_script(
        "return [...document.querySelectorAll('.live svg')].map((s) => s.getBoundingClientRect().height)"
    )
    assert len(sizes) == PANELS
    assert min(sizes) > 40
    assert console(page) == []
    assert requested(page) == [written.as_uri()]


def test_charts_far_away_sleep(page):
    assert 0 < page.execute_script("return innerHeight") < 2_000
    until(lambda: page.execute_script("return undertow.views.length") > 0)
    assert page.execute_script("return undertow.views.length") < PANELS


def test_a_layer_chosen_anywhere_is_chosen_everywhere(page):
    read_through(page)
    button = page.find_element("css selector", "button[data-layer='2']")
    button.click()
    assert page.execute_script(LAYERS_CHOSEN) == [2] * PANELS
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert page.execute_script(LAYERS_CHOSEN) == [None] * PANELS
    assert button.get_attribute("aria-pressed") == "false"


def test_the_chosen_layer_stands_out(page):
    read_through(page)
    page.find_element("css selector", "button[data-layer='2']").click()
    opacity = """return [...document.querySelectorAll('#neurons .live .mark-rect path')]
      .map((bar) => Number(bar.getAttribute('opacity') ?? 1))"""
    until(lambda: len(set(page.execute_script(opacity))) == 2)
    assert sorted(page.execute_script(opacity)) == [0.12] * 6 + [1] * 6


def test_charts_that_wake_later_know_the_choice(page):
    page.find_element("css selector", "button[data-layer='3']").click()
    read_through(page)
    assert page.execute_script(LAYERS_CHOSEN) == [3] * PANELS


def test_marks_legends_and_the_keyboard_choose_too(page):
    from selenium.webdriver import ActionChains, Keys

    read_through(page)
    act = ActionChains(page)
    legend = page.find_elements("css selector", "#curves .panel:nth-child(2) .role-legend-symbol path")
    assert len(legend) >= 4
    act.move_to_element(legend[2]).click().perform()
    assert page.execute_script(LAYERS_CHOSEN) == [3] * PANELS
    act.send_keys(Keys.ESCAPE).perform()
    assert page.execute_script(LAYERS_CHOSEN) == [None] * PANELS
    dot = page.find_elements("css selector", "#members .live .mark-symbol.role-mark path")[0]
    act.move_to_element(dot).click().perform()
    assert page.execute_script(LAYERS_CHOSEN) == [1] * PANELS
    page.execute_script("document.querySelector(\"button[data-layer='4']\").focus()")
    act.send_keys(Keys.ENTER).perform()
    assert page.execute_script(LAYERS_CHOSEN) == [4] * PANELS


def test_the_pointer_is_told_the_numbers_of_the_nearest_point(page):
    from selenium.webdriver import ActionChains

    read_through(page)
    panel = page.find_element("css selector", "#curves .panel")
    ActionChains(page).move_to_element(panel).perform()
    told = page.find_element("css selector", "#vg-tooltip-element")
    until(lambda: "band" in told.text)
    assert "undefined" not in told.text
    assert {"epoch", "layer"} <= set(told.text.split())


@pytest.mark.parametrize("width", [360, 768, 1280, 1600])
def test_no_screen_scrolls_sideways(page, width):
    screen(page, width)
    page.refresh()
    read_through(page)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    charts = page.execute_script(
        "return [...document.querySelectorAll('.live svg')].map((s) => s.getBoundingClientRect().right)"
    )
    assert max(charts) <= width
    assert clipped(page) == []
    assert console(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_signs_are_signs(page, scheme):
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    page.refresh()
    read_through(page)
    assert axe(page) == []
    assert hyphens(page) == []


def test_what_a_picture_shows_is_said_in_words(page):
    words = page.execute_script("return [...document.querySelectorAll('.panel img')].map((img) => img.alt)")
    titles = page.execute_script(
        "return [...document.querySelectorAll('figure .title')].map((each) => each.textContent)"
    )
    assert len(set(words)) == PANELS
    assert all(len(each) > 30 for each in words)
    assert not any(alt in title for alt in words for title in titles)
    assert "Curves: speed ‖∂C/∂b‖ from 0.014 to 0.3, over epoch from 0 to 59, for layer 1, 2." in words[0]


def test_a_chosen_layer_can_be_sent(page, written):
    page.find_element("css selector", "button[data-layer='3']").click()
    until(lambda: page.execute_script("return location.hash") == "#layer=3")
    page.get(f"{written.as_uri()}#layer=2")
    page.refresh()
    read_through(page)
    assert page.execute_script(LAYERS_CHOSEN) == [2] * PANELS


def test_equations_have_a_size(page):
    boxes = page.execute_script("""return [...document.querySelectorAll('math')].map((m) => {
      const box = m.getBoundingClientRect(); return [box.width, box.height]; })""")
    assert len(boxes) == 3
    assert all(width > 8 and height > 8 for width, height in boxes)
    fraction = page.execute_script("return document.querySelector('.equation mfrac').getBoundingClientRect().height")
    assert fraction > 30


def test_hostile_text_is_shown_as_text(page):
    read_through(page)
    assert "broken" not in page.title.replace("'broken'", "")
    assert "</script><script>" in page.find_element("css selector", "h1").text
    assert "</script><script>" in page.find_element("css selector", "#neurons .title").text


def test_without_scripts_the_drawings_are_there(page):
    page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    page.refresh()
    page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    sizes = page.execute_script("""return [...document.querySelectorAll('.panel img')]
      .map((img) => [img.complete, img.naturalWidth, img.getBoundingClientRect().height])""")
    assert len(sizes) == PANELS
    assert all(complete and natural > 100 and height > 50 for complete, natural, height in sizes)
    assert not page.find_element("css selector", ".layers").is_displayed()


def test_on_paper_the_drawings_stand_for_the_charts(page):
    read_through(page)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    shown = "return [...document.querySelectorAll(arguments[0])].map((e) => getComputedStyle(e).display)"
    assert set(page.execute_script(shown, ".panel img")) == {"block"}
    assert set(page.execute_script(shown, ".panel .live, .layers, details")) == {"none"}
