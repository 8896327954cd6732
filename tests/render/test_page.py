import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from undertow.render.page import Article, Equation, Figure, Prose, Section, Table

LOADING = {
    "script": "src",
    "img": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "use": "href",
    "object": "data",
}


class Page(HTMLParser):
    """What a browser would find in a page: ids, loads, scripts, text by tag."""

    def __init__(self, text: str):
        super().__init__()
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.links: list[str] = []
        self.scripts: dict[str, list[str]] = {"": [], "application/json": []}
        self.text: dict[str, str] = {}
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self._open.append((tag, given))
        self.ids += [given["id"]] if given.get("id") else []
        self.links += [given["href"]] if tag == "a" else []
        if given.get(LOADING.get(tag, "")):
            self.loads.append(given[LOADING[tag]])

    def handle_endtag(self, tag):
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        tag, given = self._open[-1] if self._open else ("", {})
        self.text[tag] = self.text.get(tag, "") + data
        if tag == "script":
            self.scripts[given.get("type") or ""].append(data)


@pytest.fixture(scope="module")
def text(written):
    return written.read_text()


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def one(*blocks, **given):
    return Article("T", sections=[Section("s", "S", blocks)], **given)


def test_nothing_is_loaded_from_anywhere(page):
    assert page.loads
    assert all(address.startswith("data:") for address in page.loads)
    assert not re.search(r"@import|url\(\s*['\"]?(?!#|data:)", page.text["style"])


def test_ids_are_unique_and_links_into_the_page_lead_somewhere(page):
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_specifications_are_json_and_know_the_layer(page):
    specs = [json.loads(script) for script in page.scripts["application/json"]]
    assert len(specs) == 8
    assert all({"name": "layer", "value": None} in spec["params"] for spec in specs)


def test_the_libraries_are_there_once_and_only_listed_scripts_may_run(page, text):
    assert len(page.scripts[""]) == 2
    allowed = re.findall(r"sha256-([^' &]+)", text[: text.index("</head>")])
    assert allowed == [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in page.scripts[""]]


def test_text_that_tries_to_break_out_stays_text(page):
    assert "document.title = 'broken'" in page.text["h1"]
    assert not any("'broken'" in script for script in page.scripts[""])
    assert any("'broken'" in script for script in page.scripts["application/json"])


def test_figures_and_tables_are_numbered_in_order_and_links_say_so():
    table = Table(["a"], [[1]], id="numbers", caption="C")
    body = Prose("See [](#b), [](#a), [](#numbers), [](#eq-124), [](#s).")
    equation = Equation("x", number="124")
    html = one(body, Figure("a", chart(), "A"), Figure("b", chart(), "B"), table, equation).html()
    said = re.search(r"See (.*?)</p>", html)
    assert re.sub(r"<[^>]+>", "", said[1]) == "Figure 2, Figure 1, Table 1, equation (124), S."


def chart():
    import altair as alt

    return alt.Chart(alt.InlineData(values=[{"x": 1}])).mark_point().encode(x="x:Q")


@pytest.mark.parametrize(
    ("blocks", "complaint"),
    [
        ([Prose("[](#nowhere)")], "#nowhere, but the page has no such id"),
        ([Section("s", "again", [])], "'s' is used twice"),
        ([Section("Two words", "x", [])], "'Two words' can't be an address"),
        ([Equation(r"\oops")], r"\\oops"),
    ],
)
def test_a_page_that_would_be_wrong_is_not_written(blocks, complaint, tmp_path):
    with pytest.raises(ValueError, match=complaint):
        one(*blocks).write(tmp_path / "index.html", tmp_path / "figures")
    assert not list(tmp_path.iterdir())


def test_every_figure_is_saved_beside_the_page(written):
    names = {path.name for path in (written.parent / "figures").iterdir()}
    assert names == {
        f"{f}.{k}" for f in ("curves", "members", "neurons", "split", "factors", "weights") for k in ("svg", "png")
    }
    assert not list(written.parent.rglob("*.part"))


def test_a_page_without_charts_needs_no_layers_and_no_contents():
    html = one(Prose("Text.")).html()
    assert 'data-layer="' not in html
    assert 'class="contents"' not in html


def test_numbers_in_a_column_line_up_and_signs_are_signs():
    html = one(Table(["mean", "n", "word"], [[96.4, 1_000, "x"], [-9.75, None, "y"]])).html()
    cells = [
        (cell, "number" in kind)
        for kind, cell in re.findall(r"<td([^>]*)>([^<]*)</td>", html[: html.index("<script>")])
    ]
    expected = [("96.40", True), ("1,000", True), ("x", False), ("−9.75", True), ("–", True), ("y", False)]
    assert cells == expected


def test_the_same_article_gives_the_same_page(demo, text):
    assert demo.html() == text


def test_pages_are_made_without_torch():
    modules = "undertow.render.page, undertow.render.charts, undertow.render.dot_charts"
    seen = f"import sys, {modules}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True).stdout == "False\n"
