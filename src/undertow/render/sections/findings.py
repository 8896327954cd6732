"""List the findings, one section for each code: what is wrong, what to type; the evidence folded beneath."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from undertow.diagnosis import Diagnosis
from undertow.formatting import counted, signed_terse
from undertow.links import of_rule
from undertow.record import Finding, folded
from undertow.render.blocks import Block, Folded, Prose, Section, Snippet, Table
from undertow.render.equations import set_equation
from undertow.render.labels import near
from undertow.render.markup import code, escaped
from undertow.rules import RULES
from undertow.rules.explained import sections as explained

MOST_PLACES = 25
WORTH_TELLING = 0.005
"""Decades: less is rounding."""

COLUMNS = ("where", "what", "evidence", "threshold", "passes")
BEHIND = "Evidence, threshold, and what lies behind it"


def answer(diagnosis: Diagnosis) -> list[Block]:
    """Return what to do about the worst finding, for the first screen; nothing where nothing was found."""
    heads = folded(diagnosis.findings)
    if not heads:
        return []
    first, following = heads[0]
    more = [f"more: {_explained(first.code)}", f"[evidence](#{first.code.lower()})"]
    if following:
        names = dict.fromkeys(f"{each.code} {each.name}" for each in following)
        more.insert(0, f"{'; '.join(map(escaped, names))} follow{'s' * (len(names) == 1)} from it")
    return [*_remedy(first), Prose(f"{_upper(' · '.join(more))}")]


def _explained(code: str) -> str:
    command, address = f"`undertow rule {code}`", of_rule(code)
    return f"[{command}]({address})" if address else command


def findings(diagnosis: Diagnosis) -> Section | None:
    """List what the rules have to say, the worst first; what follows from a finding is folded beneath it."""
    if not diagnosis.findings:
        return None
    found = folded(diagnosis.findings)
    leading = found[0][0]
    parts: list[Section] = []
    for _, group in groupby(found, key=lambda head: head[0].code):
        heads = list(group)
        same = [head for head, _ in heads]
        parts.append(_of_one_code(same, [each for _, rest in heads for each in rest], told=leading in same))
    return Section("findings", "What was found", parts)


def _of_one_code(same: Sequence[Finding], following: Sequence[Finding], told: bool = False) -> Section:
    worst = max(same, key=lambda finding: finding.severity.rank)
    blocks: list[Block] = [] if told and len(same) == 1 else _said(same)
    remedy = [] if told else _remedy(worst)
    blocks += [Folded("What to do", remedy)] if remedy else []
    blocks.append(Folded(BEHIND, _behind(same, worst)))
    if following:
        blocks.append(_following(following))
    return Section(worst.code.lower(), f"{worst.code} {worst.name}", blocks, tone=worst.severity.value)


def _said(same: Sequence[Finding]) -> list[Block]:
    """Return what one finding says as a sentence, what several say as a table of places."""
    if len(same) == 1:
        return [Prose(_sentence(same[0]))]
    left_out = len(same) - MOST_PLACES
    caption = f"The first {MOST_PLACES} places; {left_out} more in the tree below" if left_out > 0 else ""
    rows = [[code(each.where), escaped(each.message) + _line(each)] for each in same[:MOST_PLACES]]
    return [Table(COLUMNS[:2], rows, caption, stacked=True)]


def _sentence(finding: Finding) -> str:
    place = f" At {code(finding.where)}." if finding.where and finding.where not in finding.message else ""
    return escaped(finding.message) + place + _line(finding)


def _line(finding: Finding) -> str:
    return f" Called at {code(near(finding.source))}." if finding.source else ""


def _remedy(finding: Finding) -> list[Block]:
    advice = [Prose(escaped(finding.advice))] if finding.advice else []
    snippet = [Snippet(finding.snippet.rstrip("\n"))] if finding.snippet else []
    return [*advice, *snippet]


def _following(following: Iterable[Finding]) -> Folded:
    by_code: dict[str, list[Finding]] = {}
    for each in following:
        by_code.setdefault(each.code, []).append(each)
    parts = [_of_one_code(same, ()) for same in by_code.values()]
    return Folded(f"{counted(len(parts), 'finding')} that follow{'s' * (len(parts) == 1)} from it", parts)


def _behind(same: Sequence[Finding], worst: Finding) -> list[Block]:
    about = explained(RULES[worst.code]) if worst.code in RULES else {}
    certain = all(finding.confidence == 1 for finding in same)
    columns = [COLUMNS[0], *COLUMNS[2 : len(COLUMNS) - certain]]
    rows = [_row(each)[: len(columns)] for each in same[:MOST_PLACES]]
    return [Table(columns, rows, f"Evidence of {worst.code}", stacked=True), Prose(_words(about, worst))]


def _row(finding: Finding) -> list[str]:
    numbers = ", ".join(
        f"{escaped(name)} {signed_terse(value)}"
        for name, value in finding.evidence.items()
        if not (name.startswith("decades by") and abs(value) < WORTH_TELLING)
    )
    return [code(finding.where) + _line(finding), numbers, escaped(finding.threshold), f"{finding.confidence:.0%}"]


def _words(about: Mapping[str, str], finding: Finding) -> str:
    parts = {
        "Why it is bad": about.get("Why it is bad", ""),
        "What to do": about.get("What to do", ""),
        "Threshold": about.get("Threshold", ""),
        "Behind it": set_equation(finding.equation) if finding.equation else "",
        "References": about.get("References", ""),
    }
    return "\n\n".join(f"**{name}.** {words}" for name, words in parts.items() if words)


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
