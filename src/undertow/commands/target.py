"""``FILE.py:FUNCTION``: a user's file run, its function called, and clear words where that fails."""

import difflib
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

EXAMPLE = "end it with `return model, compute_loss` (or `return model, compute_loss, optimizer`)"


class UserCodeError(Exception):
    """Something in the user's own function went wrong; its traceback is theirs to see.

    Example:
        >>> UserCodeError("build() of net.py failed", "Traceback ...").told
        'Traceback ...'
    """

    def __init__(self, message: str, told: str) -> None:
        super().__init__(message)
        self.told = told


def load(target: str) -> tuple[Any, Callable[[], Any], Any]:
    """Run ``FILE.py``, call ``FUNCTION()``, and return its model, compute_loss and optimizer (None without one).

    An exception that compute_loss raises later comes as a `UserCodeError`, too.

    Raises:
        ValueError: not of the form FILE.py:FUNCTION, no such function, or it returned something else.
        OSError: no such file.
        ImportError: the file can't be run; the message says where.
        UserCodeError: the function raised an exception.

    Example:
        >>> load("net.py")
        Traceback (most recent call last):
        ValueError: 'net.py' names no function: write FILE.py:FUNCTION, as in net.py:build
    """
    file, name = split(target)
    function = _function(_run(file), file, name)
    with users_own(f"{name}() of {file}", file):
        returned = function()
    if not isinstance(returned, tuple) or len(returned) not in (2, 3):
        shape = f"{len(returned)} values" if isinstance(returned, tuple) else f"a {type(returned).__name__}"
        raise ValueError(f"{name}() of {file} returned {shape}: {EXAMPLE}")
    model, compute_loss, optimizer = (*returned, None)[:3]
    if not callable(compute_loss):
        raise ValueError(
            f"the compute_loss of {file}:{name} is a {type(compute_loss).__name__}, no function: {EXAMPLE}"
        )
    return model, _guarded(compute_loss, file), optimizer


def split(target: str) -> tuple[Path, str]:
    """The file and the name of the function. Raises: as `load` does."""
    file, _, name = target.rpartition(":")
    if not file or not name.isidentifier():
        stem = target.rstrip(":")
        raise ValueError(f"{target!r} names no function: write FILE.py:FUNCTION, as in {stem}:build")
    return Path(file), name


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
    except (Exception, SystemExit) as error:  # whatever a user's file may raise
        raise ImportError(f"{_place(error, file)}: {type(error).__name__}: {error}") from error
    return module


def _place(error: BaseException, file: Path) -> str:
    """The line of the user's file that led to it, even where it was raised elsewhere."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if _same(frame.filename, file)]
    return f"{file}, line {own[-1].lineno}" if own else str(file)


def _same(filename: str, file: Path) -> bool:
    return Path(filename).resolve() == file.resolve()


def _function(module: ModuleType, file: Path, name: str) -> Callable[[], Any]:
    function = getattr(module, name, None)
    if callable(function):
        return function
    if function is not None:
        raise ValueError(f"{name} of {file} is a {type(function).__name__}, not a function")
    own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    near = difflib.get_close_matches(name, own, 1)
    raise ValueError(f"{file} has no function {name}" + (f": did you mean {near[0]}?" if near else ""))


def _guarded(compute_loss: Callable[[], Any], file: Path) -> Callable[[], Any]:
    def guarded() -> Any:
        with users_own("compute_loss", file):
            return compute_loss()

    return guarded


@contextmanager
def users_own(what: str, file: Path) -> Iterator[None]:
    """Turn what is raised inside into a `UserCodeError` that tells the traceback from the user's file on."""
    try:
        yield
    except Exception as error:
        trace = traceback.TracebackException.from_exception(error)
        first = next((i for i, frame in enumerate(trace.stack) if _same(frame.filename, file)), 0)
        trace.stack = traceback.StackSummary.from_list(trace.stack[first:])
        raise UserCodeError(f"{what} failed", "".join(trace.format())) from error
