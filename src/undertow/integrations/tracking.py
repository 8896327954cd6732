"""Trackers: `follow` tells one of a Run while it grows, on a thread of its own, from the Run's file alone.

The leaves `wandb`, `mlflow`, `tensorboard` and `trackio` are such trackers; one of your own is four methods::

    from undertow.integrations.tracking import follow

    class Printer:
        def scalars(self, step, values):  # a dozen numbers at an observed step, by name: "undertow/path/slope": -0.31
            print(step, values)

        def finding(self, step, finding):  # a new finding: an undertow.record.Finding
            print(step, finding)

        def page(self, path):  # when the Run has ended: its page, one HTML file, gone after the call
            print(path.stat().st_size)

        def table(self, name, columns, rows):  # what the doctor has compared, see `tell_treatment`
            print(name, columns, rows)

    with undertow.watch(model, optimizer) as watcher:
        follow(watcher, Printer())
        ...

Nothing is read from the model, nothing waits, and training is the same with it. A tracker's error is told once, and
ends the following, not the training. With several processes follow the first one's Run.
"""

import atexit
import logging
import math
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

import undertow
from undertow.diagnosis import Diagnosis
from undertow.integrations.trackers import tracker as named_tracker
from undertow.record import Finding, Role, Run, Severity
from undertow.store import Position, RunReader, StoreError

__all__ = ["Follower", "Tracker", "follow", "key_numbers", "tell_treatment"]

EVERY = 5.0
"""Seconds between two looks into the file."""

AT_ONCE = 8
"""Full steps that are looked through at one look: of more, some evenly spread and the last."""

PREFIX = "undertow/"

OF_EVERY_STEP = ("loss", "lr", "grad_norm", "grad_norm_unclipped")

_log = logging.getLogger("undertow")


class Tracker(Protocol):
    """Takes what `follow` tells, on a thread that isn't the training's."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Take numbers of an observed step, by name; they come in the order of steps."""

    def finding(self, step: int, finding: Finding) -> None:
        """Take a finding that wasn't there before."""

    def page(self, path: Path) -> None:
        """Take the Run's page, when the Run has ended; the file is gone after the call."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[str | float]]) -> None:
        """Take a table."""


class Follower:
    """Follows a Run's file, and tells a tracker what is new; made by `follow`.

    Args:
        path: of the Run.
        tracker: what is told.
        watcher: that records the Run, if it is in this process; at the interpreter's exit it is closed first.
        every: seconds between two looks into the file.
    """

    def __init__(self, path: Path, tracker: Tracker, watcher: Any = None, every: float = EVERY) -> None:
        self._path, self._tracker, self._every = path, tracker, every
        self._watcher = weakref.ref(watcher) if watcher is not None else lambda: None
        self._wake, self._last = threading.Event(), threading.Event()
        self._told: set[tuple[str, str]] = set()
        self._thread = threading.Thread(target=self._run, name="undertow tracking", daemon=True)
        self._thread.start()
        atexit.register(_at_exit, weakref.ref(self))

    def close(self, timeout: float | None = 60.0) -> None:
        """Tell the rest, as far as the Run has got, and end. Done by itself when the Run ends.

        Args:
            timeout: seconds to wait; None to wait for as long as it takes.
        """
        self._last.set()
        self._wake.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def __enter__(self) -> "Follower":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        try:
            with RunReader(self._path) as reader:
                self._follow(reader)
        except Exception as error:  # the tracker's or the file's: training goes on
            name = type(self._tracker).__name__
            _log.warning("undertow: %s is told nothing more: %s: %s", name, type(error).__name__, error)

    def _follow(self, reader: RunReader) -> None:
        position: Position | None = None
        fresh, last = Run({}, ()), False
        while True:
            asked = self._last.is_set()
            if reader.refresh() != position:
                position, fresh = reader.grown(position)
                self._tell(fresh)
            if asked or last:
                break
            last = self._is_over(fresh)
            self._wake.wait(0 if last else self._every)
        self._conclude()

    def _is_over(self, run: Run) -> bool:
        """Tell whether a last look is enough."""
        watcher = self._watcher()
        if watcher is not None:  # of a Run that goes on the file may say as yet that it ended before
            return bool(watcher.closed and watcher.flush())
        ended = run.header.get("ended")
        return isinstance(ended, int | float) and not isinstance(ended, bool)

    def _tell(self, fresh: Run) -> None:
        for step, values in _numbers(fresh):
            self._tracker.scalars(step, values)
        for event in fresh.events:
            if event.kind == "finding":
                self._find(event.step, Finding.from_dict(event.data))

    def _find(self, step: int, finding: Finding) -> None:
        key = finding.code, finding.where
        if key not in self._told and finding.severity is not Severity.NOTE:
            self._told.add(key)
            self._tracker.finding(step, finding)

    def _conclude(self) -> None:
        """Tell what a whole run shows, and hand over its page."""
        try:
            explained = undertow.explain(undertow.open_run(self._path))
        except StoreError:  # it never got a step
            return
        for finding in explained.findings:
            self._find(int(explained.step or 0), finding)
        with tempfile.TemporaryDirectory() as folder:
            self._tracker.page(explained.save(Path(folder, "undertow.html"), title=self._path.stem))


def follow(run: Any, tracker: Tracker | str, every: float = EVERY) -> Follower:
    """Tell a tracker of a Run while it grows, from now to its end.

    Args:
        run: the watcher that records it, or the Run's path.
        tracker: what is told; or its name, a leaf's or a plugin's (see `undertow.integrations.trackers`).
        every: seconds between two looks into the file.

    Returns:
        The follower: close it to have the rest told at once. It ends by itself soon after the Run, or with the program.

    Example:
        >>> import torch
        >>> class Steps(list):
        ...     def scalars(self, step, values):
        ...         self.append((step, "undertow/path/decades" in values))
        ...     def finding(self, step, finding): ...
        ...     def page(self, path):
        ...         self.append(path.name)
        >>> net, steps = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)), Steps()
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with undertow.watch(net, optimizer, f"{folder}/first.undertow", every=2, overhead=1.0) as watcher:
        ...         follower = follow(watcher, steps)
        ...         for _ in range(3):
        ...             optimizer.zero_grad()
        ...             net(torch.randn(8, 4)).square().mean().backward()
        ...             optimizer.step()
        ...     follower.close()
        >>> steps[0], steps[-1]
        ((0, True), 'undertow.html')
    """
    watcher = run if hasattr(run, "flush") else None
    told = named_tracker(tracker) if isinstance(tracker, str) else tracker
    return Follower(Path(run.path if watcher is not None else run), told, watcher, every)


def key_numbers(run: Run, row: int) -> dict[str, float]:
    """Return what a full step of a Run comes down to.

    Args:
        run: it, or a part of it.
        row: the step's place among the full ones.

    Returns:
        ``path/at_loss`` and ``path/at_front``, the norms of the gradient at the ends of the path that it takes back;
        ``path/decades`` between them, and ``path/slope``, decades a layer; ``layers/update_ratio`` and
        ``layers/coherence``, medians over the layers; ``layers/slowest_update_ratio``, of the layer that moves least,
        and ``layers/slowest_depth``, how many layers it is from the loss. What wasn't measured is left out.
    """
    found = _of_path(Diagnosis(run, row)) | _of_layers(Diagnosis(run, row))
    return {f"{PREFIX}{name}": float(value) for name, value in found.items() if not math.isnan(value)}


def tell_treatment(treatment: Any, tracker: Tracker) -> None:
    """Tell a tracker what `undertow.doctor` has found, or what `undertow.verify` has compared: a table, and a page.

    Args:
        treatment: a treatment, or comparisons.
        tracker: what is told.
    """
    comparisons = getattr(treatment, "comparisons", treatment)
    columns = ("remedies", "verdict", "control", "treated", "effect", "low", "high", "p", "seeds")
    tracker.table("doctor", columns, [_row(each) for each in comparisons])
    if hasattr(treatment, "save"):
        with tempfile.TemporaryDirectory() as folder:
            tracker.page(treatment.save(Path(folder, "doctor.html")))


def _row(comparison: Any) -> list[str | float]:
    names = " + ".join(f"{each.code} {each.name}" for each in comparison.remedies) or "none"
    control, treated = (float(np.mean(scores)) for scores in (comparison.control, comparison.treated))
    numbers = (control, treated, comparison.effect, *comparison.interval, comparison.p)
    return [names, str(comparison.verdict), *map(float, numbers), len(comparison.seeds)]


def _numbers(run: Run) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield the numbers of every observed step in a part of a Run, in order."""
    found: dict[int, dict[str, float]] = {}
    steps = run.scalars.get("step", np.empty(0))
    for name in OF_EVERY_STEP:
        for step, value in zip(steps, run.scalars.get(name, ()), strict=False):
            if not math.isnan(value):
                found.setdefault(int(step), {})[f"{PREFIX}{name}"] = float(value)
    rows = len(run)
    for row in np.unique(np.linspace(0, rows - 1, min(rows, AT_ONCE)).round().astype(int)).tolist() if rows else ():
        found.setdefault(int(run.steps["step"][row]), {}).update(key_numbers(run, row))
    yield from sorted(found.items())


def _of_path(diagnosis: Diagnosis) -> dict[str, float]:
    path = diagnosis.gradient_path
    if path is None or len(path.waypoints) < 2:
        return {}
    norms = diagnosis.column("grad_output")[list(path.waypoints)]
    if not np.isfinite(norms).all():
        return {}
    decay = path.decay()
    return {
        "path/at_loss": norms[0],
        "path/at_front": norms[-1],
        "path/decades": decay.total,
        "path/slope": decay.rate,
    }


def _of_layers(diagnosis: Diagnosis) -> dict[str, float]:
    layers = [site.index for site in diagnosis.run.sites if site.role is Role.WEIGHT and site.parameters]
    found: dict[str, float] = {}
    for name in ("update_ratio", "coherence"):
        values = diagnosis.column(name)[layers]
        if np.isfinite(values).any():
            found[f"layers/{name}"] = np.median(values[np.isfinite(values)])
    ratios = diagnosis.column("update_ratio")[layers]
    if np.isfinite(ratios).any():
        slowest = int(np.nanargmin(np.where(np.isfinite(ratios), ratios, np.nan)))
        found["layers/slowest_update_ratio"] = ratios[slowest]
        found["layers/slowest_depth"] = diagnosis.depth[layers[slowest]]
    return found


def _at_exit(follower: "weakref.ref[Follower]") -> None:
    alive = follower()
    if alive is not None:
        watcher = alive._watcher()
        if watcher is not None:
            watcher.close()
        alive.close()
