"""A remedy's docstring in its sections."""

from undertow.docstrings import in_sections
from undertow.remedies.registry import KINDS, SECTIONS, Kind

OURS = "UR"
"""How codes begin of remedies that no plugin adds."""


def sections(kind: Kind) -> dict[str, str]:
    """Return the docstring's first line under ``""``, then each section under its name, as Markdown.

    Example:
        >>> from undertow.remedies import KINDS
        >>> list(sections(KINDS["UR101"]))
        ['', 'What it changes', 'When', 'Predicts', 'References']
    """
    return in_sections(kind.apply.__doc__ or "", SECTIONS)


def page() -> str:
    """Return all of undertow's own remedies as one Markdown page; a test holds ``docs/remedies.md`` to it.

    Example:
        >>> page().splitlines()[0]
        '# The remedies'
    """
    parts = ["# The remedies", "Made from the remedies' docstrings; `undertow remedy CODE` prints the same."]
    ours = (kind for kind in KINDS.values() if kind.code.startswith(OURS))
    for kind in sorted(ours, key=lambda known: known.code):
        first, *rest = sections(kind).items()
        answers = f"Answers {', '.join(kind.answers)}. " if kind.answers else ""
        parts += [f"## {kind.code} {kind.name}", f"{answers}Level {kind.level}: {kind.level.meaning}.", first[1]]
        parts += [f"**{name}.** {words}" for name, words in rest]
    return "\n\n".join(parts) + "\n"
