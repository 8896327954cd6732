"""The parts of an article. These say what is there; ``page`` says how it looks."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from undertow.render.figures import Charts, as_list
from undertow.render.rows import Row

TEXT_WIDTH, WIDE_WIDTH = 640, 960


@dataclass(frozen=True)
class Prose:
    """Paragraphs and lists in Markdown, with ``$maths$``, and ``[](#id)`` for what is elsewhere on the page."""

    text: str


@dataclass(frozen=True)
class Callout:
    """A boxed aside with a title; Markdown."""

    title: str
    text: str


@dataclass(frozen=True)
class Snippet:
    """Lines of code to copy, with a button that does; plain text."""

    text: str


@dataclass(frozen=True)
class Folded:
    """Blocks that are shown when somebody asks for them, under a title in plain text."""

    title: str
    blocks: Sequence["Block"]


@dataclass(frozen=True)
class Equation:
    """A displayed equation in LaTeX; ``number`` as in the book ("121"), ``spoken`` for those who listen."""

    latex: str
    number: str = ""
    spoken: str = ""

    @property
    def id(self) -> str:
        """``eq-121``; without a number there is nothing to link to."""
        return f"eq-{self.number}" if self.number else ""


@dataclass(frozen=True)
class ClaimVerdict:
    """A table cell: does what was claimed hold?"""

    holds: Literal["yes", "partly", "no"]


Cell = str | float | ClaimVerdict | None


@dataclass(frozen=True)
class Table:
    """Rows under column headings.

    Attributes:
        columns: headings, Markdown.
        rows: cells; strings are Markdown, floats are written to three digits, None is a dash.
        caption: what the table shows, Markdown.
        id: for links; a table with one is numbered.
        stacked: on a phone, make a card of every row. It suits cells of many words; other tables scroll sideways.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    id: str = ""
    stacked: bool = False

    @classmethod
    def of(cls, rows: Iterable[Row], **given: Any) -> "Table":
        """A table of mappings that all have the same keys, which head the columns.

        Example:
            >>> Table.of([{"layer": 1, "speed": 0.07}]).rows
            [[1, 0.07]]
        """
        listed = list(rows)
        return cls(columns=list(listed[0]) if listed else [], rows=[list(row.values()) for row in listed], **given)


@dataclass(frozen=True)
class Figure:
    """A chart, or several as panels, with a number, a title and a caption.

    Attributes:
        id: for links, and the name of its files.
        charts: one altair chart or several.
        title: what the figure shows: a sentence a reader can take away. Markdown, as is the caption.
        caption: how to read it, and what was measured.
        table: the numbers behind it, folded away under it: rows or a Table.
        shows: what is seen in it, for those who don't see it; by default each chart is described from its data.
        columns: panels side by side where there is room; on a phone they stand below each other.
        wide: wider than the text; by default panels are, and a single chart isn't.
    """

    id: str
    charts: Charts
    title: str
    caption: str = ""
    table: Table | Sequence[Row] = ()
    columns: int = 2
    wide: bool | None = None
    shows: str = ""

    @property
    def is_wide(self) -> bool:
        """Tell whether it is wider than the text."""
        return self.wide if self.wide is not None else len(as_list(self.charts)) > 1

    @property
    def width(self) -> int:
        """Pixels it is drawn with, before a page fits it."""
        return WIDE_WIDTH if self.is_wide else TEXT_WIDTH

    @property
    def numbers(self) -> Table | None:
        """The numbers behind it as a Table."""
        return self.table if isinstance(self.table, Table) else Table.of(self.table) if self.table else None


@dataclass(frozen=True)
class Instrument:
    """Something to play with, drawn by the scripts in ``templates/explore`` from the article's ``instruments``.

    Attributes:
        id: for links.
        title: what can be found out with it. Markdown, as is the caption.
        template: its controls: the name of an HTML template in ``templates/explore``.
        caption: how to read it.
    """

    id: str
    title: str
    template: str
    caption: str = ""


@dataclass(frozen=True)
class TreeLine:
    """A line of a `Tree` with the lines under it. Plain text throughout.

    Attributes:
        label: its name.
        note: what is said beside the name, paler.
        cells: one for each of the tree's columns.
        flag: what stands out about it, in a word or two.
        parts: the lines under it.
        unfolded: whether these are shown at first.
    """

    label: str
    note: str = ""
    cells: Sequence[str] = ()
    flag: str = ""
    parts: Sequence["TreeLine"] = ()
    unfolded: bool = False


@dataclass(frozen=True)
class Tree:
    """A table whose lines fold: ``first`` heads the names, ``columns`` the cells; the caption is Markdown.

    The last ``optional`` columns are left out on a phone.
    """

    first: str
    columns: Sequence[str]
    branches: Sequence[TreeLine]
    caption: str = ""
    optional: int = 0


Tone = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Section:
    """A heading, linked from the table of contents, and what follows it; sections may nest.

    ``tone`` puts that word as a label before the heading.
    """

    id: str
    title: str
    blocks: Sequence["Block"]
    tone: Tone | None = None


Block = Prose | Callout | Snippet | Folded | Equation | Table | Tree | Figure | Instrument | Section


def walk(blocks: Iterable[Block]) -> Iterator[Block]:
    """Every block in reading order, sections before what is in them.

    Example:
        >>> [type(block).__name__ for block in walk([Section("a", "A", [Prose("x"), Equation("y")])])]
        ['Section', 'Prose', 'Equation']
    """
    for block in blocks:
        yield block
        if isinstance(block, Section | Folded):
            yield from walk(block.blocks)
