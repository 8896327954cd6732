"""Run a user's ``FILE.py``, find its ``FUNCTION``, and say clearly where that fails."""

import ast
import difflib
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any


class UserCodeError(Exception):
    """Something in the user's own function went wrong; its traceback is theirs to see.

    Example:
        >>> UserCodeError("build() of net.py failed", "Traceback ...").traceback
        'Traceback ...'
    """

    def __init__(self, message: str, traceback: str) -> None:
        super().__init__(message)
        self.traceback = traceback


def split(target: str) -> tuple[Path, str]:
    """Split ``FILE.py:FUNCTION`` into the file and the name of the function.

    Raises:
        ValueError: not of the form FILE.py:FUNCTION.

    Example:
        >>> split("net.py:build")[1]
        'build'
    """
    file, _, name = target.rpartition(":")
    if not file or not name.isidentifier():
        raise ValueError(f"{target!r} {_instead(Path(target.rstrip(':') or 'net.py'))}")
    return Path(file), name


def _instead(path: Path) -> str:
    """Say what a path is that names no function, and what to write."""
    suffix = path.suffix.lower()
    if suffix == ".json":
        return f"is no FILE.py:FUNCTION: of a saved report, `undertow check {path}` lists the findings"
    if suffix == ".undertow":
        return f"is no FILE.py:FUNCTION: of a run, `undertow show {path}` tells how it went"
    if suffix in (".html", ".png", ".svg", ".txt"):
        return "is no FILE.py:FUNCTION: it is what a report is written to, to be looked at"
    if path.is_dir():
        return "is a folder: write FILE.py:FUNCTION, as in net.py:build"
    defined = _defined(path) if suffix == ".py" else []
    return f"names no function: write FILE.py:FUNCTION, as in {path}:{(defined or ['build'])[0]}"


def _defined(file: Path) -> list[str]:
    """Return the functions of a file that can be called without arguments, without running it."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    functions = (each for each in tree.body if isinstance(each, ast.FunctionDef) and not each.name.startswith("_"))
    return [each.name for each in functions if len(each.args.args) == len(each.args.defaults)]


def function_of(target: str) -> Callable[..., Any]:
    """Run ``FILE.py`` and return its ``FUNCTION``.

    Raises:
        ValueError: not of the form FILE.py:FUNCTION, or no such function.
        OSError: no such file.
        ImportError: the file can't be run; the message says where.
    """
    file, name = split(target)
    return _function(_run(file), file, name)


def _run(file: Path) -> ModuleType:
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    sys.path.insert(0, str(file.resolve().parent))  # as `python FILE.py` does
    name = file.stem if file.stem not in sys.modules else f"undertow_target_{file.stem}"
    spec = util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ImportError(f"{error.filename}, line {error.lineno}: {error.msg}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a user's file may raise
        raise ImportError(f"{_place(error, file)}: {type(error).__name__}: {error}") from error
    return module


def _place(error: BaseException, file: Path) -> str:
    """Return the line of the user's file that led to it, even where it was raised elsewhere."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if _same(frame.filename, file)]
    return f"{file}, line {own[-1].lineno}" if own else str(file)


def _same(filename: str, file: Path) -> bool:
    return Path(filename).resolve() == file.resolve()


def _function(module: ModuleType, file: Path, name: str) -> Callable[..., Any]:
    function = getattr(module, name, None)
    if callable(function):
        found: Callable[..., Any] = function
        return found
    if function is not None:
        raise ValueError(f"{name} of {file} is {kind_of(function)}, not a function")
    own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    near = difflib.get_close_matches(name, own, 1)
    raise ValueError(f"{file} has no function {name}" + (f": did you mean {near[0]}?" if near else ""))


def kind_of(value: object) -> str:
    """Name what a value is.

    Example:
        >>> kind_of(3), kind_of("a"), kind_of(None)
        ('an int', 'a str', 'nothing')
    """
    name = type(value).__name__
    return "nothing" if value is None else f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def own_traceback(error: BaseException, file: Path) -> str:
    """Return the traceback as text, from the user's file on."""
    trace = traceback.TracebackException.from_exception(error)
    first = next((i for i, frame in enumerate(trace.stack) if _same(frame.filename, file)), 0)
    trace.stack = traceback.StackSummary.from_list(trace.stack[first:])
    return "".join(trace.format())


@contextmanager
def users_own(what: str, file: Path) -> Iterator[None]:
    """Turn what is raised inside into a `UserCodeError` that tells the traceback from the user's file on.

    Ctrl-C goes through. The end of the program does not: whoever called the user's code still has something to say.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    except SystemExit as error:
        ended = f"{what} ended the program with sys.exit({'' if error.code is None else repr(error.code)})"
        raise UserCodeError(f"{ended}: let it return instead", "") from error
    except BaseException as error:
        raise UserCodeError(f"{what} failed", own_traceback(error, file)) from error
