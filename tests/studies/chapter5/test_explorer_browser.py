"""The page to play with in a real browser: everything is moved, and what it then says is held to undertow.theory."""

import json

import numpy as np
import pytest

from reading import axe, clipped, console, hyphens, requested, screen, until
from undertow.activations import ACTIVATIONS
from undertow.studies.chapter5 import explorer
from undertow.theory import bounds, chain, meanfield

pytestmark = pytest.mark.browser

SET = """const [changes] = arguments;
for (const [key, value] of Object.entries(changes)) {
  const control = document.querySelector(`[data-state="${key}"]`);
  if (control.type === "checkbox") control.checked = value; else control.value = value;
  control.dispatchEvent(new Event("input", { bubbles: true }));
}"""
DRAWN = "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))"


@pytest.fixture
def page(browser, folder):
    screen(browser, 1280)
    browser.get_log("browser"), browser.get_log("performance")
    browser.get((folder / "explore.html").as_uri())
    yield browser
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert console(browser) == []


def move(page, **changes):
    page.execute_script(SET, changes)
    page.execute_async_script(DRAWN)


def press(page, selector):
    page.execute_script("arguments[0].click()", page.find_element("css selector", selector))
    page.execute_async_script(DRAWN)


def told(page, part):
    return float(page.find_element("css selector", f'[data-part="{part}"]').get_attribute("data-value"))


def value(page, key):
    return float(page.execute_script("return document.querySelector(arguments[0]).value", f'[data-state="{key}"]'))


def rows(page):
    """Of the table: w, z, φ', factor, product so far, dC/db, one row for each neuron."""
    cells = """return [...document.querySelectorAll('[data-part=rows] tr')].map((row) =>
      [...row.querySelectorAll('td')].map((cell) => cell.dataset.value))"""
    return np.array(page.execute_script(cells), dtype=float)


def factors(weights, biases, a, activation):
    """φ'(z_1), w_2 φ'(z_2), ... by the library."""
    found = [float(f.value) for f in chain.gradient(weights, biases, a, activation=activation).factors[:-1]]
    return np.array([found[0], *(w * slope for w, slope in zip(found[1::2], found[2::2], strict=True))])


def check_chain(page, weights, biases, a, activation):
    found, expected = rows(page), factors(weights, biases, a, activation)
    close = {"rtol": 1e-9, "atol": 1e-300}
    np.testing.assert_allclose(found[:, 3], expected, **close)
    np.testing.assert_allclose(found[:, 4], np.cumprod(expected), **close)
    gradients = chain.gradients(weights, biases, a, activation=activation)
    np.testing.assert_allclose(found[:, 5], gradients, **close)
    assert told(page, "gradient") == pytest.approx(float(gradients[0]), rel=1e-9)
    assert told(page, "large") == np.sum(np.abs(expected) >= 1)
    assert told(page, "typical") == pytest.approx(np.abs(np.prod(expected)) ** (1 / len(expected)), rel=1e-9)


def test_nothing_is_fetched(page, folder):
    assert requested(page) == [(folder / "explore.html").as_uri()]
    pictures = "return [...document.querySelectorAll('.picture')].map((p) => p.getBoundingClientRect().height)"
    assert min(page.execute_script(pictures)) > 150


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_chain_is_the_library_s(page, activation):
    for w, b, a, depth in [(1.0, 0.0, 0.5, 8), (-3.7, 1.2, -1.35, 13), (6.9, -3.4, 0.5, 30), (0.5, -0.4, 2.0, 1)]:
        move(page, activation=activation, w=w, b=b, a=a, depth=depth)
        check_chain(page, np.full(depth, w), np.full(depth, b), a, activation)


@pytest.mark.parametrize("key", ["w", "b", "a", "depth"])
def test_each_slider_of_the_chain_moves_by_the_keyboard(page, key):
    from selenium.webdriver import Keys

    before = value(page, key)
    page.find_element("id", f"set-{key}").send_keys(Keys.ARROW_LEFT * 3)
    page.execute_async_script(DRAWN)
    step = float(page.find_element("id", f"set-{key}").get_attribute("step"))
    assert value(page, key) == pytest.approx(before - 3 * step)
    w, b, a, depth = (value(page, k) for k in ("w", "b", "a", "depth"))
    check_chain(page, np.full(int(depth), w), np.full(int(depth), b), a, "sigmoid")


def test_numbers_can_be_typed_and_nonsense_is_not_taken(page):
    from selenium.webdriver import Keys

    field = page.find_element("css selector", 'input[type=number][data-state="w"]')
    field.send_keys(Keys.CONTROL + "a")
    field.send_keys("5.25")
    page.execute_async_script(DRAWN)
    check_chain(page, np.full(8, 5.25), np.zeros(8), 0.5, "sigmoid")
    field.send_keys(Keys.CONTROL + "a")
    field.send_keys("900")
    page.execute_async_script(DRAWN)
    check_chain(page, np.full(8, 16.0), np.zeros(8), 0.5, "sigmoid")


def test_random_chains_are_drawn_again(page):
    normals = explorer.normals()
    move(page, random=True, w=1.5, b=0.7, depth=12, activation="tanh")
    check_chain(page, 1.5 * normals[0, 0, :12], 0.7 * normals[0, 1, :12], 0.5, "tanh")
    press(page, '[data-part="draw"]')
    check_chain(page, 1.5 * normals[1, 0, :12], 0.7 * normals[1, 1, :12], 0.5, "tanh")


@pytest.mark.parametrize("name", explorer.PRESETS)
def test_every_example_does_what_it_says(page, name):
    press(page, f'[data-preset="{name}"]')
    preset = explorer.PRESETS[name]
    draws = explorer.normals()[0, :, : preset["depth"]] if preset["random"] else np.ones((2, preset["depth"]))
    check_chain(page, preset["w"] * draws[0], preset["b"] * draws[1], preset["a"], preset["activation"])


def test_the_explosion_explodes_and_a_hair_off_it_does_not(page):
    press(page, '[data-preset="an explosion"]')
    assert told(page, "gradient") == pytest.approx(4.0**7 / 4, rel=1e-12)
    press(page, '[data-preset="a hair off the explosion"]')
    assert told(page, "gradient") < 1e-6


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_window_is_the_library_s(page, activation):
    for w in (0.9, 1.1, -1.7, 4.1, 6.9, -16.0):
        move(page, activation=activation, w=w, b=-1.3, a=0.25)
        found = bounds.large_factor_interval(w, -1.3, activation)
        slope = float(ACTIVATIONS[activation].derivative(w * 0.25 - 1.3))
        assert told(page, "factor") == pytest.approx(abs(w * slope), rel=1e-9)
        if found is None:
            assert np.isnan(told(page, "low"))
            assert told(page, "width") == 0
        else:
            ends = told(page, "low"), told(page, "high"), told(page, "width")
            assert ends == pytest.approx((found.low, found.high, found.width), rel=1e-9, abs=1e-12)


def test_a_press_in_the_plane_moves_weight_and_input(page):
    from selenium.webdriver import ActionChains

    picture = page.find_element("css selector", '[data-part="region"]')
    page.execute_script("arguments[0].scrollIntoView({ block: 'center' })", picture)
    ActionChains(page).move_to_element_with_offset(picture, 60, -70).click().perform()
    page.execute_async_script(DRAWN)
    w, a = value(page, "w"), value(page, "a")
    assert w > 1
    assert a > 0
    assert rows(page)[0, 0] == w
    check_chain(page, np.full(8, w), np.zeros(8), a, "sigmoid")


@pytest.mark.parametrize("kind", explorer.MAPPED)
def test_the_map_reads_what_theory_says(page, kind):
    for iw, ib, layers in [(20, 0, 10), (0, 5, 50), (80, 30, 3), (len(explorer.WEIGHT_VAR) - 1, 1, 100)]:
        move(page, kind=kind, iw=iw, ib=ib, layers=layers)
        w, b = explorer.WEIGHT_VAR[iw], explorer.BIAS_VAR[ib]
        found = meanfield.phase_diagram(kind, w, b)
        chi = float(found.chi)
        assert told(page, "chi") == pytest.approx(chi, rel=1e-6)
        assert told(page, "perLayer") == pytest.approx(np.sqrt(chi), rel=1e-6)
        assert told(page, "qStar") == pytest.approx(float(found.q), rel=1e-6)
        assert told(page, "decades") == pytest.approx(layers * np.log10(chi) / 2, rel=1e-5, abs=1e-5)
        shown = page.find_element("css selector", '[data-part="phase"]').text
        expected = "grows without bound" if np.isinf(found.q) else meanfield.phase(kind, w, b)
        assert expected in shown


@pytest.mark.parametrize("key", ["iw", "ib", "layers"])
def test_each_slider_of_the_map_moves_by_the_keyboard(page, key):
    from selenium.webdriver import Keys

    before = value(page, key)
    page.find_element("id", f"set-{key}").send_keys(Keys.ARROW_RIGHT * 4)
    page.execute_async_script(DRAWN)
    assert value(page, key) == before + 4
    w, b = explorer.WEIGHT_VAR[int(value(page, "iw"))], explorer.BIAS_VAR[int(value(page, "ib"))]
    chi = meanfield.chi("tanh", w, b)
    assert told(page, "decades") == pytest.approx(value(page, "layers") * np.log10(chi) / 2, rel=1e-5, abs=1e-6)
    if key == "iw":
        assert page.find_element("id", "set-iw").get_attribute("aria-valuetext") == f"{w:.3g}"


def check_everything(page):
    """Every number the page computes, for wherever its controls stand, against the library."""
    w, b, a, depth = (value(page, key) for key in ("w", "b", "a", "depth"))
    activation = page.execute_script("return document.querySelector('[data-state=activation]').value")
    check_chain(page, np.full(int(depth), w), np.full(int(depth), b), a, activation)
    slope = float(ACTIVATIONS[activation].derivative(w * a + b))
    assert told(page, "factor") == pytest.approx(abs(w * slope), rel=1e-9)
    window = bounds.large_factor_interval(w, b, activation)
    assert told(page, "width") == pytest.approx(window.width if window else 0, rel=1e-9, abs=1e-12)
    kind = page.execute_script("return document.querySelector('[data-state=kind]').value")
    weight_var, bias_var = (explorer.WEIGHT_VAR[int(value(page, "iw"))], explorer.BIAS_VAR[int(value(page, "ib"))])
    chi = float(meanfield.phase_diagram(kind, weight_var, bias_var).chi)
    assert told(page, "chi") == pytest.approx(chi, rel=1e-6)
    assert told(page, "decades") == pytest.approx(value(page, "layers") * np.log10(chi) / 2, rel=1e-5, abs=1e-6)


def test_every_slider_there_is_moves_the_numbers_and_they_are_the_library_s(page):
    """Found by asking the page, so that a slider added later is tried, too."""
    from selenium.webdriver import Keys

    sliders = page.find_elements("css selector", "input[type=range]")
    keys = [slider.get_attribute("data-state") for slider in sliders]
    assert set(keys) == {"w", "b", "a", "depth", "iw", "ib", "layers"}
    numbers = "return [...document.querySelectorAll('[data-value]')].map((e) => e.dataset.value).join()"
    for slider, key in zip(sliders, keys, strict=True):
        before, position = page.execute_script(numbers), value(page, key)
        at_the_end = float(slider.get_attribute("value")) >= float(slider.get_attribute("max"))
        slider.send_keys((Keys.ARROW_LEFT if at_the_end else Keys.ARROW_RIGHT) * 5)
        page.execute_async_script(DRAWN)
        assert value(page, key) != position, key
        assert page.execute_script(numbers) != before, key
        twins = page.find_elements("css selector", f'[data-state="{key}"]')
        assert len({float(twin.get_attribute("value")) for twin in twins}) == 1, key
        check_everything(page)


@pytest.mark.parametrize("start", range(1, 6))
def test_usual_starts_are_put_on_the_map(page, start):
    (w, b) = list(explorer.STARTS.values())[start - 1]
    button = f"[data-weight-var]:nth-of-type({start})"
    press(page, button)
    assert told(page, "chi") == pytest.approx(meanfield.chi("tanh", w, b), rel=1e-6)
    assert page.find_element("css selector", button).get_attribute("aria-pressed") == "true"


def test_a_press_on_the_map_reads_there(page):
    from selenium.webdriver import ActionChains

    picture = page.find_element("css selector", '[data-part="map"]')
    page.execute_script("arguments[0].scrollIntoView({ block: 'center' })", picture)
    ActionChains(page).move_to_element_with_offset(picture, 200, 20).click().perform()
    page.execute_async_script(DRAWN)
    w, b = explorer.WEIGHT_VAR[int(value(page, "iw"))], explorer.BIAS_VAR[int(value(page, "ib"))]
    assert w > 2
    assert b > 0
    assert told(page, "chi") == pytest.approx(meanfield.chi("tanh", w, b), rel=1e-6)


def test_trained_networks_are_shown_as_measured(page, folder):
    results = json.loads((folder / "results.json").read_text())["trainability"]
    dots = "return document.querySelectorAll('[data-part=map] circle > title').length"
    assert page.execute_script(dots) == len(results["weight_var"]) * len(results["bias_var"])
    press(page, "[data-weight-var]:nth-of-type(2)")
    here = results["weight_var"].index(1.0)
    assert told(page, "trained") == pytest.approx(np.mean(results["accuracy"]["tanh"][0][here]), abs=1e-4)
    move(page, trained=False)
    assert page.execute_script(dots) == 0
    move(page, kind="gelu", trained=True)
    assert page.execute_script(dots) == 0


@pytest.mark.parametrize("width", [360, 768, 1600])
def test_no_screen_scrolls_sideways(page, width):
    screen(page, width, 740)
    page.refresh()
    press(page, '[data-preset="a hair off the explosion"]')
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    assert clipped(page) == []
    edges = "return [...document.querySelectorAll('.picture')].map((p) => p.getBoundingClientRect().right)"
    assert max(page.execute_script(edges)) <= width


def test_pictures_follow_the_width(page):
    drawn = "return document.querySelector('[data-part=map]').viewBox.baseVal.width"
    before = page.execute_script(drawn)
    screen(page, 500)
    until(lambda: page.execute_script(drawn) < before / 1.5)


def test_where_the_sliders_stand_can_be_sent(page, folder):
    move(page, w=5.5, activation="tanh", layers=31, trained=False)
    until(lambda: "layers=31" in page.current_url)
    sent = page.current_url
    page.get((folder / "explore.html").as_uri())
    assert value(page, "w") != 5.5
    page.get(sent)
    page.refresh()
    assert (value(page, "w"), value(page, "layers")) == (5.5, 31)
    assert page.execute_script("return document.querySelector('[data-state=trained]').checked") is False
    check_everything(page)


def test_an_address_that_makes_no_sense_changes_nothing(page, folder):
    usual = {key: value(page, key) for key in ("w", "depth")}
    page.get((folder / "explore.html").as_uri() + "#w=1e9&depth=many&activation=none")
    page.refresh()
    assert {key: value(page, key) for key in ("w", "depth")} == usual


def test_axe_finds_nothing_and_signs_are_signs(page):
    assert axe(page) == []
    assert hyphens(page) == []


def test_every_control_has_a_name(page):
    nameless = """return [...document.querySelectorAll('input, select, button')].filter((control) =>
      !(control.labels?.length || control.ariaLabel || control.textContent.trim())).length"""
    assert page.execute_script(nameless) == 0


def test_without_scripts_the_page_says_so(page):
    said = page.find_element("css selector", ".unscripted")
    assert not said.is_displayed()
    page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    page.refresh()
    page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert page.find_element("css selector", ".unscripted").is_displayed()


def test_on_paper_the_pictures_stay_and_the_buttons_go(page):
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    shown = "return [...document.querySelectorAll(arguments[0])].map((e) => getComputedStyle(e).display)"
    assert set(page.execute_script(shown, ".picture")) == {"block"}
    assert set(page.execute_script(shown, ".presets, .instrument input[type=range]")) == {"none"}
