"""How a test reads a page: in a real browser, scrolling as a reader does, with an eye on console and network."""

import json
import time
from collections.abc import Callable


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
