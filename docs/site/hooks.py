"""What the site adds to pages that are read on GitHub as well: anchors, links out of docs/, how-tos, notebooks run."""

import re
import sys
import tomllib
from functools import cache
from pathlib import Path
from textwrap import indent
from typing import Any
from urllib.parse import urlsplit

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import notebooks
from documents import blocks

NOTEBOOKS = ROOT / "docs" / "notebooks"
HOW_TOS = ROOT / "docs" / "howto"
HEADING = re.compile(r"^## ((?:UT|UR)\d{3}) (.*)$", re.MULTILINE)
OUTSIDE = re.compile(r"\]\(((?:\.\./)+[^)#\s]+)(#[^)\s]*)?\)")
FIRST_CODE = re.compile(r"\b(UT\d{3}) (?:error|warning|note)\b")


def on_config(config: Any) -> Any:
    """Take the addresses from pyproject.toml, the one place where they stand, and list every how-to."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]
    config.site_url = urls["Documentation"]
    # A link at the page's foot and no repo_url: with that the theme asks the host for stars whenever a page is read.
    config.extra["social"] = [{"icon": "fontawesome/solid/code-branch", "link": urls["Repository"], "name": "Source"}]
    how_tos = next(entry["How-to"] for entry in config.nav if isinstance(entry, dict) and "How-to" in entry)
    how_tos += [f"howto/{name}.md" for name in listed(HOW_TOS)]
    shown = next(entry["Notebooks"] for entry in config.nav if isinstance(entry, dict) and "Notebooks" in entry)
    shown += [f"notebooks/{name}.md" for name in listed(NOTEBOOKS)]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Run every notebook and add it as a page."""
    for name in listed(NOTEBOOKS):
        content = notebooks.page(NOTEBOOKS / f"{name}.py")
        files.append(File.generated(config, f"notebooks/{name}.md", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Give rules and remedies short anchors and their how-tos; let links out of docs/ lead to the source."""
    del files
    folder = (ROOT / "docs" / page.file.src_uri).parent

    def outside(found: re.Match[str]) -> str:
        target = (folder / found[1]).resolve()
        if target.is_relative_to(ROOT / "docs"):
            return found[0]
        return f"]({config.extra['social'][0]['link']}/blob/main/{target.relative_to(ROOT)}{found[2] or ''})"

    owner = urlsplit(config.extra["social"][0]["link"]).path.split("/")[1]
    markdown = OUTSIDE.sub(outside, markdown).replace("OWNER/undertow", f"{owner}/undertow")
    if page.file.src_uri in ("rules.md", "remedies.md"):
        markdown = HEADING.sub(lambda found: f"{_anchored(found)}{_shown_in(found[1])}", markdown)
    return markdown


def _anchored(found: re.Match[str]) -> str:
    return f"## {found[1]} {found[2]} {{ #{found[1].lower()} }}"


def _shown_in(code: str) -> str:
    paths = examples().get(code, ())
    if not paths:
        return ""
    links = ", ".join(f"[{title(path)}](howto/{path.name})" for path in paths)
    return f"\n\n*Seen in*: {links}.\n\n{_firing(paths[0])}"


def _firing(path: Path) -> str:
    """Return a network in which a rule fires, and what is printed of it, folded."""
    block = next(each for each in blocks(path.read_text("utf-8")) if each.shown)
    body = f"```python\n{block.code.rstrip()}\n```\n\n```text\n{(block.shown or '').rstrip()}\n```"
    return f'??? example "A network in which it fires"\n\n{indent(body, "    ")}\n'


def title(path: Path) -> str:
    """Return a page's title."""
    return path.read_text("utf-8").partition("\n")[0].removeprefix("# ")


def listed(folder: Path) -> list[str]:
    """Return the names of a folder's pages in the order of its index."""
    return re.findall(r"\]\((\w[\w-]*)\.md\)", (folder / "index.md").read_text("utf-8"))


@cache
def examples() -> dict[str, list[Path]]:
    """Return the how-tos by the code of what is found first in them."""
    found: dict[str, list[Path]] = {}
    for name in listed(HOW_TOS):
        path = HOW_TOS / f"{name}.md"
        if (code := FIRST_CODE.search(path.read_text("utf-8"))) is not None:
            found.setdefault(code[1], []).append(path)
    return found
