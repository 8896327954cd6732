"""An article as one HTML file: text, equations, tables and linked charts, for a reader without network.

Put blocks into sections, sections into an ``Article``, and ``write`` it. Figures and tables are numbered in order, and
``[](#speed)`` in any text becomes "Figure 3", linked. Every chart of a lively page is there twice: drawn, as an SVG
that needs no script and prints well, and as a specification that takes its place when the reader comes near. A page
that is not lively has drawings only, and a tenth of the size.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from undertow import activations
from undertow.files import write_whole
from undertow.formatting import DASH, MINUS, aligned, typeset
from undertow.render import figures, markup, terms
from undertow.render.blocks import (
    Block,
    Callout,
    Cell,
    ClaimVerdict,
    Equation,
    Figure,
    Folded,
    Instrument,
    Prose,
    Section,
    Snippet,
    Table,
    Tone,
    Tree,
    TreeLine,
    walk,
)
from undertow.render.seen import seen
from undertow.render.stills import Still
from undertow.render.templating import environment, inert, policy, scripted, source
from undertow.render.theme import layer_colours
from undertow.render.tree_html import tree_lines

__all__ = [
    "Article",
    "Block",
    "Callout",
    "ClaimVerdict",
    "Equation",
    "Figure",
    "Folded",
    "Instrument",
    "Prose",
    "Section",
    "Snippet",
    "Table",
    "Tree",
    "TreeLine",
]

LONGEST_NUMBER = 32


@dataclass(frozen=True)
class Article:
    """A page: what it is called, what it says first, its sections, and how it was made.

    Attributes:
        title, subtitle: of the page, plain text.
        lead: its first paragraphs, Markdown.
        tone: how bad what the title says is.
        answer: what to do about it, right under the lead.
        sections: everything else.
        meta: how it was made (versions, seeds, data), name -> value, told at its end.
        instruments: what its instruments read, plain values for JSON; None where it has none.
        lively: whether its charts come to life; where not, they are drawings that tell a pointer their numbers.

    Example:
        >>> page = Article("Why?", sections=[Section("why", "Because", [Prose("Since $x<1$.")])])
        >>> page.html()[:15]
        '<!DOCTYPE html>'
    """

    title: str
    subtitle: str = ""
    lead: str = ""
    sections: Sequence[Section] = ()
    meta: Mapping[str, str] = field(default_factory=dict)
    instruments: Mapping[str, Any] | None = None
    tone: Tone | None = None
    answer: Sequence[Block] = ()
    lively: bool = True

    def html(self) -> str:
        """The whole page as text.

        Raises:
            ValueError: an id that is used twice or not fit to be one, a link to an id that isn't there, LaTeX that
                can't be set.
        """
        return _rendered(self, {f.id: _panels(f) for f in _figures(self)})

    def write(self, path: Path, figures_in: Path | None = None) -> Path:
        """Write the page and, given ``figures_in``, each figure as ``<id>.svg`` and ``<id>.png`` there.

        Every file appears whole or not at all. Errors as in ``html``.
        """
        panels = {f.id: _panels(f) for f in _figures(self)}
        text = _rendered(self, panels)
        if figures_in:
            for figure in _figures(self):
                whole = figures.beside([panel.svg for panel in panels[figure.id]], figure.columns)
                figures.save_svg(whole, figures_in / figure.id)
        write_whole(path, text.encode())
        return path


@dataclass(frozen=True, eq=False)
class Panel:
    """One chart of a figure, drawn and as a specification; ``name`` is its own among all charts of a page."""

    spec: figures.Spec
    svg: str
    name: str = ""

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the drawing, pixels."""
        return figures.size(self.svg)

    @property
    def fits(self) -> bool:
        """Tell whether the live chart follows the width of the page, or is scaled as the drawing is."""
        return self.spec.get("width") == "container"

    @property
    def address(self) -> Markup:
        """The drawing as a data URI for an attribute in single quotes (percent-encoding only what must be is half of
        base64's cost).
        """
        encoded = self.svg.translate({ord(sign): f"%{ord(sign):02X}" for sign in "%#'&<>\n"})
        return Markup("data:image/svg+xml," + encoded)  # noqa: S704  encoded here

    @property
    def json(self) -> Markup:
        """The specification for a script element."""
        return inert(self.spec)

    @property
    def seen(self) -> str:
        """Return in a sentence what is seen in the chart."""
        return seen(self.spec)

    @cached_property
    def still(self) -> Still:
        """The chart as an SVG within a page."""
        return Still.of(self.spec, self.name)

    @property
    def layers(self) -> set[int]:
        """The layers its rows speak of."""
        rows = (row for rows in self.spec.get("datasets", {}).values() for row in rows)
        return {row["layer"] for row in rows if isinstance(row.get("layer"), int)}


def _figures(article: Article) -> list[Figure]:
    return [block for block in walk(article.sections) if isinstance(block, Figure)]


def _panels(figure: Figure) -> list[Panel]:
    charts = figures.as_list(figure.charts)
    each = figures.panel_width(figure.width, len(charts), figure.columns)
    specs = [figures.to_spec(chart) for chart in charts]
    return [Panel(spec, figures.drawn(spec, each), f"{figure.id}-{k}") for k, spec in enumerate(specs)]


def _rendered(article: Article, panels: Mapping[str, Sequence[Panel]]) -> str:
    names = _names(article.sections)
    layers = set().union(*(panel.layers for several in panels.values() for panel in several))
    scripts = _scripts(article)
    return (
        _environment()
        .get_template("article.html")
        .render(
            article=article,
            panels=panels,
            names=names,
            terms=terms.used(terms.texts_of(article)),
            layers=list(enumerate(layer_colours(max(layers, default=0)), 1)),
            css=Markup(_styles(article)),  # noqa: S704  our own files
            inert=inert,
            scripts=[Markup(script) for script in scripts],  # noqa: S704  our own file and a bundle without </script
            policy=policy(scripts),
            paragraphs=partial(markup.paragraphs, names=names),
            phrase=partial(markup.phrase, names=names),
        )
    )


EXPLORING = (
    "numbers",
    "activations",
    "chain",
    "window",
    "phases",
    "drawing",
    "chain-view",
    "region-view",
    "phase-view",
)


def _scripts(article: Article) -> list[str]:
    """Return the scripts of the page: the charts' library only where there are lively charts."""
    lively = article.lively and _figures(article)
    scripts = [figures.vega_bundle()] if lively else []
    scripts.append(
        scripted(source(f"{name}.js") for name in ("address", "copy", "page", "lively" if lively else "told"))
    )
    if article.instruments is not None:
        exploring = [_exploring(name) for name in (*EXPLORING, "main")]
        scripts.append(scripted([source("address.js"), *exploring]))
    return scripts


def _exploring(name: str) -> str:
    """Return a script of the page to play with, with the table of all activations behind what they are made of."""
    return source(f"explore/{name}.js") + (f"{activations.script()}\n" if name == "activations" else "")


def _styles(article: Article) -> str:
    return source("page.css") + (source("explore/explore.css") if article.instruments is not None else "")


def _names(blocks: Iterable[Block]) -> dict[str, str]:
    """Name every id on the page; figures and tables are numbered in order."""
    names: dict[str, str] = {}
    count = {Figure: 0, Table: 0}
    for block in walk(blocks):
        if isinstance(block, Prose | Callout | Tree | Snippet | Folded) or not block.id:
            continue
        if not re.fullmatch(r"[a-z][a-z0-9-]*", block.id):
            raise ValueError(f"the id {block.id!r} can't be an address: use lower-case letters, digits and hyphens")
        if block.id in names:
            raise ValueError(f"the id {block.id!r} is used twice, so a link could mean either: rename one of them")
        if isinstance(block, Section | Instrument):
            names[block.id] = block.title
        elif isinstance(block, Equation):
            names[block.id] = f"equation ({block.number})"
        else:
            count[type(block)] += 1
            names[block.id] = f"{type(block).__name__} {count[type(block)]}"
    return names


@cache
def _environment() -> Environment:
    filters: dict[str, Callable[..., Any]] = {
        "columns": _columns,
        "mathml": markup.mathml,
        "typeset": typeset,
        "lines": tree_lines,
        "kind": lambda block: type(block).__name__.lower(),
    }
    return environment(filters, {"numeric": _numeric, "verdict": lambda cell: isinstance(cell, ClaimVerdict)})


def _columns(table: Table) -> list[list[str | ClaimVerdict]]:
    """The cells as text, by column, since numbers are written to suit their column."""
    return [_column([row[k] for row in table.rows]) for k in range(len(table.columns))]


def _column(cells: Sequence[Cell]) -> list[str | ClaimVerdict]:
    written: list[str | ClaimVerdict] = []
    decimal = iter(aligned([cell for cell in cells if isinstance(cell, float)]))
    for cell in cells:
        if isinstance(cell, float):
            written.append(next(decimal))
        elif isinstance(cell, int):
            written.append(f"{cell:,}".replace("-", MINUS))
        else:
            written.append(DASH if cell is None else cell)
    return written


def _numeric(cells: Iterable[str | ClaimVerdict]) -> bool:
    """Tell whether every cell is a number or begins with one, as "5.0 (3.7 to 6.3)" does; a sentence may, too."""
    return all(
        isinstance(cell, str) and len(cell) < LONGEST_NUMBER and re.match(rf"[-{MINUS}+]?[\d.]|{DASH}$", cell)
        for cell in cells
    )
