"""Sending a user's functions to other processes, also those of files that these can't import by name."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle


def sendable(value: Any) -> bytes:
    """Return an object as bytes that another process of this machine can read.

    Raises:
        Exception: whatever one of its parts raises that can't be pickled, such as an open file.

    Example:
        >>> import pickle
        >>> pickle.loads(sendable(lambda: 3))()
        3
    """
    with _by_value():
        made: bytes = cloudpickle.dumps(value)
        return made


@contextmanager
def _by_value() -> Iterator[None]:
    """Let functions of modules that were loaded by hand be sent with their code."""
    hidden = [module for module in list(sys.modules.values()) if _loaded_by_hand(module)]
    for module in hidden:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in hidden:
            cloudpickle.unregister_pickle_by_value(module)


def _loaded_by_hand(module: ModuleType) -> bool:
    file, name = getattr(module, "__file__", None), getattr(module, "__name__", "")
    if not file or name in ("", "__main__") or name not in sys.modules:
        return False
    if any(file.startswith(place) for place in (sys.prefix, sys.base_prefix)):
        return False
    top = name.partition(".")[0]
    try:
        found = PathFinder.find_spec(top)
    except (ImportError, ValueError):
        return True
    return found is None or ("." not in name and found.origin is not None and not _same(found.origin, file))


def _same(one: str, other: str) -> bool:
    return Path(one).resolve() == Path(other).resolve()
