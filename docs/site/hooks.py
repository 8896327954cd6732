"""What the site adds to pages that are read on GitHub as well: anchors, links, rules, notebooks run, studies' pages."""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "docs" / "site")]

import rule_pages
from rule_examples import HOW_TOS, listed

import notebooks

NOTEBOOKS = ROOT / "docs" / "notebooks"
GALLERY = ROOT / "gallery"
"""Where `make gallery` leaves the studies' pages."""

STUDY = re.compile(r"^\| (\w+\d*) \|(?= [A-Z])", re.MULTILINE)
HEADING = re.compile(r"^## (UR\d{3}) (.*)$", re.MULTILINE)
OUTSIDE = re.compile(r"\]\(((?:\.\./)+[^)#\s]+)(#[^)\s]*)?\)")


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
    """Run every notebook and add it as a page; add a page for every rule, and of studies what `make gallery` made."""
    for rule in rule_pages.ours():
        files.append(File.generated(config, f"rules/{rule.code}.md", content=rule_pages.page(rule)))
    for name in listed(NOTEBOOKS):
        content = notebooks.page(NOTEBOOKS / f"{name}.py")
        files.append(File.generated(config, f"notebooks/{name}.md", content=content))
    for made in sorted(GALLERY.glob("*/*.html")):
        files.append(File.generated(config, f"gallery/{made.parent.name}/{made.name}", abs_src_path=str(made)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """List the rules, give remedies short anchors, let links out of docs/ lead to the source."""
    del files
    folder = (ROOT / "docs" / page.file.src_uri).parent

    def outside(found: re.Match[str]) -> str:
        target = (folder / found[1]).resolve()
        if target.is_relative_to(ROOT / "docs"):
            return found[0]
        return f"]({config.extra['social'][0]['link']}/blob/main/{target.relative_to(ROOT)}{found[2] or ''})"

    owner = urlsplit(config.extra["social"][0]["link"]).path.split("/")[1]
    markdown = OUTSIDE.sub(outside, markdown).replace("OWNER/undertow", f"{owner}/undertow")
    if page.file.src_uri == "rules.md":
        return rule_pages.listing()
    if page.file.src_uri == "gallery.md":
        return STUDY.sub(_with_its_page, markdown)
    return HEADING.sub(_anchored, markdown) if page.file.src_uri == "remedies.md" else markdown


def _with_its_page(found: re.Match[str]) -> str:
    made = (GALLERY / found[1] / "index.html").exists()
    return f"| [{found[1]}](gallery/{found[1]}/index.html) |" if made else found[0]


def _anchored(found: re.Match[str]) -> str:
    return f"## {found[1]} {found[2]} {{ #{found[1].lower()} }}"


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Name the search's dialog for those who listen to the page: the theme doesn't."""
    del page, config
    return output.replace(
        'data-md-component="search" role="dialog"', 'data-md-component="search" role="dialog" aria-label="Search"'
    )
