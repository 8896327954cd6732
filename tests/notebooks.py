"""Notebooks kept as plain Python, in cells between lines of ``# %%`` as editors know them; run without a kernel."""

import ast
import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CELL = re.compile(r"^# %%(?P<kind> \[markdown\])?\n", re.MULTILINE)


@dataclass(frozen=True)
class Cell:
    """A cell: Markdown without its comment signs, or code."""

    text: str
    is_code: bool


def cells(path: Path) -> Iterator[Cell]:
    """Yield a notebook's cells in their order."""
    parts = CELL.split(path.read_text("utf-8"))[1:]
    for kind, text in zip(parts[::2], parts[1::2], strict=True):
        yield Cell(
            text.strip() if kind is None else re.sub(r"^# ?", "", text, flags=re.MULTILINE).strip(), kind is None
        )


def executed(path: Path) -> Iterator[tuple[Cell, str]]:
    """Run the cells one after another; yield each with what it prints, the value of its last line included."""
    space: dict[str, object] = {"__name__": "__main__"}
    for cell in cells(path):
        yield cell, _output(cell.text, path, space) if cell.is_code else ""


def _output(code: str, path: Path, space: dict[str, object]) -> str:
    tree, out = ast.parse(code), io.StringIO()
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(out):
        exec(compile(tree, str(path), "exec"), space)  # noqa: S102  # it is what a notebook runs
        value = eval(compile(ast.Expression(last.value), str(path), "eval"), space) if last else None  # noqa: S307
    return out.getvalue() + ("" if value is None else f"{value}\n")


def page(path: Path) -> str:
    """Return a notebook, run, as Markdown."""
    parts = []
    for cell, out in executed(path):
        parts.append(f"```python\n{cell.text}\n```" if cell.is_code else cell.text)
        if out.strip():
            parts.append(f"```text\n{out.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"
