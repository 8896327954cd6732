"""One filter for text that comes from models, files and errors, before it reaches a terminal, a log or a title.

Names are whatever a stranger wrote. An escape sequence moves the cursor or writes to the clipboard, a right-to-left
mark shows a name other than the one there is, and a lone surrogate makes a stream, or a database, refuse the text.
"""

import unicodedata

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Control characters, marks that aren't drawn (directions, zero width), surrogates, separators of lines."""

MOST_SIGNS = 20_000


def printable(text: str, lines: bool = False) -> str:
    """Return a text with everything that isn't drawn written as an escape, as in a Python literal.

    Args:
        text: anything.
        lines: whether ends of lines and tabs stay what they are.

    Example:
        >>> printable("fc\\x1b[31m1\\0"), printable("naïve 層 86\\xa0%")
        ('fc\\\\x1b[31m1\\\\x00', 'naïve 層 86\\xa0%')
        >>> printable("a\\u202eb\\nc"), printable("a\\nb", lines=True)
        ('a\\\\u202eb\\\\nc', 'a\\nb')
    """
    if text.isprintable() or (lines and text.replace("\n", "").replace("\t", "").isprintable()):
        return text
    return "".join(sign if _is_seen(sign, lines) else _escaped(sign) for sign in text)


def told(error: BaseException) -> str:
    """Return the kind of an error and what it says, also where saying it fails, as text that any stream takes.

    Example:
        >>> told(ValueError("no")), told(type("Odd", (Exception,), {"__str__": lambda self: 1})())
        ('ValueError: no', 'Odd (what it says can not be read: TypeError)')
    """
    kind = type(error).__name__
    try:
        said = str(error)
    except BaseException as second:
        return printable(f"{kind} (what it says can not be read: {type(second).__name__})")
    return shortened(printable(f"{kind}: {said}", lines=True))


def shortened(text: str, most: int = MOST_SIGNS) -> str:
    """Return a text, or its beginning and how much was left out.

    Example:
        >>> shortened("abcdef", 3)
        'abc ... (3 more)'
    """
    return text if len(text) <= most else f"{text[:most]} ... ({len(text) - most:,} more)"


def _is_seen(sign: str, lines: bool) -> bool:
    return (lines and sign in "\n\t") or unicodedata.category(sign) not in _UNSEEN


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode()
