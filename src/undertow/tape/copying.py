"""Come back as nothing: hooks that hang on somebody's model or optimizer are copied and pickled with it."""

import contextlib
import functools
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


class Hook(functools.partial[Any]):
    """A hook on an object of the user's: calls what it was made of, and a copy of it does nothing.

    Example:
        >>> import copy
        >>> hook = Hook(print, "called with")
        >>> hook(3)
        called with 3
        >>> copy.deepcopy(hook)(3)
    """

    def __reduce__(self) -> tuple[Any, ...]:
        """Be copied and pickled as nothing."""
        return nothing()
