"""The site builds strictly, and every link in it leads somewhere; its pages load nothing from elsewhere."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from reading import axe, screen, until
from scripts import ROOT

pytest.importorskip("mkdocs")


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links, self.ids, self.loaded = [], set(), []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids.add(given.get("id"))
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        self.loaded += [given.get("src")] * (tag in ("img", "script", "iframe"))
        self.loaded += [given.get("href")] * (tag == "link" and "stylesheet" in (given.get("rel") or ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def pages(site):
    found = {}
    for path in site.rglob("*.html"):
        found[path] = _Links()
        found[path].feed(path.read_text("utf-8"))
    return found


def test_every_link_leads_to_a_page_and_a_place_in_it(pages, site):
    broken = []
    for path, page in pages.items():
        for link in page.links if path.name != "404.html" else ():
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            there = target in pages or target.is_file()
            if not there or (parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken


def test_pages_load_nothing_from_elsewhere(pages):
    assert not [each for page in pages.values() for each in page.loaded if each and urlsplit(each).netloc]


def test_every_rule_has_a_page_with_a_network_and_what_became_of_such(pages, site):
    from undertow.rules import RULES
    from undertow.rules.consequences import table

    graded = {row.code for row in table()}
    for code in (code for code in RULES if code.startswith("UT")):
        assert code.lower() in pages[site / "rules.html"].ids
        text = (site / "rules" / f"{code}.html").read_text("utf-8")
        assert "What to do." in text
        assert "import undertow" in re.sub("<[^>]+>", "", text) or "undertow." in text
        assert ("median speed-up" in text) is (code in graded)
        picture = site / "pictures" / "rules" / f"{code}.svg"
        assert (f'src="../pictures/rules/{code}.svg"' in text) is picture.exists()


def test_every_remedy_has_a_short_anchor(pages, site):
    from undertow.remedies import KINDS

    assert {code.lower() for code in KINDS} <= pages[site / "remedies.html"].ids


def test_the_search_knows_what_the_pages_say(site):
    index = Path(site, "search", "search_index.js").read_text("utf-8")
    assert re.search("stuck at ln", index)


def test_search_works_from_files_and_asks_nobody(browser, site):
    browser.get((site / "howto" / "index.html").as_uri())
    field = browser.find_element("css selector", ".md-search__input")
    browser.execute_script("arguments[0].focus()", field)
    field.send_keys("grad_norm is 0")
    results = browser.find_element("css selector", ".md-search-result")
    until(lambda: "grad_norm is 0" in results.get_attribute("textContent"))
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [each["params"]["request"]["url"] for each in asked if each["method"] == "Network.requestWillBeSent"]
    assert urls
    assert not [url for url in urls if url.startswith("http")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index.html", "rules.html", "rules/UT101.html", "howto/rnn-forgets.html"])
def test_axe_finds_nothing(browser, site, name, scheme):
    scheme = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    screen(browser, 360)
    browser.get((site / name).as_uri())
    until(lambda: browser.execute_script("return document.readyState === 'complete'"))
    assert axe(browser) == []
