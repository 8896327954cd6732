"""One Run that somebody looks at: kept up to date from its file, and described as JSON."""

import json
import math
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from undertow.diagnosis import Diagnosis
from undertow.record import Event, Finding, Run
from undertow.render.run_series import RunSeries
from undertow.render.run_view import run_view
from undertow.render.step_view import step_view
from undertow.rules import over_time
from undertow.rules.failures import failures
from undertow.serving.growth import Growth
from undertow.serving.state import last_written, state_of

JUDGE_EVERY = 4.0
"""Seconds between two judgements of a growing Run, at least..."""

JUDGE_AFTER = 0.5
"""Seconds a page has its first picture to itself."""

JUDGE_SHARE = 20.0
"""...and at least so many times what the last one took."""


class Followed:
    """A Run as its pages show it. Safe to use from several threads.

    Attributes:
        path: of the Run.
        version: rises whenever there is something new to see.

    Raises:
        StoreError: the file is no Run, damaged or from a newer undertow.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.version = 0
        self._growth = Growth(path)
        self._lock = threading.RLock()
        self._last = Run({}, ())
        self._series = RunSeries(self._last)
        self._events: list[Event] = []
        self._findings: list[Finding] = []
        self._failed: list[Event] = []
        self._judged: int | None = None
        self._next_judgement = math.inf
        self._drawn: tuple[int, bytes] = (-1, b"")

    def refresh(self) -> None:
        """Take in what came since the last time."""
        with self._lock:
            grown = self._growth.grown()
            if grown is not None:
                self._take(*grown)

    @property
    def is_to_be_judged(self) -> bool:
        """Tell whether something came since it was judged, and that was long enough ago."""
        return self._judged != self._growth.count and time.monotonic() >= self._next_judgement

    def judge(self) -> None:
        """Let the rules judge it; that can take a while, in which pages are served."""
        if not self.is_to_be_judged:
            return
        began, count = time.monotonic(), self._growth.count
        self._next_judgement = began + JUDGE_EVERY
        findings, failed = self._found()
        with self._lock:
            self._findings, self._failed, self._judged = findings, failed, count
            self._next_judgement = time.monotonic() + max(JUDGE_EVERY, JUDGE_SHARE * (time.monotonic() - began))
            self.version += 1

    def _found(self) -> tuple[list[Finding], list[Event]]:
        """Return the findings, and an event for whatever kept rules from finding more: a page says so."""
        with failures() as failed:
            try:
                findings = over_time(self._growth.run())
            except Exception as error:
                findings = []
                failed.append(f"the rules could not judge this run ({type(error).__name__}: {error})")
        latest = self._series.latest.get("step", 0.0)
        step = int(latest) if math.isfinite(latest) else 0
        return findings, [Event(step, math.nan, "trouble", message) for message in failed]

    def _take(self, fresh: Run, whole: bool) -> None:
        if whole:
            self._series, self._events = RunSeries(fresh), []
        else:
            self._series.add(fresh)
        self._events += fresh.events
        self._last = fresh
        self.version += 1

    def view(self) -> bytes:
        """Return what the page draws, as JSON."""
        with self._lock:
            if math.isinf(self._next_judgement):
                self._next_judgement = time.monotonic() + JUDGE_AFTER
            if self._drawn[0] != self.version:
                events = [*self._events, *self._failed]
                drawn = run_view(self._series, self._last.header, self._findings, events, self._judged is not None)
                self._drawn = (
                    self.version,
                    json.dumps({"version": self.version, **drawn}, allow_nan=False).encode(),
                )
            return self._drawn[1]

    def step_view(self, row: int) -> Mapping[str, Any]:
        """Return what is shown of one taped step.

        Raises:
            IndexError: so many steps were not taped.
        """
        with self._lock:
            if not 0 <= row < len(self._series.taped):
                raise IndexError(f"there is no taped step {row:,}: this run has {len(self._series.taped):,}")
            return step_view(Diagnosis(*self._growth.step(row)))

    def state(self) -> dict[str, Any]:
        """Return whether it grows, for people and for the page."""
        reached = self._series.latest.get("time", 0.0)
        return {"version": self.version, **state_of(last_written(self.path), self._last.header, reached)}

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._growth.close()
