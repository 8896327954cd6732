"""Load the model, compute_loss and optimizer that a user's ``FILE.py:FUNCTION`` returns."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from undertow.user_function import function_of, kind_of, split, users_own

EXAMPLE = "end it with `return model, compute_loss` (or `return model, compute_loss, optimizer`)"


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
    returned = _returned(target)
    if hasattr(returned, "batches"):
        return _start_of(returned, file)
    model, compute_loss, optimizer = _parts(returned, f"{name}() of {file}")
    return model, _guarded(compute_loss, file), optimizer


def training(target: str, steps: int | None = None) -> Any:
    """Run ``FILE.py``, call ``FUNCTION()``, and return the `undertow.Training` that it returns.

    Args:
        target: FILE.py:FUNCTION.
        steps: of a full training, if not its own.

    Raises:
        ValueError: it returned something else; the message says what to write.
        OSError, ImportError, UserCodeError: as `load`.
    """
    from undertow.training import Training  # loads torch

    file, name = split(target)
    returned = _returned(target)
    if not isinstance(returned, Training):
        raise ValueError(
            f"{name}() of {file} returned {kind_of(returned)}: the doctor needs to train, so end it with "
            "`return undertow.Training(model=..., batches=..., loss=..., optimizer=...)`"
        )
    return returned if steps is None else replace(returned, steps=steps)


def _returned(target: str) -> Any:
    file, name = split(target)
    function = function_of(target)
    _check_call(function, f"{name}() of {file}")
    with users_own(f"{name}() of {file}", file):
        return function()


def _start_of(training: Any, file: Path) -> tuple[Any, Callable[[], Any], Any]:
    """Return a training's fresh model, its loss on a batch, and its optimizer."""
    with users_own("the Training", file):
        model = training.model()
        batches = training.sample()
        optimizer = training.optimizer(model)
    numbers = count()
    return model, _guarded(lambda: training.loss(model, batches[next(numbers) % len(batches)]), file), optimizer


def _check_call(function: Callable[..., Any], what: str) -> None:
    """Refuse a function that can't be called without arguments, or returns nothing when it is called."""
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        how = "is async" if inspect.iscoroutinefunction(function) else "yields"
        raise ValueError(f"{what} {how}: write a plain function, and {EXAMPLE}")
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a callable that doesn't tell
        return
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [each.name for each in parameters if each.default is each.empty and each.kind not in kinds]
    if needed:
        values = ", ".join(f"{name}=..." for name in needed)
        call = f"def build(): return {what.partition('(')[0]}({values})"
        raise ValueError(
            f"{what} needs {', '.join(needed)}, and it is called without arguments: name another, as in `{call}`"
        )


def _parts(returned: object, what: str) -> tuple[Any, Callable[[], Any], Any]:
    if not isinstance(returned, tuple) or len(returned) not in (2, 3):
        shape = f"{len(returned)} values" if isinstance(returned, tuple) else kind_of(returned)
        raise ValueError(f"{what} returned {shape}: {EXAMPLE}")
    model, compute_loss, optimizer = (*returned, None)[:3]
    if hasattr(compute_loss, "named_parameters") and not hasattr(model, "named_parameters"):
        raise ValueError(f"{what} returned (compute_loss, model): write the model first, `return model, compute_loss`")
    if not callable(compute_loss):
        anew = "write `lambda: loss_function(model(x), y)`, which computes it anew"
        hint = anew if hasattr(compute_loss, "backward") else EXAMPLE
        raise ValueError(f"the compute_loss of {what} is {kind_of(compute_loss)}, no function: {hint}")
    return model, compute_loss, optimizer


def _guarded(compute_loss: Callable[[], Any], file: Path) -> Callable[[], Any]:
    def guarded() -> Any:
        with users_own("compute_loss", file):
            return compute_loss()

    return guarded
