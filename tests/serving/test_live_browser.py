import numpy as np
import pytest

from reading import axe, clipped, console, hyphens, requested, screen, until
from sample_runs import HOSTILE, SPIKE
from serving.processes import serving, training
from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Run, Severity
from undertow.render.diagnosed_run import DiagnosedRun
from undertow.render.run_page import html
from undertow.report import explain
from undertow.store import save_run

pytestmark = pytest.mark.browser

SHOWN = "return document.documentElement.dataset.shown !== undefined"
TEXT = "return document.querySelector(`[data-part='${arguments[0]}']`).textContent"
SUMMARY = "return document.querySelector(`[data-summary='${arguments[0]}']`).textContent"
INK = """const canvas = document.querySelector(`[data-plot='${arguments[0]}'] canvas`);
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let inked = 0; for (let k = 3; k < data.length; k += 4) inked += data[k] > 0; return inked;"""
HEAT = """const canvas = document.querySelector("[data-plot='heat'] canvas"), context = canvas.getContext('2d');
  const at = (x) => [...context.getImageData(x, canvas.height >> 1, 1, 1).data].join();
  return [...Array(canvas.width).keys()].map(at);"""
CONTRAST = """const channel = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((c) => channel(c / 255))
    .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (!colour.endsWith(', 0)')) return colour;
    }
    return 'rgb(255,255,255)';
  };
  const said = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const speaks = (element) => element.offsetParent && said(element);
  const contrast = (element) => {
    const [more, less] = [light(getComputedStyle(element).color), light(ground(element))].sort((x, y) => y - x);
    return [(more + 0.05) / (less + 0.05), element.tagName, element.className, element.textContent.slice(0, 30)];
  };
  return [...document.querySelectorAll('body *')].filter(speaks).map(contrast).sort((x, y) => x[0] - y[0])[0];"""


@pytest.fixture
def page(browser):
    screen(browser, 1280)
    browser.get_log("browser"), browser.get_log("performance")
    yield browser
    browser.get("about:blank")  # lets go of its connections
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def opened(page, address):
    page.get(address)
    until(lambda: page.execute_script(SHOWN))


def looked_at(page, name):
    """Scroll to a picture, as a reader does: it is drawn when it comes near."""
    page.execute_script(f"document.querySelector(\"[data-figure='{name}']\").scrollIntoView({{ block: 'center' }})")
    until(lambda: page.execute_script(INK, name) > 200)


def choose(page, part, value):
    """Give a control a value, as its user does."""
    page.execute_script(
        "const control = document.querySelector(`[data-part='${arguments[0]}']`); control.value = arguments[1];"
        "control.dispatchEvent(new Event('input', { bubbles: true }))", part, value
    )  # fmt: skip


def keys(page, selector, *pressed):
    from selenium.webdriver import ActionChains

    page.execute_script("document.querySelector(arguments[0]).focus()", selector)
    ActionChains(page).send_keys(*pressed).perform()


@pytest.fixture(scope="module")
def written(small_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "run.html"
    path.write_text(html(DiagnosedRun(explain(small_run).diagnosis), "first.undertow"), encoding="utf-8")
    return path


def test_a_saved_page_draws_everything_and_asks_for_nothing(page, written):
    opened(page, written.as_uri())
    for name in ("loss", "norm", "scalar", "speed", "progress", "update", "heat", "saturated"):
        looked_at(page, name)
    page.execute_script("document.querySelector(\"[data-figure='causes']\").scrollIntoView()")
    until(lambda: page.find_elements("css selector", "[data-part='bars'] circle"))
    assert len(page.find_elements("css selector", "[data-part='bars'] circle")) == 6
    assert page.execute_script("return document.querySelector(\"[data-figure='dead']\").className").endswith("empty")
    assert "UT101" in page.find_element("css selector", ".findings").text
    assert console(page) == []
    assert requested(page) == [written.as_uri()]


def test_a_finding_that_ended_says_when_it_did(page, small_run, tmp_path):
    over = Finding("UT104", "front layers frozen", Severity.NOTE, (), "0", "They stand.", began=12, ended=1030)
    lasting = Finding("UT101", "vanishing", Severity.ERROR, (), "fc", "It fades.", began=0, from_start=True)
    path = tmp_path / "run.html"
    path.write_text(
        html(DiagnosedRun(Diagnosis(small_run, findings=[lasting, over])), "first.undertow"), encoding="utf-8"
    )
    opened(page, path.as_uri())
    chips = [each.text for each in page.find_elements("css selector", ".began")]
    assert chips == ["from the start, step 0", "began at step 12, ended at step 1,030"]
    looked_at(page, "loss")
    titles = "return [...document.querySelectorAll('[data-plot=loss] title')].map((title) => title.textContent)"
    assert "UT104 front layers frozen: began at step 12, ended at step 1,030" in page.execute_script(titles)


def test_a_run_that_cannot_be_read_shows_why_and_nothing_else(page, served):
    page.get(f"{served}/run?name=broken.undertow".replace("//run", "/run"))
    until(lambda: page.execute_script("return document.body.classList.contains('unread')"))
    assert "broken.undertow is not an undertow Run" in page.execute_script(TEXT, "state")
    assert not page.find_element("css selector", "main").is_displayed()
    page.get(served)
    until(lambda: len(page.find_elements("css selector", ".runs tbody tr")) == 4)
    closed = [each.get_attribute("aria-label") for each in page.find_elements("css selector", ".runs input:disabled")]
    assert closed == ["compare broken.undertow"]


def test_a_run_without_a_step_says_so(page, tmp_path):
    path = tmp_path / "run.html"
    path.write_text(html(DiagnosedRun(Diagnosis(Run({"model": "Net"}, ()))), "first.undertow"), encoding="utf-8")
    opened(page, path.as_uri())
    assert page.execute_script(TEXT, "findings") == "No step was recorded: there is nothing to judge yet."


def test_a_run_that_diverged_early_shows_what_was_finite_and_says_where_that_ends(page, tmp_path):
    losses = np.concatenate([[2.0, 3.0, 1e9, np.inf], np.full(196, np.nan)])
    run = Run({"model": "Net"}, (), scalars={"step": np.arange(200.0), "loss": losses, "lr": np.ones(200)})
    path = tmp_path / "lost.html"
    path.write_text(html(DiagnosedRun(Diagnosis(run)), "lost"), "utf-8")
    opened(page, path.as_uri())
    looked_at(page, "loss")
    labels = """return [...document.querySelectorAll("[data-plot='loss'] svg text")].map((each) => each.textContent)"""
    assert page.execute_script(TEXT, "loss-about").startswith("Not a finite number after step 2. ")
    assert "not finite" in page.execute_script(labels)
    assert "100" not in page.execute_script(labels)  # it is shown as far as the loss was a number, and a little on
    page.execute_script("document.querySelector(\"[data-part='whole']\").click()")
    until(lambda: "100" in page.execute_script(labels))


def test_the_slider_tells_causes_at_any_step(page, written, small_run):
    from selenium.webdriver import Keys

    opened(page, written.as_uri())
    assert page.execute_script(TEXT, "causes-step") == "59"
    keys(page, "[data-part='slider']", Keys.HOME)
    assert page.execute_script(TEXT, "causes-step") == "0"
    keys(page, "[data-part='slider']", *[Keys.ARROW_RIGHT] * 3)
    assert page.execute_script(TEXT, "causes-step") == page.execute_script(TEXT, "at") == "3"
    page.find_element("css selector", "[data-part='table'] summary").click()
    until(lambda: page.find_elements("css selector", "[data-part='readings'] tr"))
    row = page.find_element("css selector", "[data-part='readings'] tr").text.split()
    assert row[0] == "0"
    assert float(row[1].replace("×10⁻", "e-").translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789"))) == pytest.approx(
        small_run.columns["grad_output"][3, -1], rel=1e-2
    )


def test_the_keyboard_moves_through_steps_and_layers(page, written):
    from selenium.webdriver import Keys

    opened(page, written.as_uri())
    keys(page, "[data-plot='speed']", Keys.HOME, Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert page.execute_script(TEXT, "at") == "1"
    assert page.execute_script(SUMMARY, "speed").startswith("2, step 1: ")
    assert page.execute_script("return document.querySelector(\"[data-part='layer']\").value") == "2"
    keys(page, "[data-plot='speed']", Keys.ESCAPE)
    assert page.execute_script(SUMMARY, "speed") == ""
    stops = """return [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex]')]
      .filter((e) => e.offsetParent && e.tabIndex < 0).length"""
    assert page.execute_script(stops) == 0


def test_a_pointer_on_a_plot_shows_the_nearest_layer(page, written):
    from selenium.webdriver import ActionChains

    opened(page, written.as_uri())
    looked_at(page, "heat")
    plot = page.find_element("css selector", "[data-plot='heat']")
    ActionChains(page).move_to_element(plot).perform()
    until(lambda: "step" in page.execute_script(SUMMARY, "heat"))
    ActionChains(page).click(plot).perform()
    assert page.execute_script("return document.querySelector(\"[data-part='layer']\").value") != ""
    assert page.execute_script(TEXT, "at") != "59"


@pytest.mark.parametrize("width", [360, 768, 1600])
def test_no_page_scrolls_sideways(page, served, written, width):
    screen(page, width)
    first, second = "name=first.undertow", "name=deep%2Fsecond%20%26%20third.undertow"
    for address in (written.as_uri(), f"{served}run?{first}", f"{served}compare?{first}&{second}"):
        opened(page, address)
        assert page.execute_script("return document.documentElement.scrollWidth") <= width, address
        assert clipped(page) == [], address
        assert hyphens(page) == [], address
    page.get(served)
    until(lambda: len(page.find_elements("css selector", ".runs tbody tr")) == 4)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


def test_axe_finds_nothing_by_day_and_by_night(page, served, written):
    first, second = "name=first.undertow", "name=deep%2Fsecond%20%26%20third.undertow"
    for scheme in ("light", "dark"):
        page.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        for address in (written.as_uri(), f"{served}compare?{first}&{second}"):
            opened(page, address)
            assert axe(page) == [], (scheme, address)
        page.get(served)
        until(lambda: len(page.find_elements("css selector", ".runs tbody tr")) == 4)
        assert axe(page) == [], scheme


def test_a_view_of_a_run_can_be_sent(page, written):
    from selenium.webdriver import Keys

    opened(page, written.as_uri())
    keys(page, "[data-plot='speed']", Keys.HOME, *[Keys.ARROW_RIGHT] * 20, Keys.ARROW_DOWN, "+")
    choose(page, "x", "time")
    choose(page, "smooth", "0.9")
    until(
        lambda: all(part in page.current_url for part in ("step=20", "layer=", "x=time", "smooth=0.9", "from=", "to="))
    )
    sent, layer = page.current_url, page.execute_script("return document.querySelector(\"[data-part='layer']\").value")
    page.get("about:blank")
    opened(page, sent)
    assert page.execute_script(TEXT, "at") == "20"
    assert page.execute_script("return document.querySelector(\"[data-part='layer']\").value") == layer != ""
    assert page.execute_script(TEXT, "smoothed") == "0.90"
    assert page.find_element("css selector", "[data-part='whole']").is_displayed()
    looked_at(page, "loss")
    ticks = "return [...document.querySelectorAll('[data-plot=loss] svg text')].map((each) => each.textContent)"
    assert any(label.endswith((" s", " min")) for label in page.execute_script(ticks))


def test_smoothing_keeps_the_extremes_in_sight_and_dragging_zooms_in(page, written):
    from selenium.webdriver import ActionChains

    opened(page, written.as_uri())
    looked_at(page, "loss")
    spread = """const canvas = document.querySelector("[data-plot='loss'] canvas"), context = canvas.getContext('2d');
      const data = context.getImageData(0, 0, canvas.width, canvas.height).data, rows = new Set();
      for (let k = 3; k < data.length; k += 4) if (data[k] > 20) rows.add(Math.floor((k >> 2) / canvas.width));
      return Math.max(...rows) - Math.min(...rows);"""
    before = page.execute_script(spread)
    choose(page, "smooth", "0.98")
    assert page.execute_script(spread) == pytest.approx(before, abs=3)
    ticks = """return [...document.querySelectorAll("[data-plot='loss'] svg text")].map((each) => each.textContent)
      .filter((each) => /^[\\d,]+$/.test(each)).map(Number)"""
    assert max(page.execute_script(ticks)) > 50
    plot = page.find_element("css selector", "[data-plot='loss']")
    ActionChains(page).move_to_element_with_offset(plot, -300, 0).click_and_hold().move_by_offset(
        200, 0
    ).release().perform()
    until(lambda: page.find_element("css selector", "[data-part='whole']").is_displayed())
    looked_at(page, "loss")
    assert max(page.execute_script(ticks)) < 40
    page.find_element("css selector", "[data-part='whole']").click()
    looked_at(page, "loss")
    assert max(page.execute_script(ticks)) > 50


def test_runs_are_found_and_put_in_order(page, served):
    page.get(served)
    names = "return [...document.querySelectorAll('.runs tbody th a')].map((each) => each.textContent)"
    until(lambda: len(page.execute_script(names)) == 4)
    page.find_element("css selector", "[data-sort='name']").click()
    assert page.execute_script(names) == sorted(page.execute_script(names), key=str.lower)
    page.find_element("css selector", "[data-sort='name']").click()
    assert page.execute_script(names) == sorted(page.execute_script(names), key=str.lower, reverse=True)
    assert page.find_element("css selector", "th[aria-sort]").get_attribute("aria-sort") == "descending"
    page.find_element("css selector", "[data-part='search']").send_keys("sequential third")
    until(lambda: page.execute_script(names) == ["deep/second & third.undertow"])
    until(lambda: "search=sequential+third" in page.current_url)
    page.refresh()
    until(lambda: page.execute_script(names) == ["deep/second & third.undertow"])
    assert page.execute_script(TEXT, "count") == "1 of 4 runs"


def test_two_runs_side_by_side_say_what_they_come_to(page, served):
    opened(
        page, f"{served}compare?name=first.undertow&name=deep%2Fsecond%20%26%20third.undertow#x=time&quantity=update"
    )
    until(lambda: page.execute_script("return document.documentElement.dataset.shown") == "2")
    until(lambda: "All have the same findings" in page.execute_script(TEXT, "verdict"))
    assert page.execute_script(TEXT, "verdict").startswith("Loss at the end: ")
    assert page.execute_script("return document.querySelector(\"[data-part='quantity']\").value") == "update"
    assert page.execute_script("return document.querySelector(\"[data-part='x']\").value") == "time"


def test_dark_mode_keeps_text_readable(page, served):
    for scheme in ("dark", "light"):
        given = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", given)
        opened(page, f"{served}run?name=first.undertow")
        until(lambda: "UT101" in page.page_source)
        worst = page.execute_script(CONTRAST)
        assert worst[0] >= 4.5, (scheme, worst)


def test_names_from_a_run_are_text(page, served):
    page.get(served)
    until(lambda: len(page.find_elements("css selector", ".runs tbody tr")) == 4)
    link = next(a for a in page.find_elements("css selector", ".runs a") if "onerror" in a.text)
    link.click()
    until(lambda: page.execute_script(SHOWN))
    assert "<img src=x" in page.find_element("css selector", "h1").text
    assert HOSTILE in page.execute_script(TEXT, "facts")
    page.find_element("css selector", "[data-part='table'] summary").click()
    assert "onerror" in page.find_element("css selector", "[data-part='readings']").text
    assert page.execute_script("return document.querySelectorAll('img, svg script, a[href=\"#b\"]').length") == 0
    assert "onerror" in page.title
    assert page.title != "broken"
    assert [line for line in console(page) if "favicon" not in line] == []


def test_a_page_follows_a_real_training_and_outlives_server_and_training(page, tmp_path):
    with training(tmp_path / "live.undertow", 0.1) as latest:
        with serving(tmp_path) as address:
            opened(page, f"{address}run?name=live.undertow")
            port = address.rstrip("/").rpartition(":")[2]
            steps = []
            for _ in range(3):
                steps.append(latest()[0])
                until(lambda: int(page.execute_script(TEXT, "at").replace(",", "") or -1) >= steps[-1])
            assert steps == sorted(set(steps))
            until(lambda: "live" in page.execute_script(TEXT, "state"))
            page.execute_script("window.stayed = true")
        until(lambda: "no connection" in page.execute_script(TEXT, "state"))
        last = latest.stop()
    with serving(tmp_path, port=port):
        until(lambda: page.execute_script(TEXT, "at").replace(",", "") == str(last))
        assert page.execute_script("return window.stayed") is True
        assert page.execute_script(TEXT, "state") in ("live", "ended")


def test_the_list_follows_and_leads_to_a_comparison(page, tmp_path, small_run):
    save_run(small_run, tmp_path / "a.undertow")
    with serving(tmp_path) as address:
        page.get(address)
        until(lambda: len(page.find_elements("css selector", ".runs tbody tr")) == 1)
        button = page.find_element("css selector", "[data-part='compare']")
        page.find_element("css selector", ".runs input").click()
        assert not button.is_enabled()
        save_run(small_run, tmp_path / "b.undertow")
        until(lambda: len(page.find_elements("css selector", ".runs tbody tr")) == 2)
        chosen = page.find_elements("css selector", ".runs input")
        assert sorted(box.is_selected() for box in chosen) == [False, True]
        next(box for box in chosen if not box.is_selected()).click()
        button.click()
        until(lambda: page.execute_script("return document.documentElement.dataset.shown") == "2")
        for name in ("loss", "norm", "lines-0", "lines-1", "heat-0", "heat-1"):
            looked_at(page, name)
        until(lambda: "from the start, step 0" in page.execute_script(TEXT, "findings-1"))
        addresses = {url.partition("?")[0].removeprefix(address) for url in requested(page)}
        assert addresses <= {"", "events", "compare", "view"}
        assert console(page) == []


def test_a_large_run_shows_with_its_one_spike(page, large_run):
    with serving(large_run) as address:
        opened(page, f"{address}run?name=large.undertow")
        looked_at(page, "heat")
        columns = page.execute_script(HEAT)
        usual = max(set(columns), key=columns.count)
        left = columns.index(usual)
        odd = [x for x, colour in enumerate(columns) if x > left and colour not in ("0,0,0,0", usual)]
        assert page.execute_script("return document.querySelectorAll(\"[data-part='layer'] option\").length") == 201
        until(lambda: page.execute_script(TEXT, "causes-step") == "19,999")
        spike = left + SPIKE / 20_000 * (len(columns) - left)
        assert min(abs(x - spike) for x in odd) < 12


WITNESS = """window.sources = []; const Real = EventSource;
  window.EventSource = class extends Real { constructor(url) { super(url); sources.push(this); } };"""
HIDE = """Object.defineProperty(document, 'visibilityState', { value: arguments[0], configurable: true });
  document.dispatchEvent(new Event('visibilitychange')); return sources.map((each) => each.readyState === 2);"""


def test_a_page_nobody_looks_at_lets_go_of_its_connection(page, served):
    witness = page.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WITNESS})
    try:
        for address in (served, f"{served}run?name=first.undertow", f"{served}compare?name=first.undertow"):
            page.get(address)
            assert page.execute_script(HIDE, "hidden") == [True]
            assert page.execute_script(HIDE, "visible") == [True, False]
    finally:
        page.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", witness)
