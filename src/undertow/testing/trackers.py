"""The contract of a tracker: it takes what is told on another thread, in any words, and numbers arrive as they were."""

import math
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from undertow.record import Finding, Severity

NAMES = (
    "loss", "lr", "grad_norm", "grad_norm_unclipped", "path/at_loss", "path/at_front", "path/decades", "path/slope",
    "layers/update_ratio", "layers/coherence", "layers/slowest_update_ratio", "layers/slowest_depth",
)  # fmt: skip
"""What a tracker is told of an observed step, each with ``undertow/`` before it."""

TOLD: Mapping[int, Mapping[str, float]] = {
    step: {f"undertow/{name}": (place + 1) * 10.0 ** (place - 8) / (step + 1) for place, name in enumerate(NAMES)}
    for step in (0, 3, 10)
}
"""A dozen numbers of three steps, from 1e-8 to 1e4."""

HOSTILE = Finding(
    "UT101", "vanishing | gradient", Severity.ERROR, (), "fc\x1b[31m\u202e<script>", "It | fades at `层`.\nBadly.",
    advice="Use He.",
)  # fmt: skip

CLOSE = 1e-5
"""Part of a number by which it may differ: some trackers keep float32."""

Read = Callable[[], Mapping[str, Sequence[tuple[int, float]]]]


def check_tracker(make: Callable[[], Any], read: Read | None = None) -> None:
    """Hold a tracker to its contract.

    Args:
        make: makes one: an object with the methods ``scalars(step, values)``, ``finding(step, finding)``,
            ``page(path)`` and ``table(name, columns, rows)``.
        read: reads back what was logged, as (step, value) by name, after all was told.

    Raises:
        AssertionError: a method is missing or raises, or a number isn't there as it was told.

    Example:
        >>> class Kept(dict):
        ...     def scalars(self, step, values):
        ...         for name, value in values.items():
        ...             self.setdefault(name, []).append((step, value))
        ...     def finding(self, step, finding): ...
        ...     def page(self, path): ...
        ...     def table(self, name, columns, rows): ...
        >>> kept = Kept()
        >>> check_tracker(lambda: kept, lambda: kept)
    """
    __tracebackhide__ = True
    tracker = make()
    missing = [name for name in ("scalars", "finding", "page", "table") if not callable(getattr(tracker, name, None))]
    if missing:
        raise AssertionError(f"a tracker has a method {missing[0]}, and {type(tracker).__name__} has none")
    failed: list[BaseException] = []
    teller = threading.Thread(target=_tell, args=(tracker, failed))  # as a run is followed on a thread of its own
    teller.start()
    teller.join()
    if failed:
        raise AssertionError(
            f"{type(tracker).__name__} raises on another thread: {type(failed[0]).__name__}: {failed[0]}"
        )
    if read is not None:
        _check_read(dict(read()))


def _tell(tracker: Any, failed: list[BaseException]) -> None:
    try:
        for step, values in TOLD.items():
            tracker.scalars(step, values)
        tracker.finding(3, HOSTILE)
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder, "undertow.html")
            page.write_text("<!DOCTYPE html><title>a run</title>", encoding="utf-8")
            tracker.page(page)
            if not page.is_file():
                raise AssertionError("it takes the page away")
        tracker.table("doctor", ("remedies", "effect"), [["UR101 a | b", 0.5], ["none", -0.25]])
    except BaseException as error:
        failed.append(error)


def _check_read(logged: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    __tracebackhide__ = True
    for step, values in TOLD.items():
        for name, value in values.items():
            found = dict(logged.get(name, ()))
            if step not in found:
                raise AssertionError(f"{name} is not there at step {step}; there are steps {sorted(found)}")
            same = math.isclose(found[step], value, rel_tol=CLOSE)
            if not same:
                raise AssertionError(f"{name} is {found[step]:.6g} at step {step} and was told as {value:.6g}")
