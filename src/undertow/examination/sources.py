"""Which line of the user's source an operation comes from."""

import sys
from bisect import bisect_right
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_OURS = Path(__file__).parents[1]
_NOT_THE_USERS = (str(Path(torch.__file__).parent), str(_OURS / "examination"), str(_OURS / "tape"))


class SourceFinder(TorchFunctionMode):
    """Notes, for every function of torch that is called while it is entered, where from, by autograd's numbers.

    Modes belong to a thread: what other threads compute has no line.

    Example:
        >>> x = torch.ones(2, requires_grad=True)
        >>> with SourceFinder() as finder:
        ...     y = torch.tanh(x)
        >>> finder.line_of(y.grad_fn._sequence_nr()).endswith(":2")
        True
    """

    def __init__(self) -> None:
        super().__init__()
        self._numbers: list[int] = []
        self._lines: list[tuple[str, int]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function, and note the line if Nodes were born."""
        del types
        before = torch._C._autograd._get_sequence_nr()
        out = func(*args, **(kwargs or {}))
        if torch._C._autograd._get_sequence_nr() != before:
            self._numbers.append(before)
            self._lines.append(_line())
        return out

    def line_of(self, number: int) -> str:
        """``file:line`` of the call in which a Node of this number was born; empty if nobody saw it."""
        found = bisect_right(self._numbers, number)
        if not found:
            return ""
        file, line = self._lines[found - 1]
        return f"{file}:{line}" if file else ""


def users_line() -> str:
    """Return the ``file:line`` of the user's code that is being run; empty if there is none."""
    file, line = _line()
    return f"{file}:{line}" if file else ""


def _line() -> tuple[str, int]:
    frame = sys._getframe(2)
    while frame is not None:
        if not _is_torchs(frame.f_code.co_filename):
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]  # None at the end
    return "", 0


@cache
def _is_torchs(file: str) -> bool:
    return file.startswith(_NOT_THE_USERS) or file.endswith("/contextlib.py")
