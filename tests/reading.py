"""How a test reads a page: in a real browser, scrolling as a reader does, with an eye on console and network."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

QUIET = (
    "--headless",
    "--no-sandbox",  # containers run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--window-size=1280,900",
)


@contextmanager
def chromium(profile: Path) -> Iterator["Chrome"]:
    """A real headless Chromium that keeps a log of its console and of every request. Raises LookupError without one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program, driver = next(filter(None, map(shutil.which, names)), None), shutil.which("chromedriver")
    if not (program and driver):
        raise LookupError("needs Chromium and chromedriver on the PATH (apt-get install chromium chromium-driver)")
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = program
    for argument in (*QUIET, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = Chrome(options=options, service=Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


def until(found: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, "the page never got there"
        time.sleep(0.05)


def screen(browser, width, height=900):
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def console(browser):
    return [entry["message"] for entry in browser.get_log("browser")]


def requested(browser):
    events = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return [url for url in sent if not url.startswith(("data:", "blob:"))]


def read_through(browser):
    """Scroll as a reader does, until every chart is awake."""
    for panel in browser.find_elements("css selector", ".panel"):
        browser.execute_script("arguments[0].scrollIntoView()", panel)
        until(lambda panel=panel: "awake" in panel.get_attribute("class"))


def axe(browser):
    """What axe-core finds wrong with a page for those who don't see it, one line for each element.

    Pictures that are hidden from those who listen are left out, as what is in them is never read: their thousands of
    parts take most of the time.
    The environment's UNDERTOW_AXE may name a newer axe.min.js than the installed one.
    """
    given = os.environ.get("UNDERTOW_AXE")
    script = Path(given) if given else Path(str(files("axe_core_python").joinpath("axe.min.js")))
    browser.execute_script(script.read_text("utf-8"))
    browser.set_script_timeout(120)
    found = browser.execute_async_script(AXE)
    return [f"{rule}: {element}" for rule, elements in found for element in elements]


AXE = """axe.run({ exclude: [['svg[aria-hidden="true"]']] }, { resultTypes: ['violations'] }).then(({ violations }) =>
  arguments[0](violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html.slice(0, 160))])))"""

CLIPPED = """
const clipped = [];
for (const text of document.querySelectorAll('svg text')) {
  const inside = text.getBoundingClientRect(), around = text.closest('svg').getBoundingClientRect();
  if (!inside.width || !text.checkVisibility()) continue;
  if (inside.left < around.left - 2 || inside.right > around.right + 2) clipped.push(text.textContent);
}
for (const element of innerWidth >= 1200 ? document.querySelectorAll('.scroll, .equation > div') : []) {
  const cut = element.checkVisibility() && element.scrollWidth > element.clientWidth + 1;
  if (cut) clipped.push(element.outerHTML.slice(0, 120));
}
for (const slider of document.querySelectorAll('input[type=range]')) {
  if (slider.checkVisibility() && slider.getBoundingClientRect().width < 120) clipped.push(slider.outerHTML);
}
return clipped;"""


def clipped(browser):
    """Text of pictures that is cut off, tables that scroll where the screen is wide, and sliders too short to use."""
    return browser.execute_script(CLIPPED)


HYPHENS = """
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
while (walk.nextNode()) {
  const { data, parentElement } = walk.currentNode;
  if (parentElement.closest('script, style, code, pre, svg')) continue;
  found.push(...(data.match(/(?<![\\w.)\\]-])-\\.?\\d.{0,12}|\\d %.{0,5}/g) ?? []));
}
return found;"""


def hyphens(browser):
    """Numbers with a hyphen for a minus sign, and a percent sign that a line may begin with."""
    return browser.execute_script(HYPHENS)
