"""A study's page from `article.md` beside it: Markdown for people to edit, numbers filled in by Jinja.

``{{ expressions }}`` may use ``r``, the results; the formatters of `undertow.formatting`; and every public function of
the study's modules, to which the results are handed: ``{{ final("SGD") }}``. The text is cut into blocks at headings
(``## Title {#id}``, ``###`` for a section within one) and at fences::

    ::: figure accuracies wide        a title, then lines of caption; drawn by figures.accuracies(results)
    ::: table neighbours stacked      a caption; the cells are from figures.neighbours(results)
    ::: equation 121 | spoken words   LaTeX
    ::: callout Words used here       an aside
    ::: instrument factors chain      a title, then lines of caption; templates/explore/chain
    ::: claims the paper says         the table of all claims, headed so

which a line ``:::`` ends. Before the first heading come ``title:``, ``subtitle:``, a line ``---``, and the lead.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module, resources
from types import ModuleType
from typing import Any

from jinja2 import Environment, StrictUndefined

from undertow import formatting
from undertow.render import figures as drawings
from undertow.render.blocks import Block, Cell
from undertow.render.page import Article, Callout, ClaimVerdict, Equation, Figure, Instrument, Prose, Section, Table

Results = Mapping[str, Any]

HELPERS = ("values", "claims", "config")
"""Modules that every study has: numbers for its sentences, its claims, its amounts."""

FENCE = re.compile(r"^::: (\w+) *(.*)\n((?:.*\n)*?):::$", re.MULTILINE)
HEADING = re.compile(r"^(##|###) (.+) \{#([a-z0-9-]+)\}$", re.MULTILINE)


def page(
    package: str,
    results: Results,
    *more: str,
    figures: Sequence[str] = ("figures",),
    text: str = "article.md",
    **meta: str,
) -> Article:
    """Build a study's page.

    Args:
        package: of the study, in which the text lies.
        results: with their ``claims`` judged.
        more: modules of the package whose functions and constants the text may use, beside `HELPERS`.
        figures: the modules whose functions draw: results -> charts, charts and a table, or a table.
        text: name of the file.
        meta: told at the page's end beside data, seed, versions and machine; underscores become spaces.
    """
    helpers = [import_module(f"{package}.{name}") for name in (*HELPERS, *more)]
    written = resources.files(package).joinpath(text).read_text("utf-8")
    head, _, body = filled(written, results, *helpers).partition("\n---\n")
    titles = dict(line.split(": ", 1) for line in head.strip().splitlines())
    first = HEADING.search(body)
    start = first.start() if first else len(body)
    sections = list(
        _sections(body[start:], "##", TextBlocks(results, [import_module(f"{package}.{name}") for name in figures]))
    )
    return Article(
        titles["title"], titles["subtitle"], body[:start].strip() + "\n", sections, made_from(results, **meta)
    )


def filled(text: str, results: Results, *helpers: ModuleType) -> str:
    """Fill in the numbers of a text.

    Example:
        >>> filled("{{ percent(r.share) }} of {{ r.networks|fmt(',') }}", {"share": 0.5, "networks": 1200})
        '50\\xa0% of 1,200'
    """
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, comment_start_string="<#",
        comment_end_string="#>", autoescape=False,  # noqa: S701  Markdown, into which no HTML gets
    )  # fmt: skip
    environment.filters["fmt"] = format
    given = {name: each for name, each in vars(formatting).items() if callable(each) and not name.startswith("_")}
    given |= {name: each for module in helpers for name, each in _bound(module, results)}
    given |= {each.__name__: partial(each, results) for each in (quick_notice, in_full_on_mnist, claims_that_hold)}
    return environment.from_string(text).render(**given, r=results)


def _bound(module: ModuleType, results: Results) -> Iterator[tuple[str, Any]]:
    """Public functions and constants of a module; those functions that take results first are given them."""
    for name, each in vars(module).items():
        if inspect.isfunction(each) and next(iter(inspect.signature(each).parameters), "") == "results":
            yield name, partial(each, results)
        elif inspect.isfunction(each) or name.isupper():
            yield name, each


class TextBlocks:
    """Makes blocks of the text between two headings."""

    def __init__(self, results: Results, figures: Sequence[ModuleType]) -> None:
        self.results, self.figures = results, figures

    def of(self, text: str) -> list[Block]:
        """Return prose and what is fenced, in their order."""
        found: list[Block] = []
        at = 0
        for fence in FENCE.finditer(text):
            found += self._prose(text[at : fence.start()])
            make: Callable[[str, str], Block] = getattr(self, f"_{fence[1]}")
            found.append(make(fence[2].strip(), fence[3].strip()))
            at = fence.end()
        return found + self._prose(text[at:])

    def _prose(self, text: str) -> list[Block]:
        return [Prose(text.strip())] if text.strip() else []

    def _callout(self, title: str, text: str) -> Block:
        return Callout(title, text)

    def _equation(self, heading: str, latex: str) -> Block:
        number, _, spoken = (part.strip() for part in heading.partition("|"))
        return Equation(" ".join(latex.split()), number, spoken)

    def _instrument(self, words: str, text: str) -> Block:
        name, template = words.split()
        title, caption = _titled(text)
        return Instrument(name, title, template, caption)

    def _figure(self, words: str, text: str) -> Block:
        name, *flags = words.split()
        drawn = self._drawn(name)
        charts, table = drawn if isinstance(drawn, tuple) else (drawn, ())
        title, caption = _titled(text)
        options: dict[str, Any] = {"wide": True} if "wide" in flags else {}
        for columns in (flag.removeprefix("columns=") for flag in flags if flag.startswith("columns=")):
            options["columns"] = int(columns)
        return Figure(name, charts, title, caption, table, **options)

    def _table(self, words: str, caption: str) -> Block:
        name, *flags = words.split()
        table: Table = self._drawn(name)
        caption = " ".join(caption.split())
        return replace(table, caption=caption, id="" if "unnumbered" in flags else name, stacked="stacked" in flags)

    def _claims(self, who: str, _text: str) -> Block:
        rows: list[list[Cell]] = [
            [str(c["id"]), _set(c["text"]), _set(c["measured"]) + ".", ClaimVerdict(c["holds"])]
            for c in self.results["claims"]
        ]
        return Table(["", who, "measured here", "holds"], rows, "The claims", id="claim-table", stacked=True)

    def _drawn(self, name: str) -> Any:
        function = name.replace("-", "_")
        module = next(each for each in self.figures if hasattr(each, function))
        with drawings.checked_whole():
            return getattr(module, function)(self.results)


def _sections(text: str, mark: str, blocks: TextBlocks) -> Iterator[Section]:
    headings = [found for found in HEADING.finditer(text) if found[1] == mark]
    ends = [*(following.start() for following in headings[1:]), len(text)]
    for heading, end in zip(headings, ends, strict=False):  # without headings there is one end too many
        body = text[heading.end() : end]
        inner = [found for found in HEADING.finditer(body) if found[1] == "###"] if mark == "##" else []
        before = body[: inner[0].start()] if inner else body
        yield Section(heading[3], heading[2], [*blocks.of(before), *_sections(body[len(before) :], "###", blocks)])


def _titled(text: str) -> tuple[str, str]:
    title, _, caption = text.partition("\n")
    return title, " ".join(caption.split())


def _set(text: str) -> str:
    """Return a claim with its formulas as a page sets them."""
    return text.replace("ξ_c", "$\\xi_c$")


def quick_notice(results: Results) -> str:
    """Say what a page says first where it is only a small part of a study.

    Example:
        >>> quick_notice({"quick": False})
        ''
    """
    if not results["quick"]:
        return ""
    return (
        f"**This is a quick taste** of `undertow study {results['study']}`: smaller networks, fewer of them and far "
        "less training. Run it without `--quick` for the real thing; here a claim may fail for that alone.\n\n"
    )


def made_from(results: Results, **more: str) -> dict[str, str]:
    """Say how a page was made, for its end: data, seed, versions, machine."""
    environment = results["environment"]
    return {
        "data": f"{results['data']['name']}, sha256 {results['data']['sha256'][:16]}",
        **{name.replace("_", " "): value for name, value in more.items()},
        "seed": str(results["seed"]),
        "undertow": environment["undertow"],
        "torch": environment["torch"],
        "numpy": environment["numpy"],
        "machine": f"{environment['machine']}, {environment['processors']} processors",
    }


def claims_that_hold(results: Results, holds: str) -> int:
    """Count the claims that hold so far.

    Example:
        >>> claims_that_hold({"claims": [{"holds": "yes"}, {"holds": "no"}]}, "yes")
        1
    """
    return sum(claim["holds"] == holds for claim in results["claims"])


def in_full_on_mnist(results: Results) -> bool:
    """Return whether these are a study's own experiments in full; what its page reads from them is said of no others.

    Example:
        >>> in_full_on_mnist({"quick": True, "data": {"name": "mnist"}})
        False
    """
    return bool(results["data"]["name"] == "mnist" and not results["quick"])
