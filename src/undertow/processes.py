"""Processes for work that runs on one thread each.

Two threads inside one small ensemble gain nothing, two processes a factor of two; and what is computed then doesn't
depend on how many processors the machine has.
"""

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.context import SpawnContext

ONE_THREAD: Mapping[str, str] = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
"""Variables that numerical libraries read when they are loaded."""


def spawning() -> SpawnContext:
    """Return where processes come from: forking one that has used torch can hang, so they start afresh."""
    return multiprocessing.get_context("spawn")


def processors() -> int:
    """Return how many processors this process may use.

    Example:
        >>> processors() >= 1
        True
    """
    usable = getattr(os, "sched_getaffinity", None)  # only Linux tells
    return len(usable(0)) if usable else os.cpu_count() or 1


def end_with_parent() -> None:
    """Let this process end when the one that started it is gone.

    A parent that is killed can't stop its processes; left alone they would compute on for nobody.
    """
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


@contextmanager
def main_hidden() -> Iterator[None]:
    """Processes started inside don't run the user's script anew, which a script without a ``__main__`` guard ends in.

    What is sent to them must not need the script: functions of its own by value, as cloudpickle sends them.

    Example:
        >>> with main_hidden():
        ...     hasattr(sys.modules["__main__"], "__file__")
        False
    """
    main = sys.modules["__main__"]
    kept = {name: vars(main)[name] for name in ("__file__", "__spec__") if name in vars(main)}
    for name in kept:
        delattr(main, name)
    main.__spec__ = None
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(main, name, value)


@contextmanager
def one_thread_inherited() -> Iterator[None]:
    """Processes started inside load their numerical libraries with one thread.

    Example:
        >>> with one_thread_inherited():
        ...     os.environ["OMP_NUM_THREADS"]
        '1'
    """
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
