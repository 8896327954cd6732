"""What the book's author recorded with his own networks, to lay over ours."""

import json
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def book() -> dict[str, Any]:
    """The recorded numbers: source; bars [2][6]; descent with its step and speed [steps][2] (thinned).

    Example:
        >>> book()["descent"]["speed"][0]
        [0.065741, 0.30922]
    """
    recorded: dict[str, Any] = json.loads(files(__package__).joinpath("book.json").read_text("utf-8"))
    return recorded
