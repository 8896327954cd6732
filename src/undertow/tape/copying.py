"""What hangs on somebody's model or optimizer is copied and pickled with it: it must come back as nothing."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def nothing() -> tuple[Any, ...]:
    """Return what ``__reduce__`` has to return for a copy that can be called with anything and does nothing.

    It is made of the standard library's parts only: a model is loaded where nobody has installed us.

    Example:
        >>> make, arguments = nothing()
        >>> make(*arguments)("module", "args", "output") is None
        True
    """
    return getattr, (contextlib.nullcontext(), "__exit__")


def untraced(function: F) -> F:
    """Keep a function of ours out of what torch.compile makes of somebody's code that calls it, such as ``opt.step``.

    What `torch.compiler.disable` does is more, and loads the compiler, which takes seconds.

    Example:
        >>> untraced(print) is print
        True
    """
    with contextlib.suppress(AttributeError):  # of a function in C, which nobody traces
        function._torchdynamo_disable = True  # type: ignore[attr-defined]  # torch looks for it on functions
    return function


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
