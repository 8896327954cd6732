"""The studies there are, by name. A new one is one line here."""

import difflib
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from undertow.studies.study import Study

STUDIES: dict[str, str] = {
    "chapter5": "undertow.studies.chapter5",
    "glorot2010": "undertow.studies.glorot2010",
    "sutskever2013": "undertow.studies.sutskever2013",
    "remedies": "undertow.studies.remedies",
    "trainability": "undertow.studies.trainability",
    "severity": "undertow.studies.severity",
}
"""Name -> module with a `STUDY`; only the one asked for is imported."""


def named(name: str) -> "Study":
    """Return the study of a name.

    Raises:
        ValueError: no such study; the message names the nearest and lists all.

    Example:
        >>> named("glorot2010").name
        'glorot2010'
    """
    if name not in STUDIES:
        near = difflib.get_close_matches(name, STUDIES, n=1)
        meant = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"no study named {name!r}{meant}; there are: {', '.join(STUDIES)}")
    found: Study = import_module(STUDIES[name]).STUDY
    return found
