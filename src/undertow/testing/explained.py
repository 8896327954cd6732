"""Check what contracts of rules and remedies share: whose code it is, a docstring in its sections, lines to paste."""

import ast
from collections.abc import Collection, Iterable, Mapping, Sequence


def hold_code(code: str, kind: str, known: Collection[str]) -> None:
    """Hold a code to being one of those that are registered.

    Args:
        code: of the rule or the remedy.
        kind: "rule" or "remedy", which is the decorator's name, too.
        known: all codes there are.

    Raises:
        AssertionError: it is none of them; the message says how to register it.

    Example:
        >>> hold_code("AB101", "rule", ["UT101"])
        Traceback (most recent call last):
        AssertionError: there is no rule AB101: decorate its function by @rule('AB101', ...)
    """
    __tracebackhide__ = True
    if code not in known:
        raise AssertionError(f"there is no {kind} {code}: decorate its function by @{kind}({code!r}, ...)")


def hold_letters(code: str, ours: str, kinds: str, modules: Iterable[str]) -> None:
    """Hold a code to letters of its own, unless undertow itself defines it.

    Raises:
        AssertionError: it begins as undertow's codes do, and its functions stand in other modules.

    Example:
        >>> hold_letters("UT998", "UT", "rules", ["mine.rules"])
        Traceback (most recent call last):
        AssertionError: UT998: UT is for undertow's own rules: take letters of your own
    """
    __tracebackhide__ = True
    if code.startswith(ours) and {module.partition(".")[0] for module in modules} != {"undertow"}:
        raise AssertionError(f"{code}: {ours} is for undertow's own {kinds}: take letters of your own")


def hold_sections(code: str, parts: Mapping[str, str], heads: Sequence[str]) -> None:
    """Hold a docstring's parts, as `undertow.docstrings.in_sections` returns them, to all sections in their order.

    Raises:
        AssertionError: a section is missing, empty or out of order.

    Example:
        >>> hold_sections("AB101", {"": "It is loud.", "What": ""}, ["What"])
        Traceback (most recent call last):
        AssertionError: the docstring of AB101 says nothing in its What
    """
    __tracebackhide__ = True
    if list(parts) != ["", *heads]:
        raise AssertionError(f"the docstring of {code} has the sections {[*parts]}, not {heads}")
    empty = [name or "first line" for name, text in parts.items() if not text]
    if empty:
        raise AssertionError(f"the docstring of {code} says nothing in its {empty[0]}")


def hold_lines(code: str, snippet: str) -> None:
    """Hold lines to paste to being Python.

    Raises:
        AssertionError: they are none; the message says where.

    Example:
        >>> hold_lines("AB101", "for each in")
        Traceback (most recent call last):
        AssertionError: AB101 has lines to paste that are no Python: invalid syntax (<unknown>, line 1)
    """
    __tracebackhide__ = True
    try:
        ast.parse(snippet)
    except SyntaxError as error:
        raise AssertionError(f"{code} has lines to paste that are no Python: {error}") from error
