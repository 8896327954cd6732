"""Write for the terminal: text of a width, plain or coloured, and tables that fit."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO, TextIOWrapper
from textwrap import indent
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from undertow.printable import printable
from undertow.render.labels import elided

WIDTH = 100
"""Columns of text that is saved, whatever the terminal is."""

PROSE = 100
"""Columns that a sentence is broken at: longer lines are hard to read, however wide the terminal is."""

INDENT, GAP = 2, 2
LEAST_NAME, NAME_ROOM = 12, 34
"""Signs that a table's first column keeps at least, and those that other columns are left out for."""


class Screen(NamedTuple):
    """Describe where text is printed: how many columns it has, and whether it shows colours."""

    width: int = WIDTH
    coloured: bool = False


def screen() -> Screen:
    """Return what standard output is: no colour where it is no terminal, or where NO_COLOR asks for none."""
    console = Console(file=sys.stdout, force_jupyter=False)
    shows = console.is_terminal and not console.no_color and console.color_system is not None
    return Screen(console.width, shows and isinstance(sys.stdout, TextIOWrapper))  # a notebook calls itself a terminal


@dataclass(frozen=True)
class Code:
    """Lines to copy: they are never broken nor cut, however narrow the screen is, as that would break the code."""

    lines: str
    indent: int = 0

    def indented(self, by: int) -> Text:
        """Return the lines as text, each with so many spaces more in front of it."""
        return Text(indent(printable(self.lines.rstrip("\n"), lines=True), " " * (self.indent + by)), "green")

    def __rich__(self) -> Text:
        return self.indented(0)


def printed(parts: Iterable[RenderableType], on: Screen | None = None) -> str:
    """Return the parts as text, with an empty line after each.

    Args:
        parts: what rich can draw.
        on: where it will be printed; `WIDTH` columns without colour unless given.

    Example:
        >>> printed(["one", "two"])
        '  one\\n\\n  two\\n'
    """
    output, on = StringIO(), on or Screen()
    console = Console(
        file=output,
        width=max(on.width, LEAST_NAME + INDENT),
        force_terminal=on.coloured,
        color_system="standard" if on.coloured else None,
        no_color=not on.coloured,
        force_jupyter=False,  # there it would print to the cell, and into no file
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        _environ={},
    )
    for part in parts:
        for piece in part.renderables if isinstance(part, Group) else [part]:
            if isinstance(piece, Code):
                console.print(piece.indented(INDENT), soft_wrap=True)
            else:
                console.print(Padding(_Printable(piece), (0, 0, 0, INDENT)))
        console.print()
    lines = output.getvalue().split("\n")[:-1]
    return "\n".join(line if on.coloured else line.rstrip() for line in lines)


class _Printable:
    """Shows a part without control characters: names come from models and files, and none shall reach the terminal."""

    def __init__(self, part: RenderableType) -> None:
        self._part = part

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self._part, options):
            yield Segment(printable(segment.text, lines=True), segment.style)


@dataclass(frozen=True)
class Column:
    """One column of a table that has to fit.

    Attributes:
        name: above it.
        cells: one for each row.
        worth: columns of the least worth are left out first where there is no room.
        right: whether numbers stand in it.
    """

    name: str
    cells: Sequence[str]
    worth: float
    right: bool = True

    @property
    def width(self) -> int:
        """The signs of its longest cell."""
        return max(map(cell_len, (self.name, *self.cells)))


def fitted(names: Column, columns: Sequence[Column], width: int) -> Table:
    """Return a table no wider than so many columns of the terminal.

    Columns of the least worth are left out as long as it is too wide; then names are shortened.

    Args:
        names: the first column, which always stays.
        columns: the others, in their order.
        width: of the terminal.

    Example:
        >>> speed, cause = Column("speed", ["1.0"], 2.0), Column("cause", ["weights"], 1.0)
        >>> [len(fitted(Column("layer", ["fc"], 9.0), [speed, cause], width).columns) for width in (40, 16)]
        [3, 2]
    """
    kept, least = list(columns), min(names.width, max(LEAST_NAME, min(NAME_ROOM, width * 2 // 5)))
    while kept and INDENT + least + sum(GAP + each.width for each in kept) > width:
        kept.remove(min(kept, key=lambda each: each.worth))
    room = width - INDENT - sum(GAP + each.width for each in kept)
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
    for each in (names, *kept):
        table.add_column(each.name, justify="right" if each.right else "left", no_wrap=True)
    shown = [elided(name, max(room, LEAST_NAME)) for name in names.cells]
    for name, *cells in zip(shown, *(each.cells for each in kept), strict=True):
        if any(cells) or len(kept) == len(columns):  # nothing is left of a row whose columns were left out
            table.add_row(name, *cells)
    return table
