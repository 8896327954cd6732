"""A page for every rule: its docstring, its picture, a network in which it fires, what became of such networks.

`docs/rules.md` has the docstrings of all on one page, for who reads it elsewhere; the site makes a list of it.
"""

import re
from itertools import groupby
from pathlib import Path
from textwrap import indent

from rule_examples import examples

import undertow.rules  # noqa: F401  registers them
from documents import blocks
from undertow.formatting import number
from undertow.record import Run
from undertow.rules.consequences import ADAPTIVE, ANY, PLAIN, Outcome, severity_of, table
from undertow.rules.explained import OURS, sections
from undertow.rules.registry import RULES, Rule

PICTURES = Path(__file__).parents[1] / "pictures" / "rules"
TITLE = re.compile(r"<title>(.*?)</title>")

FAMILIES = {
    "1": "The gradient's size and way",
    "2": "Units, attention, representations",
    "3": "The start",
    "4": "The optimizer and its steps",
    "5": "The loss and how the network is put together",
    "6": "Healthy, and worth a note",
    "7": "The training loop, inputs and targets",
}
AMOUNTS = {
    "UT101": "decades from end to end",
    "UT102": "decades from end to end",
    "UT104": "front half's share of progress",
    "UT105": "back half's share of progress",
    "UT106": "decades in the branch",
    "UT107": "horizon / length of the sequence",
    "UT201": "share of saturated values",
    "UT202": "share of dead units",
    "UT301": "decades expected from end to end",
}
"""What the study ``severity`` orders networks by."""


UNGRADED = {"UT107"}
"""Counted by the study, and graded by what stands under *Threshold*."""

OPTIMIZERS = {PLAIN: "plain gradient descent (SGD)", ADAPTIVE: "adaptive optimizers (Adam and its kin)"}
RUN_OF = {PLAIN: Run({"optimizer": "SGD"}, ()), ADAPTIVE: Run({"optimizer": "Adam"}, ()), ANY: Run({}, ())}


def ours() -> list[Rule]:
    """Return undertow's own rules by code."""
    return [RULES[code] for code in sorted(RULES) if code.startswith(OURS)]


def listing() -> str:
    """Write the list of all rules, by family, with the anchors that pages elsewhere lead to."""
    parts = ["# The rules", "What undertow looks for. Each page has a network in which the rule fires."]
    for family, rules in groupby(ours(), lambda each: each.code[2]):
        lines = (
            f'- <a id="{each.code.lower()}"></a>[{each.code} {each.name}](rules/{each.code}.md): {sections(each)[""]}'
            for each in rules
        )
        parts += [f"## {FAMILIES[family]}", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def page(rule: Rule) -> str:
    """Write the page of a rule."""
    first, *rest = sections(rule).items()
    parts = [f"# {rule.code} {rule.name}", f"{first[1]} ([All rules](../rules.md))", _picture(rule.code)]
    parts += [f"**{name}.** {words}" for name, words in rest]
    parts += ["## A network in which it fires", _firing(rule.code)]
    parts += ["## What becomes of such networks", _outcomes(rule.code)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _picture(code: str) -> str:
    path = PICTURES / f"{code}.svg"
    if not path.exists():
        return ""
    seen = TITLE.search(path.read_text("utf-8"))
    words = seen[1] if seen else ""
    return f"![{words}](../pictures/rules/{code}.svg){{ .drawn loading=lazy }}\n\n*{words}*"


def _firing(code: str) -> str:
    pages = examples().get(code, [])
    if not pages:
        return "No how-to shows it yet."
    block = next(each for each in blocks(pages[0].read_text("utf-8")) if each.shown)
    links = ", ".join(f"[{title(path)}](../howto/{path.name})" for path in pages)
    return f"{links}\n\n```python\n{block.code.rstrip()}\n```\n\n```text\n{(block.shown or '').rstrip()}\n```"


def _outcomes(code: str) -> str:
    """Write the study's table of a rule, for all optimizers open and for either kind of them folded."""
    own = [row for row in table() if row.code == code]
    if not own:
        return (
            "Not among the faults that the [study `severity`](../gallery.md) grades: its severity follows from what "
            "stands under *Threshold*."
        )
    together = [row for row in own if (row.kind, row.optimizer) == (ANY, ANY)]
    parts = [
        "Networks of the [study `severity`](../gallery.md), each beside a twin whose scale is mended, under the same "
        "optimizer. *Learned*: within the budget of steps. *Twin twice as fast*: it needed at most half the steps.",
        _rows(together),
    ]
    kinds = sorted({(row.kind, row.optimizer) for row in own} - {(ANY, ANY)})
    for kind, optimizer in kinds:
        rows = [row for row in own if (row.kind, row.optimizer) == (kind, optimizer)]
        told = ", ".join(
            filter(None, (kind != ANY and f"due to {kind}", OPTIMIZERS.get(optimizer, "both kinds of optimizer")))
        )
        parts.append(f'??? note "{told[0].upper()}{told[1:]}"\n\n{indent(_rows(rows), "    ")}')
    return "\n\n".join(parts)


def _rows(rows: list[Outcome]) -> str:
    graded = rows[0].code not in UNGRADED
    head = f"| {AMOUNTS[rows[0].code]} | networks | learned | twin twice as fast | median speed-up |"
    lines = [head + " severity |" * graded, "|" + " --- |" * (5 + graded)]
    for row in rows:
        severity, _ = severity_of(row.code, (row.low + row.high) / 2, RUN_OF[row.optimizer], row.kind)
        lines.append(
            f"| {_between(row)} | {row.networks} | {row.learned / row.networks:.0%} | {row.twice / row.networks:.0%} "
            f"| × {row.speedup:.1f} |" + f" {severity} |" * graded
        )
    return "\n".join(lines)


def _between(row: Outcome) -> str:
    low, high = (f"−{number(-each)}" if each < 0 else number(each) for each in (row.low, row.high))
    if row.low <= -100:
        return f"under {high}"
    if row.high >= 100 or row.high == 1.001:
        return f"{low} or more"
    return f"{low} to {high}"


def title(path: Path) -> str:
    """Return a page's title."""
    return path.read_text("utf-8").partition("\n")[0].removeprefix("# ")
