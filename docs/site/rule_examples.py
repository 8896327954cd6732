"""Which how-tos show which rule: those whose first finding is of its code, else those that print its code at all."""

import re
from functools import cache
from pathlib import Path

HOW_TOS = Path(__file__).parents[1] / "howto"
FOUND = re.compile(r"\b(UT\d{3}) (?:error|warning|note)\b")


@cache
def examples() -> dict[str, list[Path]]:
    """Return the how-tos of every rule that one of them shows."""
    first: dict[str, list[Path]] = {}
    later: dict[str, list[Path]] = {}
    for name in listed(HOW_TOS):
        path = HOW_TOS / f"{name}.md"
        codes = dict.fromkeys(FOUND.findall(path.read_text("utf-8")))
        for place, code in enumerate(codes):
            (later if place else first).setdefault(code, []).append(path)
    return {code: first.get(code) or later[code] for code in sorted({*first, *later})}


def listed(folder: Path) -> list[str]:
    """Return the names of a folder's pages in the order of its index."""
    return re.findall(r"\]\((\w[\w-]*)\.md\)", (folder / "index.md").read_text("utf-8"))
