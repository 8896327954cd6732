import pytest

from reading import console, read_through, requested, screen, until

pytestmark = pytest.mark.browser

OPENED = "return performance.getEntriesByType('navigation')[0].loadEventEnd"


@pytest.fixture
def opened(browser, tmp_path):
    def open_page(made, width):
        path = made.save(tmp_path / "report.html")
        screen(browser, width)
        browser.get_log("browser"), browser.get_log("performance")
        browser.get(path.as_uri())
        return browser

    return open_page


@pytest.mark.parametrize("made", ["vanishing", "healthy", "hostile_report", "thousand_report"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_wakes_and_doesnt_scroll_sideways(opened, made, width, request):
    page = opened(request.getfixturevalue(made), width)
    read_through(page)
    assert page.execute_script("return undertow.views.length") == 2
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    assert console(page) == []
    assert len(requested(page)) == 1
    assert "broken" not in page.title
    assert page.find_elements("css selector", "script:not([type])")[0].get_attribute("src") in ("", None)


def test_modules_open_on_a_click_and_numbers_stand_in_columns(opened, thousand_report):
    page = opened(thousand_report, 1280)
    assert page.execute_script("return document.querySelectorAll('.tree .line').length") > 1000
    pack = page.find_element("css selector", ".tree details:not([open]) > summary")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", pack)
    pack.click()
    rights = """const tree = document.querySelector('.tree');
      return [...tree.querySelectorAll('.line')].filter((line) => line.checkVisibility())
        .map((line) => Math.round(line.querySelector('.cell').getBoundingClientRect().right))"""
    until(lambda: len(page.execute_script(rights)) > 50)
    assert len(set(page.execute_script(rights))) == 1


def test_pointing_at_the_way_back_tells_the_factors(opened, vanishing):
    from selenium.webdriver import ActionChains

    page = opened(vanishing, 1280)
    read_through(page)
    panel = page.find_element("css selector", "#gradient .panel")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", panel)
    ActionChains(page).move_to_element(panel).perform()
    told = page.find_element("css selector", "#vg-tooltip-element")
    until(lambda: "passes on" in told.text)
    assert {"gradient", "activation", "weights", "unattributed"} <= set(told.text.split())
