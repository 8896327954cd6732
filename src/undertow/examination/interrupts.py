"""Ctrl-C during an examination: heard while the user's own code runs, held back while things are put back."""

import signal
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")

IMPATIENT = 3
"""Ctrl-C so often is obeyed at once, even where a trace would stay: something of ours hangs."""


class Interrupts:
    """Hold back Ctrl-C from `hold` to `release`, but for the time that functions from `through` take.

    Between any two lines of ours an interrupt would leave undone what the next line puts back. Other threads than the
    main one are never interrupted, and a program that has chosen to ignore or to die of Ctrl-C still does.

    Example:
        >>> interrupts = Interrupts()
        >>> interrupts.hold()
        >>> signal.raise_signal(signal.SIGINT)  # nothing happens yet
        >>> try:
        ...     interrupts.release()
        ... except KeyboardInterrupt:
        ...     print("now")
        now
    """

    def __init__(self) -> None:
        self._before: Callable[..., Any] | None = None
        self._pending = 0
        self._heard = False

    def hold(self) -> None:
        """Begin to hold Ctrl-C back."""
        before = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is threading.main_thread() and callable(before):
            self._before = before
            signal.signal(signal.SIGINT, self._on_signal)

    def release(self) -> None:
        """Hear Ctrl-C as before, and now if it came meanwhile. To do so twice does no harm."""
        before = self._before
        if before is not None and signal.getsignal(signal.SIGINT) == self._on_signal:  # else the user's code took it
            signal.signal(signal.SIGINT, before)
        self._now()

    def through(self, function: Callable[Given, Result]) -> Callable[Given, Result]:
        """Return the function, made to be interrupted: it is the user's, and may take its time."""

        def interruptible(*args: Given.args, **kwargs: Given.kwargs) -> Result:
            self._now()
            self._heard = True
            try:
                return function(*args, **kwargs)
            finally:
                self._heard = False

        return interruptible

    def _on_signal(self, number: int, frame: Any) -> None:
        self._pending += 1
        if self._heard or self._pending >= IMPATIENT:
            self._now(number, frame)

    def _now(self, number: int = signal.SIGINT, frame: Any = None) -> None:
        """Do what Ctrl-C does, if there was one, and hold back the next: this one is on its way out."""
        pending, heard, before = self._pending, self._heard, self._before
        self._pending, self._heard = 0, False
        if pending and before is not None:
            before(number, frame)
        self._heard = heard  # after a handler of the user's that only takes a note
