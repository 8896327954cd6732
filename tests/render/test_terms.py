import pytest

from undertow.render import terms
from undertow.render.page import Article, Prose, Section
from undertow.render.templating import filled

GLOSSARY = {"decade": "A factor of *ten*.", "norm": "A length; $x<1$ is short.", "dead unit": "It is <b>flat</b>."}


def test_whole_words_and_plurals_are_found_and_nothing_else():
    found = [term for term, _ in terms.used(["two Decades, abnormal, and dead units"], GLOSSARY)]
    assert found == ["dead unit", "decade"]


@pytest.fixture(name="known")
def _known(monkeypatch):
    monkeypatch.setattr(terms, "glossary", lambda: GLOSSARY)


@pytest.mark.usefixtures("known")
def test_a_page_explains_the_words_it_uses_at_its_foot():
    html = Article("T", sections=[Section("s", "S", [Prose("It loses a decade.")])]).html()
    foot = html[html.index("<footer") :]
    assert "<dt>decade</dt><dd>A factor of <em>ten</em>.</dd>" in foot
    assert "dead unit" not in foot


@pytest.mark.usefixtures("known")
def test_what_a_glossary_says_is_text():
    html = filled("run/runs.html", "dead units", {"name": "dead units"}, ("run/runs",))
    assert "It is &lt;b&gt;flat&lt;/b&gt;." in html


def test_without_a_glossary_there_is_no_empty_place(monkeypatch):
    monkeypatch.setattr(terms, "glossary", dict)
    assert 'class="glossary"' not in Article("T", sections=[Section("s", "S", [Prose("A decade.")])]).html()
