"""List the findings, one section for each code: where, the evidence, and what its rule's docstring explains."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from undertow.diagnosis import Diagnosis
from undertow.formatting import signed_terse
from undertow.record import Finding
from undertow.render.blocks import Prose, Section, Table
from undertow.render.labels import near
from undertow.render.markup import code, escaped
from undertow.rules import RULES
from undertow.rules.explained import sections as explained

MOST_PLACES = 25
WORTH_TELLING = 0.005
"""Decades: less is rounding."""

COLUMNS = ("where", "what", "evidence", "threshold", "passes")


def findings(diagnosis: Diagnosis) -> Section | None:
    """List what the rules have to say, the worst first."""
    if not diagnosis.findings:
        return None
    groups = groupby(diagnosis.findings, key=lambda finding: finding.code)
    return Section("findings", "What was found", [_of_one_code(code, list(group)) for code, group in groups])


def _of_one_code(rule_code: str, same: Sequence[Finding]) -> Section:
    worst = max(same, key=lambda finding: finding.severity.rank)
    about = explained(RULES[rule_code]) if rule_code in RULES else {}
    left_out = len(same) - MOST_PLACES
    caption = f"The first {MOST_PLACES} places; {left_out} more in the tree below" if left_out > 0 else ""
    return Section(
        rule_code.lower(),
        f"{rule_code} {worst.name}",
        [_table(same, caption), Prose(_advice(about, worst))],
        tone=worst.severity.value,
    )


def _table(same: Sequence[Finding], caption: str) -> Table:
    certain = all(finding.confidence == 1 for finding in same)
    width = len(COLUMNS) - 1 if certain else len(COLUMNS)
    return Table(COLUMNS[:width], [_row(each)[:width] for each in same[:MOST_PLACES]], caption, stacked=True)


def _row(finding: Finding) -> list[str]:
    numbers = ", ".join(
        f"{escaped(name)} {signed_terse(value)}"
        for name, value in finding.evidence.items()
        if not (name.startswith("decades by") and abs(value) < WORTH_TELLING)
    )
    threshold = escaped(finding.threshold)
    line = f" At {code(near(finding.source))}." if finding.source else ""
    return [code(finding.where), escaped(finding.message) + line, numbers, threshold, f"{finding.confidence:.0%}"]


def _advice(about: Mapping[str, str], finding: Finding) -> str:
    parts = {
        "Why it is bad": about.get("Why it is bad", ""),
        "What to do": about.get("What to do", ""),
        "Threshold": about.get("Threshold", ""),
        "Behind it": code(finding.equation),
        "References": about.get("References", ""),
    }
    return "\n\n".join(f"**{name}.** {words}" for name, words in parts.items() if words)
