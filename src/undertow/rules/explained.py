"""Take a rule's docstring apart, and put all of them on one page."""

from undertow.docstrings import in_sections
from undertow.rules.registry import RULES, SECTIONS, Rule

OURS = "UT"
"""How codes begin of rules that no plugin adds."""


def sections(rule: Rule) -> dict[str, str]:
    """Return the docstring's first line under ``""``, then each section under its name, as Markdown.

    Example:
        >>> from undertow.rules import RULES
        >>> parts = sections(RULES["UT101"])
        >>> parts[""]
        'The gradient fades from layer to layer on its way to the front.'
        >>> list(parts)[1:3]
        ['What', 'Why it is bad']
    """
    return in_sections(rule.explanation, SECTIONS)


def page() -> str:
    """Write all of undertow's own rules as one Markdown page; a test holds ``docs/rules.md`` to it.

    Example:
        >>> page().splitlines()[0]
        '# The rules'
    """
    parts = ["# The rules", "Made from the rules' docstrings; `undertow rule CODE` prints the same."]
    ours = (rule for rule in RULES.values() if rule.code.startswith(OURS))
    for rule in sorted(ours, key=lambda known: known.code):
        first, *rest = sections(rule).items()
        parts += [f"## {rule.code} {rule.name}", first[1], *(f"**{name}.** {words}" for name, words in rest)]
    return "\n\n".join(parts) + "\n"
