"""Numbers as the page's sentences want them, and whether its sentences may speak of the chapter's experiments."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from undertow.render.rows import MINUS, number


def in_full_on_mnist(results: Mapping[str, Any]) -> bool:
    """Whether these are a study's own experiments in full; what its page reads out of them is said of no others.

    Example:
        >>> in_full_on_mnist({"quick": True, "data": {"name": "mnist"}})
        False
    """
    return results["data"]["name"] == "mnist" and not results["quick"]


def unmarked(name: str) -> str:
    """A data set's name, which is a folder's, without the signs that a page would read as more than text.

    Example:
        >>> unmarked("fashion_mnist, v2"), unmarked("[x](y) *b*: $z$")
        ('fashion_mnist, v2', '-x-(y) -b-- -z-')
    """
    return re.sub(r"[^\w .,()+-]", "-", name)


def percent(share: float, digits: int = 0) -> str:
    """A share as a percentage.

    Example:
        >>> percent(0.8612), percent(0.00006, 3)
        ('86\\xa0%', '0.006\\xa0%')
    """
    return f"{100 * share:.{digits}f}\u00a0%"  # number and sign stay on one line


def signed(value: float, digits: int = 2) -> str:
    """A change, with its sign and so many digits after the point.

    Example:
        >>> signed(0.3), signed(-0.24)
        ('+0.30', '−0.24')
    """
    return f"{value:+.{digits}f}".replace("-", MINUS)


def span(low: float, high: float) -> str:
    """From one number to another, both as short as can be.

    Example:
        >>> span(66.2, 251.0)
        '66.2 to 251'
    """
    return f"{number(low)} to {number(high)}"


def layers(hidden: int) -> str:
    """So many hidden layers.

    Example:
        >>> layers(1), layers(4)
        ('1 hidden layer', '4 hidden layers')
    """
    return f"{hidden} hidden layer{'s' * (hidden > 1)}"


def listed(values: ArrayLike) -> str:
    """Numbers in a row.

    Example:
        >>> listed([0.0021, 0.0102, 126.4])
        '0.0021, 0.0102, 126'
    """
    return ", ".join(number(float(v)) for v in np.asarray(values).ravel())
