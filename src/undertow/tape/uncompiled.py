"""Keep our functions out of what torch.compile makes of somebody's code that calls them, such as ``opt.step``.

What `torch.compiler.disable` does is the same, but it loads the compiler, which takes seconds, and costs every call.
"""

from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

import torch

# Private to torch: without it, code that is compiled takes longer to be, and nothing else happens.
_frames: Any = getattr(getattr(torch._C, "_dynamo", None), "eval_frame", None)
set_eval_frame: Callable[[Any], Any] | None = getattr(_frames, "set_eval_frame", None)

F = TypeVar("F", bound=Callable[..., Any])


def untraced(function: F) -> F:
    """Let the compiler step over a function; what it calls is looked at, unless that is `uncompiled`.

    Example:
        >>> @untraced
        ... def hook(*_):
        ...     return 3
        >>> hook()
        3
    """
    if isinstance(function, FunctionType):
        function._torchdynamo_disable = True  # type: ignore[attr-defined]  # torch looks for it
    return function


def uncompiled(act: Callable[..., Any], *args: Any) -> Any:
    """Call a function whose calls the compiler isn't to look at either.

    Example:
        >>> uncompiled(max, 2, 3)
        3
    """
    if set_eval_frame is None:
        return act(*args)
    before = set_eval_frame(None)
    try:
        return act(*args)
    finally:
        set_eval_frame(before)


untraced(uncompiled)
