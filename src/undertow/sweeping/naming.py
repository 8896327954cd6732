"""Names that a specification may use, and the nearest right one where it uses another."""

import difflib
from collections.abc import Iterable, Sequence


def check_keys(given: Iterable[str], known: Sequence[str], where: str) -> None:
    """Refuse keys that aren't known.

    Raises:
        ValueError: it names each of them and the nearest right one, or all there are.

    Example:
        >>> check_keys(["epohcs"], ["epochs", "eta"], "[cell]")
        Traceback (most recent call last):
        ValueError: [cell] has no key 'epohcs': did you mean 'epochs'?
    """
    unknown = [f"{where} has no key {key!r}: {meant(key, known)}" for key in given if key not in known]
    if unknown:
        raise ValueError("\n  ".join(unknown))


def meant(key: str, known: Sequence[str]) -> str:
    """Return a question with the nearest right name, or all there are.

    Example:
        >>> meant("x", ["epochs", "eta"])
        'there are: epochs, eta'
    """
    near = difflib.get_close_matches(key, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
