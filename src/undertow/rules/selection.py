"""Choose rules by the beginning of their codes, as ``--select UT1,UT301`` and ``--ignore UT6`` do."""

import difflib
from collections.abc import Iterable, Sequence

from undertow.record import Finding
from undertow.rules.registry import RULES


def prefixes(given: Iterable[str] | None) -> tuple[str, ...]:
    """Return codes, or beginnings of codes, that were given one by one or with commas between.

    Raises:
        ValueError: no rule's code begins so; the nearest is named.

    Example:
        >>> prefixes(["ut1, UT301"])
        ('UT1', 'UT301')
        >>> prefixes(["UT1011"])
        Traceback (most recent call last):
        ValueError: no rule's code begins with UT1011: did you mean UT101? `undertow rule` lists them
    """
    wanted = [each.strip().upper() for text in given or () for each in text.split(",") if each.strip()]
    for each in wanted:
        if each != "ALL" and not any(code.startswith(each) for code in RULES):
            near = difflib.get_close_matches(each, sorted(RULES), 1, cutoff=0.7)
            hint = f": did you mean {near[0]}?" if near else ":"
            raise ValueError(f"no rule's code begins with {each}{hint} `undertow rule` lists them")
    return tuple("" if each == "ALL" else each for each in wanted)


def selected(findings: Sequence[Finding], select: Sequence[str], ignore: Sequence[str]) -> list[Finding]:
    """Return the findings whose codes are selected and not ignored; of both the longer beginning counts.

    Args:
        findings: in any order.
        select: beginnings of codes; all rules where none is given.
        ignore: beginnings of codes.

    Example:
        >>> from undertow.record import Severity
        >>> found = [Finding(code, "", Severity.ERROR, (), "", "") for code in ("UT101", "UT104", "UT301")]
        >>> [each.code for each in selected(found, ["UT1"], ["UT104"])]
        ['UT101']
    """
    return [each for each in findings if _length(each.code, select or ("",)) > _length(each.code, ignore)]


def _length(code: str, beginnings: Sequence[str]) -> int:
    return max((len(each) for each in beginnings if code.startswith(each)), default=-1)
