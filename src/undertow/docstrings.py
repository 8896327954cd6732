"""Take docstrings apart that are written in sections: those of rules and of remedies."""

import re
from collections.abc import Iterable
from inspect import cleandoc
from textwrap import dedent


def in_sections(docstring: str, heads: Iterable[str]) -> dict[str, str]:
    """Return what stands before the first section under ``""``, then each section under its head.

    Args:
        docstring: as it is in the source.
        heads: the sections there may be; each begins with a line of its head and a colon.

    Example:
        >>> in_sections("A fault.\\n\\n    What:\\n        Two\\n        lines.\\n", ["What", "Why"])
        {'': 'A fault.', 'What': 'Two\\nlines.'}
    """
    any_head = "|".join(map(re.escape, heads))
    first, *rest = re.split(rf"^({any_head}):\n", cleandoc(docstring), flags=re.MULTILINE)
    bodies = zip(rest[::2], rest[1::2], strict=True)
    return {"": cleandoc(first).strip()} | {name: dedent(body).strip() for name, body in bodies}
