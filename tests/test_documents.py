"""Every page whose code a reader may paste is run as it stands, and prints what stands beneath it."""

import re
from pathlib import Path

import pytest

from documents import blocks, part, run, words

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {
    path.relative_to(DOCS).as_posix(): path
    for folder in ("howto", "explanation")
    for path in sorted((DOCS / folder).glob("*.md"))
    if any(blocks(path.read_text("utf-8")))
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _holds(page):
    for block, out in run(page):
        if block.shown is not None:
            assert words(block.shown) == words(part(out))


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.filterwarnings("default")
def test_blocks_print_what_stands_beneath_them(name):
    _holds(PAGES[name])


@pytest.mark.filterwarnings("default")
def test_the_tutorial_prints_what_stands_in_it():
    _holds(DOCS / "tutorial.md")


def test_every_how_to_shows_a_snippet_with_its_output_why_and_what_to_do():
    how_tos = [path for path in (DOCS / "howto").glob("*.md") if path.stem != "index"]
    assert len(how_tos) >= 40
    for path in how_tos:
        text = path.read_text("utf-8")
        for part_of_it in ("# ", "**What you see.**", "**Why.**", "**What to do.**"):
            assert part_of_it in text, f"{path.name} lacks {part_of_it!r}"
        assert any(block.shown for block in blocks(text)), path.name


def test_every_how_to_is_listed():
    listed = set(re.findall(r"\]\((\S+?)\.md\)", (DOCS / "howto" / "index.md").read_text("utf-8")))
    assert listed == {path.stem for path in (DOCS / "howto").glob("*.md")} - {"index"}
