"""The words of a page that a glossary explains."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module
from typing import Any

from undertow.render.blocks import TreeLine
from undertow.render.markup import phrase

Entry = tuple[str, str]


@cache
def glossary() -> Mapping[str, str]:
    """Return the glossary, term -> meaning in Markdown; empty where none is installed."""
    try:
        entries: Mapping[str, str] = import_module("undertow.glossary").GLOSSARY
    except ModuleNotFoundError:
        return {}
    return entries


def used(texts: Iterable[str], entries: Mapping[str, str] | None = None) -> list[Entry]:
    """Return the terms that texts use, each with its meaning as HTML, in alphabetical order.

    Args:
        texts: whatever a page says; markup doesn't matter.
        entries: the glossary; by default `glossary`.

    Example:
        >>> used(["It loses two decades."], {"decade": "A factor of *ten*.", "gain": "Out / in."})
        [('decade', Markup('A factor of <em>ten</em>.'))]
    """
    known = glossary() if entries is None else entries
    said = "\n".join(texts).lower()
    found = sorted(term for term in known if re.search(rf"(?<!\w){re.escape(term.lower())}(?:s|es)?(?!\w)", said))
    return [(term, phrase(known[term])) for term in found]


def texts_of(value: Any) -> Iterator[str]:
    """Yield every text in a block, or in anything made of blocks, lists and mappings.

    Example:
        >>> list(texts_of([{"a": "b"}, ("c", 1)]))
        ['b', 'c']
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, TreeLine):  # there may be thousands: their cells are numbers
        yield f"{value.label} {value.note}"
        for part in value.parts:
            yield from texts_of(part)
    elif is_dataclass(value) and not isinstance(value, type):
        for each in fields(value):
            yield from texts_of(getattr(value, each.name))
    elif isinstance(value, Mapping):
        yield from texts_of(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from texts_of(part)
