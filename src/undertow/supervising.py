"""Run a command in a process of its own, so that nobody's code can end it with the exit code of a success.

The user's model and loss run in the command's process and may end it at any time, from Python or from C: `os._exit(0)`,
a library's ``exit(0)``. A shell would take that for a verdict. So the command runs in a fork that is made before
anything large is loaded, and what it ends with counts only if the command says so, through a pipe, when it is done.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

_ENDING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGCHLD")
_PARENT_DEATH = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>


class CommandEnd(NamedTuple):
    """Tell how a command ended: the exit code that it gave itself, if any, and how its process ended.

    Attributes:
        told: the exit code with which the command came to its end; None if something else ended its process.
        code: the exit code of the process.
        signal: the signal that killed the process, or 0.
    """

    told: int | None
    code: int
    signal: int


def can_supervise() -> bool:
    """Tell whether a process can be forked here: not on Windows, and not beside threads or once torch is loaded."""
    return hasattr(os, "fork") and "torch" not in sys.modules and threading.active_count() == 1


def supervised(command: Callable[[], object]) -> CommandEnd:
    """Run a command in a forked process, and wait for it. In that process itself this never returns.

    Signals that are sent to this process are handed on; those that a terminal sends reach both by themselves.

    Args:
        command: ends by returning, for 0, or with `SystemExit`.

    Example:
        >>> supervised(lambda: sys.exit(1)) if can_supervise() else CommandEnd(1, 1, 0)
        CommandEnd(told=1, code=1, signal=0)
        >>> supervised(lambda: os._exit(0)) if can_supervise() else CommandEnd(None, 0, 0)
        CommandEnd(told=None, code=0, signal=0)
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    parent, awaited = os.getpid(), {getattr(signal, name) for name in _ENDING}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    child = os.fork()
    if not child:
        os.close(reading)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _end_with(parent)
        _run(command, writing)
    os.close(writing)
    try:
        status = _waited(child, awaited)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.set_blocking(reading, False)  # a process that the command has left behind may hold the pipe open
    told = _told(reading)
    ended = os.waitstatus_to_exitcode(status)
    return CommandEnd(told, max(ended, 0), max(-ended, 0))


def _run(command: Callable[[], object], writing: int) -> None:
    try:
        command()
        code: Any = 0
    except SystemExit as error:
        code = error.code
    code = code if isinstance(code, int) else int(code is not None)
    sys.stdout.flush()
    with suppress(BrokenPipeError):  # the process that asked was killed
        os.write(writing, bytes([code & 0xFF]))
    sys.exit(code)


def _told(reading: int) -> int | None:
    try:
        told = os.read(reading, 1)
    except BlockingIOError:
        told = b""
    os.close(reading)
    return told[0] if told else None


def _waited(child: int, awaited: set[signal.Signals]) -> int:
    """Wait for the end of a process, and hand signals on to it; return its status."""
    while True:
        number, by_somebody = _next_signal(awaited)
        if number == signal.SIGCHLD:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return status
        elif by_somebody:
            os.kill(child, number)


def _next_signal(awaited: set[signal.Signals]) -> tuple[int, bool]:
    """Wait for a signal; return its number, and whether it was sent to this process alone and not by a terminal."""
    if sys.platform == "linux":
        info = signal.sigwaitinfo(awaited)
        return info.si_signo, info.si_code <= 0
    number = signal.sigwait(awaited)
    return number, number != signal.SIGINT or not os.isatty(0)


def _end_with(parent: int) -> None:
    """Let this process be killed when the one that supervises it is: nobody waits for it any more."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PARENT_DEATH, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
