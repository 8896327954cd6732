"""The ``undertow`` command: find the commands, parse, call, print.

Exit codes: 0 after a verdict or a result, 1 where `check` found what fails or something didn't hold, 2 where the
command line or the user's own code is at fault, 3 where undertow is, 128 and more where a signal ended it.
"""

import dis
import os
import signal
import sys
import sysconfig
import traceback
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Annotated

import typer
from rich.console import Console

from undertow.commands._named import Commands
from undertow.printable import printable
from undertow.supervising import CommandEnd, can_supervise, supervised
from undertow.user_function import UserCodeError

USERS, OURS = 2, 3
KILLED = 128
"""What a shell adds to the number of the signal that ended a process."""

BROKEN_PIPE = 13
"""The number of SIGPIPE, which Windows has no name for."""

_RUN_USERS_CODE = frozenset({"check", "doctor", "examine", "sweep"})
SHOW_TRACEBACK = "UNDERTOW_TRACEBACK"
SHELLS = ("bash", "zsh", "fish")

app = typer.Typer(
    help="Why is this deep network hard to train?",
    epilog="Example: undertow examine net.py:build, where build() returns (model, compute_loss)",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    cls=Commands,
)
errors = Console(stderr=True, highlight=False)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"undertow {version('undertow')}")
        raise typer.Exit


@app.callback()
def undertow(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Measure how fast each layer of a deep network learns, and why the front ones often hardly do."""


def main() -> None:
    """Run the command; what a user can mend is told in one line, without a traceback.

    A command that runs the user's code runs in a process of its own: its exit code is one only if it came to its end.
    """
    if any(word in _RUN_USERS_CODE for word in sys.argv[1:2]) and can_supervise():
        _pass_on(supervised(_command))
    else:
        _command()


def _pass_on(ended: CommandEnd) -> None:
    """End as the command did, or say what ended it."""
    if ended.told is not None:
        sys.exit(ended.told)
    if ended.signal:
        name = signal.Signals(ended.signal).name
        hint = ": was there enough memory?" if name == "SIGKILL" else ""
        _refuse(f"{name} ended the command before it was done{hint}", KILLED + ended.signal)
    _refuse(f"the user's code ended the program (exit code {ended.code}) before there was a verdict", USERS)


def _command() -> None:
    try:
        if sys.argv[1:2] == ["--show-completion"] and sys.argv[2:] and sys.argv[2] in SHELLS:
            return _show_completion(sys.argv[2])
        app(prog_name="undertow")
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # the reader, `head` perhaps, has seen enough
            sys.exit(KILLED + BROKEN_PIPE)
        if _raised_in(error, "typer"):
            raise
        _refuse(f"the user's code ended the program (sys.exit({error.code!r})) before there was a verdict", USERS)
    except KeyboardInterrupt:
        sys.exit(130)
    except BaseException as error:
        if os.environ.get(SHOW_TRACEBACK):
            traceback.print_exc()
        _refuse(*_told(error))


def _show_completion(shell: str) -> None:
    """Print the script of the shell that is named: typer alone knows but the one that the command runs in."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # made elsewhere, passed on here

    typer.echo(get_completion_script(prog_name="undertow", complete_var="_UNDERTOW_COMPLETE", shell=shell))


def _refuse(message: str, code: int) -> None:
    errors.print(printable(f"undertow: {message}", lines=True), soft_wrap=True, markup=False)
    sys.exit(code)


def _told(error: BaseException) -> tuple[str, int]:
    """Return a sentence on an error, and whose fault it is."""
    if isinstance(error, UserCodeError):
        errors.print(printable(error.traceback, lines=True), soft_wrap=True, markup=False, end="")
        return str(error), USERS
    if isinstance(error, OSError) and error.strerror and error.errno is not None:
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{error.strerror[:1].lower()}{error.strerror[1:]}", USERS
    if _raised_in(error, "undertow") and _on_purpose(error):
        return str(error), USERS
    kind = f"{type(error).__name__}: {error}".rstrip(": ")
    if (place := _users_line(error)) is not None:
        return f"your code failed at {place}: {kind}", USERS
    if _raised_in(error, "torch"):
        return f"torch can't go through this model: {kind}", USERS
    return f"this is a fault of undertow, not yours: {kind} ({SHOW_TRACEBACK}=1 shows where; please report it)", OURS


def _users_line(error: BaseException) -> str | None:
    """Return the line that raised it, if that is in no package that is installed, and not in ours."""
    last = _last(error)
    if last is None:
        return None
    file = Path(last.tb_frame.f_code.co_filename)
    known = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
    installed = any(file.is_relative_to(each) for each in (*known, Path(__file__).parent))
    return None if installed or not file.is_file() else f"{file}, line {last.tb_lineno}"


def _raised_in(error: BaseException, name: str) -> bool:
    last = _last(error)
    return last is not None and str(last.tb_frame.f_globals.get("__name__", "")).partition(".")[0] == name


def _on_purpose(error: BaseException) -> bool:
    """Tell whether a ``raise`` statement made it: what an operation raises by itself was not foreseen."""
    last = _last(error)
    return last is not None and last.tb_frame.f_code.co_code[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def _last(error: BaseException) -> TracebackType | None:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace
