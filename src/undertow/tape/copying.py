"""What hangs on somebody's model or optimizer is copied and pickled with it: it must come back as nothing."""

import contextlib
from typing import Any


def nothing() -> tuple[Any, ...]:
    """Return what ``__reduce__`` has to return for a copy that can be called with anything and does nothing.

    It is made of the standard library's parts only: a model is loaded where nobody has installed us.

    Example:
        >>> make, arguments = nothing()
        >>> make(*arguments)("module", "args", "output") is None
        True
    """
    return getattr, (contextlib.nullcontext(), "__exit__")
