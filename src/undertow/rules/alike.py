"""Findings of alike blocks, said once: twelve blocks that are built alike have one trouble, not twelve."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from undertow.record import Finding
from undertow.wording import few

_NUMBER = re.compile(r"\d+")


def said_once(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Join findings whose places differ in numbers alone (``blocks.0.attn``, ``blocks.1.attn``).

    Yields:
        The first of each kind, with the Sites of all, and a sentence that names others and counts the rest. Its
        evidence has the count as ``alike``.

    Example:
        >>> from undertow.record import Severity
        >>> found = [Finding("UT106", "starved", Severity.WARNING, (n,), f"b.{n}.k", "It fades.") for n in range(3)]
        >>> [(each.message, each.sites) for each in said_once(found)]
        [('It fades. The same holds for b.1.k and b.2.k.', (0, 1, 2))]
    """
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        key = (finding.code, finding.severity, _NUMBER.sub("#", finding.where))
        groups.setdefault(key, []).append(finding)
    for first, *others in groups.values():
        if not others:
            yield first
            continue
        places = [f"layer {other.where}" if other.where.isdigit() else other.where for other in others]
        text = f"{first.message} The same holds for {few(places, 2)}."
        sites = tuple(site for each in (first, *others) for site in each.sites)
        numbers = {**first.evidence, "alike": float(len(others) + 1)}
        yield replace(first, sites=sites, message=text, evidence=numbers, snippet=_of_all((first, *others)))


def _of_all(findings: Iterable[Finding]) -> str:
    """Join the lines of all, each once, where every one stands for itself; else those of the first."""
    snippets = [each.snippet for each in findings]
    lines = [line for snippet in snippets for line in snippet.splitlines()]
    flat = not any(line.startswith((" ", "#", "\t")) for line in lines)
    return "\n".join(dict.fromkeys(lines)) if flat else snippets[0]
