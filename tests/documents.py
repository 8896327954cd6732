"""Run the Python blocks of a Markdown page as a reader would, and hold what they print to what stands beneath them.

A block of ``python`` is run in the page's own namespace, after what an HTML comment that begins with ``setup`` holds. A
``text`` block right beneath it is what it prints, or a part of that. ``python tests/documents.py PAGE...`` writes what
is printed into such blocks.
"""

import contextlib
import io
import linecache
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

PIECE = re.compile(
    r"<!-- setup\n(?P<setup>.*?)-->|```python\n(?P<code>.*?)```(?:\n+```text\n(?P<shown>.*?)```)?", re.DOTALL
)
HEAD = re.compile(r"\A  run   .*?\n\n", re.DOTALL)
"""What a watched run says of its own time."""

MORE = re.compile(r"^  (more: undertow |loss  |layer  ).*", re.MULTILINE | re.DOTALL)
"""Where a report begins to tell what few readers need: pages show the part before."""

FILE = "net.py"
"""What a reader's file is called."""


@dataclass(frozen=True)
class Block:
    """A block of Python, what stands beneath it, and where that is in the page."""

    code: str
    shown: str | None
    span: tuple[int, int]


def blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of a page, and what is to be set up for them, in their order."""
    for found in PIECE.finditer(text):
        code = found["setup"] if found["setup"] is not None else found["code"]
        yield Block(code, found["shown"], found.span("shown"))


def run(page: Path, namespace: dict[str, object] | None = None) -> Iterator[tuple[Block, str]]:
    """Run a page's blocks one after another; yield each with what it printed."""
    space: dict[str, object] = {"__name__": "__page__", **(namespace or {})}
    for block in blocks(page.read_text("utf-8")):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(_compiled(block.code), space)  # noqa: S102  # it is what pages tell to run
        yield block, out.getvalue()


def _compiled(code: str) -> CodeType:
    """Compile a block so that messages name its lines as those of the reader's file."""
    linecache.cache[FILE] = (len(code), None, code.splitlines(keepends=True), FILE)
    return compile(code, FILE, "exec")


def part(out: str) -> str:
    """Return the part of an output that a page shows."""
    return MORE.sub("", HEAD.sub("", out)).rstrip() + "\n"


def words(text: str) -> str:
    """Return a text without its numbers, bars and line breaks, which are one machine's."""
    return " ".join(re.sub(r"[▁▂▃▄▅▆▇█#]+|[\d.,]+(e-?\d+)?", "N", text).split())


def rewritten(page: Path) -> str:
    """Return the page with what its blocks print today."""
    text = page.read_text("utf-8")
    for block, out in reversed(list(run(page))):
        if block.shown is not None:
            start, end = block.span
            text = text[:start] + part(out) + text[end:]
    return text


if __name__ == "__main__":
    pages = [Path(name).resolve() for name in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # pages may write files
        for page in pages:
            page.write_text(rewritten(page), "utf-8")
