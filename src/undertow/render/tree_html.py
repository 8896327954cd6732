"""The lines of a `Tree` as HTML: written by hand, as a template takes ten times as long for each of 10,000."""

from collections.abc import Iterable, Iterator
from functools import lru_cache

from markupsafe import Markup, escape

from undertow.formatting import typeset
from undertow.printable import printable
from undertow.render.blocks import Tree, TreeLine


def tree_lines(tree: Tree) -> Markup:
    """Return every line of a tree, each with those under it.

    Example:
        >>> print(tree_lines(Tree("operation", ("gradient",), [TreeLine("fc<1>", "30", ("1e-3",))])))
        <div class="line" style="--depth: 0"><span class="name"><b>fc&lt;1&gt;</b> <i>30</i></span><span class="cell">1×10⁻³</span></div>
    """  # noqa: E501  # a line of HTML
    needed = len(tree.columns) - tree.optional
    return Markup("\n".join(_lines(tree.branches, 0, needed)))  # noqa: S704  # escaped below


def _lines(branches: Iterable[TreeLine], depth: int, needed: int) -> Iterator[str]:
    for branch in branches:
        words = f'class="line" style="--depth: {depth}">{_line(branch, needed)}'
        if not branch.parts:
            yield f"<div {words}</div>"
            continue
        yield f"<details{' open' if branch.unfolded else ''}><summary {words}</summary>"
        yield from _lines(branch.parts, depth + 1, needed)
        yield "</details>"


def _line(branch: TreeLine, needed: int) -> str:
    note = f" <i>{_written(branch.note)}</i>" if branch.note else ""
    flag = f" <em>{_text(branch.flag)}</em>" if branch.flag else ""
    cells = (
        f'<span class="cell{" optional" if place >= needed else ""}">{_written(cell)}</span>'
        for place, cell in enumerate(branch.cells)
    )
    return f'<span class="name"><b>{_text(branch.label)}</b>{note}{flag}</span>{"".join(cells)}'


@lru_cache(maxsize=4096)
def _written(text: str) -> str:
    return _text(typeset(text))


def _text(text: str) -> str:
    return str(escape(printable(text, lines=True)))
