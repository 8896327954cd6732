"""Leave out the findings that a project has decided to live with: ``[tool.undertow] silence`` of its pyproject.toml.

``silence = ["UT602", "UT201:encoder.*"]`` silences UT602 everywhere, and UT201 in modules whose path matches
``encoder.*``. A path without a wildcard stands for the module and everything in it.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self

from undertow.record import Finding, Run
from undertow.rules import RULES


@dataclass(frozen=True)
class Silence:
    """One entry: a rule's code and the module paths it is not to speak of (``""``: anywhere).

    Example:
        >>> Silence.parse("UT201:encoder.*")
        Silence(code='UT201', pattern='encoder.*')
        >>> Silence.parse("UT6022")
        Traceback (most recent call last):
        ValueError: there is no rule UT6022: did you mean UT602? `undertow rule` lists them
    """

    code: str
    pattern: str = ""

    @classmethod
    def parse(cls, entry: object) -> Self:
        """Read ``"CODE"`` or ``"CODE:PATTERN"``. Raises: ValueError if there is no such rule."""
        if not isinstance(entry, str):
            raise ValueError(f'{entry!r} is no text: write "UT602" or "UT201:encoder.*"')
        code, colon, pattern = entry.partition(":")
        known_code(code)
        if colon and not pattern:
            raise ValueError(f"{entry!r} has no module path after its colon: write {code!r} to silence it everywhere")
        return cls(code, pattern)

    def covers(self, finding: Finding, run: Run) -> bool:
        """Tell whether this silences the finding: every place that it names must match."""
        if finding.code != self.code:
            return False
        places = {run.sites[site].module for site in finding.sites} or set(re.split(", | -> ", finding.where))
        return not self.pattern or all(self._matches(place) for place in places)

    def _matches(self, path: str) -> bool:
        return fnmatchcase(path, self.pattern) or path.startswith(f"{self.pattern}.")


def known_code(code: str) -> str:
    """Return the code itself. Raises: ValueError, naming the nearest, if no rule has it."""
    if code not in RULES:
        near = difflib.get_close_matches(code.upper(), RULES, 1, cutoff=0.5)
        hint = f": did you mean {near[0]}? `undertow rule` lists them" if near else "; there are: " + ", ".join(RULES)
        raise ValueError(f"there is no rule {code}{hint}")
    return code


def configured(near: Path) -> list[Silence]:
    """Return the entries of the nearest pyproject.toml with a ``[tool.undertow]``, from the folder of ``near`` upwards.

    Raises:
        ValueError: an entry that can't be meant, an unknown key, or a file that is no TOML.
    """
    for folder in near.resolve().parents:
        file = folder / "pyproject.toml"
        if not file.is_file():
            continue
        try:
            table = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("undertow")
            if table is not None:
                return _entries(table)
        except ValueError as error:
            raise ValueError(f"{file}, [tool.undertow]: {error}") from error
    return []


def _entries(table: object) -> list[Silence]:
    if not isinstance(table, dict):
        raise ValueError("this must be a table")
    unknown = sorted(set(table) - {"silence"})
    if unknown:
        raise ValueError(f"there is no setting {unknown[0]}; there is: silence")
    entries = table.get("silence", [])
    if not isinstance(entries, list):
        raise ValueError('silence must be a list, as in silence = ["UT602"]')
    return [Silence.parse(entry) for entry in entries]


def unsilenced(findings: Sequence[Finding], run: Run, silences: Iterable[Silence]) -> list[Finding]:
    """Return the findings that no entry covers, in their order.

    Example:
        >>> from undertow.record import Severity
        >>> found = [Finding("UT501", "unreached", Severity.WARNING, (), "fc.weight", "No gradient reaches it.")]
        >>> len(unsilenced(found, Run({}, ()), [Silence("UT501", "head")]))
        1
        >>> len(unsilenced(found, Run({}, ()), [Silence("UT501", "fc")]))
        0
    """
    kept = list(silences)
    return [finding for finding in findings if not any(silence.covers(finding, run) for silence in kept)]
