"""Pages lead to the documentation where the installed package says where that is, and do without it elsewhere."""

import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from undertow import links

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


class _Metadata:
    def __init__(self, *urls):
        self.urls = list(urls)

    def get_all(self, _name):
        return self.urls or None


@pytest.fixture
def known(monkeypatch):
    """Say what the package's metadata holds."""

    def say(*urls):
        monkeypatch.setattr(links, "metadata", lambda _name: _Metadata(*urls))
        links.documentation.cache_clear()

    yield say
    monkeypatch.undo()
    links.documentation.cache_clear()


def test_addresses_are_made_of_the_one_that_the_package_knows(known):
    known("Repository, https://a.example/b", "Documentation, https://docs.example/undertow")
    assert links.of_rule("UT101") == "https://docs.example/undertow/rules/UT101.html"
    assert links.of_rule("UR101") == "https://docs.example/undertow/remedies.html#ur101"


def test_a_package_that_is_not_installed_knows_none(known, monkeypatch):
    known()
    assert links.of_rule("UT101") == ""

    def missing(_name):
        raise PackageNotFoundError

    monkeypatch.setattr(links, "metadata", missing)
    links.documentation.cache_clear()
    assert links.documentation() == ""


def test_a_page_links_to_its_rule_and_to_the_words_or_works_without(known, vanishing, tmp_path):
    known("Documentation, https://docs.example/")
    linked = vanishing.save(tmp_path / "linked.html").read_text("utf-8")
    code = vanishing.findings[0].code
    assert f'<a href="https://docs.example/rules/{code}.html"><code>undertow rule {code}</code></a>' in linked
    assert '<a href="https://docs.example/">' in linked
    known()
    plain = vanishing.save(tmp_path / "plain.html").read_text("utf-8")
    assert f"<code>undertow rule {code}</code>" in plain
    assert "docs.example" not in plain


def test_the_project_says_where_its_documentation_is():
    urls = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["urls"]
    assert {"Documentation", "Repository", "Issues", "Changelog"} <= set(urls)
