"""Summarize every Run in a folder without reading much of it."""

from pathlib import Path
from typing import Any

from undertow.record import Run
from undertow.render.run_summary import duration
from undertow.serving.folder import Folder
from undertow.serving.state import state_of
from undertow.store import RunReader, StoreError

LAST_ROWS = 64
"""Noted steps that the last numbers are looked for in."""


class Listing:
    """The Runs of a folder in a few words each; a Run is read anew only when its file has changed."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._known: dict[str, tuple[float, dict[str, Any]]] = {}

    def to_list(self) -> list[dict[str, Any]]:
        """One entry for each Run, those written last first."""
        times = self._folder.written()
        self._known = {name: self._looked_up(name, time) for name, time in times.items()}
        return [self._entry(name, times[name]) for name in sorted(times, key=lambda name: (-times[name], name))]

    def _looked_up(self, name: str, time: float) -> tuple[float, dict[str, Any]]:
        known = self._known.get(name)
        return known if known is not None and known[0] == time else (time, _summary(self._folder.find(name)))

    def _entry(self, name: str, written: float) -> dict[str, Any]:
        known = self._known[name][1]
        state = (
            state_of(written, known["header"], known["reached"])
            if "header" in known
            else {"kind": "lost", "message": "can't be read"}
        )
        shown = {key: value for key, value in known.items() if key not in ("header", "reached")}
        return {"name": name, **state, **shown}


def _summary(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {"trouble": "it is gone"}
    try:
        with RunReader(path) as reader:
            end = reader.refresh()
            run = reader.tail(end._replace(scalars=max(0, end.scalars - LAST_ROWS), events=0))
        last = {name: _last(values) for name, values in run.scalars.items()}
        numbers = _numbers(run, last)
        return {"header": run.header, "reached": last.get("time") or 0.0, **numbers, "findings": _found(run)}
    except StoreError as error:
        return {"trouble": str(error)}
    except Exception as error:  # one odd file must not take the list of all others with it
        return {"trouble": f"it can't be shown ({type(error).__name__}: {error})"}


def _numbers(run: Run, last: dict[str, float | None]) -> dict[str, Any]:
    step, loss, time = (last.get(name) for name in ("step", "loss", "time"))
    return {
        "model": str(run.header.get("model", "")),
        "step": None if step is None else f"{step:,.0f}",
        "loss": None if loss is None else f"{loss:.4g}",
        "time": None if time is None else duration(time),
    }


def _found(run: Run) -> list[str]:
    """Return what was found while it trained, the worst that can happen to it last."""
    lost = [event for event in run.events if event.kind == "nonfinite" and not event.data.get("skipped")]
    return [event.message for event in [*(e for e in run.events if e.kind == "finding"), *lost]]


def _last(values: Any) -> float | None:
    there = values[values == values]  # not NaN
    return float(there[-1]) if len(there) else None
