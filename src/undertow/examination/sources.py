"""Which line of the user's source an operation comes from."""

import sys
from bisect import bisect_right
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from undertow.tape.choices import SharedMode

_CALL = nn.Module._call_impl.__code__
_OURS = Path(__file__).parents[1]
_NOT_THE_USERS = (str(Path(torch.__file__).parent), str(_OURS / "examination"), str(_OURS / "tape"))


next_number: Callable[[], int] = torch._C._autograd._get_sequence_nr
"""Returns the number that autograd will give the next Node that is born in this thread."""


class SourceLine(NamedTuple):
    """A line of the user's code, and whether it calls the whole model."""

    file: str
    number: int
    of_the_model: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.number}" if self.file else ""


class SourceFinder(SharedMode):
    """Notes, for every function of torch that is called while it is entered, where from, by autograd's numbers.

    Modes belong to a thread: what other threads compute has no line. Neither have the layers of a model that is made
    of torch's own modules alone, as an ``nn.Sequential``: the line that calls the whole model tells nothing of one.

    Args:
        model: whose layers' lines are wanted within it; None for the nearest line of the user's, wherever it is.

    Example:
        >>> x = torch.ones(2, requires_grad=True)
        >>> with SourceFinder() as finder:
        ...     y = torch.tanh(x)
        >>> finder.line_of(y.grad_fn._sequence_nr()).endswith(":2")
        True
    """

    def __init__(self, model: nn.Module | None = None) -> None:
        super().__init__()
        self._model = model
        self._numbers: list[int] = []
        self._lines: list[SourceLine] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function, and note the line if Nodes were born."""
        del types
        before = next_number()
        out = func(*args, **(kwargs or {}))
        if next_number() != before:
            self._numbers.append(before)
            self._lines.append(_line(self._model))
        for follow in self.followers:
            follow(func, (args, kwargs), out)
        return out

    def line_of(self, number: int) -> str:
        """``file:line`` of the call in which a Node of this number was born; empty if nobody saw it."""
        found = bisect_right(self._numbers, number)
        return str(self._lines[found - 1]) if found and not self._lines[found - 1].of_the_model else ""

    def line_around(self, number: int) -> str:
        """``file:line`` of the user's that is nearest to such a call, even if it calls the whole model."""
        found = bisect_right(self._numbers, number)
        return str(self._lines[found - 1]) if found else ""


def users_line() -> str:
    """Return the ``file:line`` of the user's code that is being run; empty if there is none."""
    return str(_line())


def _line(model: nn.Module | None = None) -> SourceLine:
    frame, of_the_model = sys._getframe(2), False
    while frame is not None:
        if not _is_torchs(frame.f_code.co_filename):
            return SourceLine(frame.f_code.co_filename, frame.f_lineno, of_the_model)
        of_the_model |= model is not None and frame.f_code is _CALL and frame.f_locals.get("self") is model
        frame = frame.f_back  # type: ignore[assignment]  # None at the end
    return SourceLine("", 0, False)


@cache
def _is_torchs(file: str) -> bool:
    return file.startswith(_NOT_THE_USERS) or file.endswith("/contextlib.py")
