import numpy as np
import pytest

from reading import axe, clipped, console, hyphens, requested, screen, until
from undertow.diagnosis import Diagnosis
from undertow.record import Run
from undertow.render import difference_page, forecast_page
from undertow.theory.forecasting import Forecast

pytestmark = pytest.mark.browser

DARK = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
COPIED = """window.copied = null;
  const writeText = async (text) => { window.copied = text; };
  Object.defineProperty(navigator, 'clipboard', { configurable: true, value: { writeText } });"""


@pytest.fixture
def opened(browser, tmp_path):
    def open_page(made, width):
        path = tmp_path / "report.html"
        path.write_text(made, encoding="utf-8")
        screen(browser, width)
        browser.get_log("browser"), browser.get_log("performance")
        browser.get(path.as_uri())
        return browser

    yield open_page
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


@pytest.fixture(scope="session")
def pages(vanishing, healthy, hostile_report, thousand_report):
    """Every report and a forecast, each written once."""
    from undertow.render import report_page

    reports = {"vanishing": vanishing, "healthy": healthy, "hostile": hostile_report, "thousand": thousand_report}
    made = {name: report_page.article(report.diagnosis).html() for name, report in reports.items()}
    return made | {"forecast": forecast_page.article(Forecast.of("sigmoid", 1.0, depth=30, width=100)).html()}


@pytest.mark.parametrize("name", ["vanishing", "healthy", "hostile", "thousand", "forecast"])
@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_shows_its_pictures_whole_and_can_be_read_by_everyone(opened, pages, name, width):
    page = opened(pages[name], width)
    drawn = """return [...document.querySelectorAll('.still svg')].filter((each) => each.checkVisibility())
      .map((each) => each.getBoundingClientRect().width)"""
    assert page.execute_script(drawn)
    assert max(page.execute_script(drawn)) <= width
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    if name != "thousand":  # of the same parts as the others, and too many for axe to look at in a second
        assert axe(page) == []
    assert clipped(page) == []
    assert hyphens(page) == []
    assert console(page) == []
    assert len(requested(page)) == 1
    assert "broken" not in page.title


def trained(*losses):
    return Diagnosis(Run({"model": "Net"}, (), scalars={"step": np.arange(len(losses)), "loss": np.array(losses)}))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("of", ["reports", "runs"])
def test_two_beside_each_other_can_be_read_by_everyone(opened, vanishing, healthy, of, scheme):
    runs = trained(2.0, 1.9, 1.9), trained(2.0, 0.4, 0.2)
    pair = (vanishing.diagnosis, healthy.diagnosis) if of == "reports" else runs
    made = difference_page.article(("before", pair[0]), ("after", pair[1])).html()
    for width in (360, 1200):
        page = opened(made, width)
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", DARK if scheme == "dark" else {"media": "", "features": []})
        assert (len(page.find_elements("css selector", ".still svg")) > 0) == (of == "runs")
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
        assert axe(page) == []
        assert clipped(page) == []
        assert hyphens(page) == []


@pytest.mark.parametrize("width", [768, 1280])
def test_the_answer_is_on_the_first_screen(opened, pages, vanishing, width):
    page = opened(pages["vanishing"], width)
    worst = vanishing.findings[0]
    bottom = "return [...document.querySelectorAll(arguments[0])].map((each) => each.getBoundingClientRect().bottom)"
    assert page.find_element("css selector", "h1").text.endswith(worst.name)
    assert page.find_element("css selector", ".lead").text
    shown = [".lead > p:first-child", *([".snippet"] if worst.snippet else [])]
    for selector in shown:
        assert page.execute_script(bottom, f"header {selector}")[0] < 900, selector


def test_the_lines_to_type_are_copied_whole(opened, pages, vanishing):
    if not vanishing.findings[0].snippet:
        pytest.skip("this rule has no lines to type")
    page = opened(pages["vanishing"], 1280)
    page.execute_script(COPIED)
    page.find_element("css selector", "header .copy").click()
    until(lambda: page.execute_script("return window.copied"))
    assert page.execute_script("return window.copied") == vanishing.findings[0].snippet.rstrip("\n")
    until(lambda: page.find_element("css selector", "header .copy").text == "Copied")


def test_at_night_a_report_is_dark_and_as_readable(opened, pages):
    page = opened(pages["vanishing"], 1280)
    paper = "return getComputedStyle(document.body).backgroundColor"
    light = page.execute_script(paper)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", DARK)
    assert light != page.execute_script(paper)
    assert page.execute_script("return getComputedStyle(document.querySelector('.still svg')).filter").startswith(
        "invert"
    )
    assert axe(page) == []
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", **DARK})
    assert page.execute_script("return getComputedStyle(document.querySelector('.still svg')).filter") == "none"


def test_modules_open_on_a_click_and_numbers_stand_in_columns(opened, pages):
    page = opened(pages["thousand"], 1280)
    assert page.execute_script("return document.querySelectorAll('.tree .line').length") > 1000
    page.execute_script("document.querySelector('.tree').closest('details').open = true")
    pack = page.find_element("css selector", ".tree details:not([open]) > summary")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", pack)
    pack.click()
    rights = """const tree = document.querySelector('.tree');
      return [...tree.querySelectorAll('.line')].filter((line) => line.checkVisibility())
        .map((line) => Math.round(line.querySelector('.cell').getBoundingClientRect().right))"""
    until(lambda: len(page.execute_script(rights)) > 50)
    assert len(set(page.execute_script(rights))) == 1


def test_pointing_at_the_way_back_tells_the_factors(opened, pages):
    from selenium.webdriver import ActionChains

    page = opened(pages["vanishing"], 1280)
    mark = page.find_element("css selector", "#gradient .at-wide [data-told]")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", mark)
    ActionChains(page).move_to_element(mark).perform()
    told = page.find_element("css selector", ".told")
    until(lambda: "passes on" in told.text)
    assert {"gradient", "activation", "weights", "unattributed"} <= set(told.text.split())
