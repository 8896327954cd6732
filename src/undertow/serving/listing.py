"""Summarize every Run in a folder: at once without reading much of it, and with findings as soon as it was judged."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from undertow.record import Finding, Run, Severity
from undertow.render.loss_end import LossEnd
from undertow.render.run_summary import duration, measured_in_full, steps_made
from undertow.rules import over_time
from undertow.serving.folder import Folder
from undertow.serving.state import state_of
from undertow.store import RunReader, StoreError, open_run

LAST_ROWS = 64
"""Noted steps that the last numbers are looked for in."""

JUDGE_EVERY, JUDGE_SHARE = 10.0, 20.0
"""A growing Run is judged so many seconds after the last time at least, and so many times what that took."""

_SENTENCE = re.compile(r"(?<=\.) (?=[A-Z])")

Submit = Callable[[Callable[[], object]], object]


def at_once(work: Callable[[], object]) -> None:
    """Do some work here and now."""
    work()


@dataclass
class _Known:
    """Hold what is known of a Run: as of ``time`` its last numbers, as of ``judged`` its findings."""

    time: float
    summary: dict[str, Any]
    judged: float = float("nan")
    verdict: dict[str, Any] = field(default_factory=dict)
    not_before: float = 0.0


class Listing:
    """The Runs of a folder in a few words each; a Run is read anew only when its file has changed.

    Args:
        folder: where they are.
        submit: has a Run judged, which can take a while; at once unless given.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     Listing(Folder(Path(root))).to_list()
        []
    """

    def __init__(self, folder: Folder, submit: Submit = at_once) -> None:
        self._folder, self._submit = folder, submit
        self._known: dict[str, _Known] = {}

    def to_list(self) -> list[dict[str, Any]]:
        """Return one entry for each Run, those written last first.

        Every entry has ``name``, ``kind`` and ``message`` (its state); ``model``, ``step``, ``loss`` and ``time``;
        ``trouble`` where it can't be read; ``diverged`` where the loss ended in inf or nan. As soon as it was judged:
        ``severities``, how many findings there are of each, ``worst``, the worst of them, and ``measured``, how many
        steps were measured in full. ``summary`` says in a line what matters most of that.
        """
        times = self._folder.written()
        self._known = {name: self._looked_up(name, time) for name, time in times.items()}
        ordered = sorted(times, key=lambda name: (-times[name], name))
        for name in ordered:
            self._have_judged(name, times[name])
        return [self._entry(name, times[name]) for name in ordered]

    def _looked_up(self, name: str, written: float) -> _Known:
        known = self._known.get(name)
        if known is None:
            return _Known(written, _summary(self._folder.find(name)))
        if known.time != written:
            known.time, known.summary = written, _summary(self._folder.find(name))
        return known

    def _have_judged(self, name: str, written: float) -> None:
        """Have a Run judged that has changed since; what was found before stands until then."""
        known = self._known[name]
        if known.judged == written or "trouble" in known.summary or time.monotonic() < known.not_before:
            return
        known.not_before = float("inf")  # it is being judged
        self._submit(lambda: self._judge(known, name, written))

    def _judge(self, known: _Known, name: str, written: float) -> None:
        began = time.monotonic()
        try:
            known.verdict = _verdict(self._folder.find(name))
        finally:
            known.judged, taken = written, time.monotonic() - began
            known.not_before = time.monotonic() + max(JUDGE_EVERY, JUDGE_SHARE * taken)

    def _entry(self, name: str, written: float) -> dict[str, Any]:
        known = self._known[name]
        about = known.summary
        state = (
            state_of(written, about["header"], about["reached"])
            if "header" in about
            else {"kind": "lost", "message": "can't be read"}
        )
        shown = {key: value for key, value in about.items() if key not in ("header", "reached", "diverged_sentence")}
        return {"name": name, **state, **shown, **known.verdict, "summary": _line(about, known.verdict)}


def _summary(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {"trouble": "it is gone"}
    try:
        with RunReader(path) as reader:
            end = reader.refresh()
            run = reader.tail(end._replace(scalars=max(0, end.scalars - LAST_ROWS), events=0))
            loss_end = _loss_end(run, reader)
        last = {name: _last(values) for name, values in run.scalars.items()}
        diverged = {"diverged": loss_end.to_dict(), "diverged_sentence": loss_end.sentence} if loss_end.lost else {}
        numbers = {**_numbers(run, last, loss_end), "findings": _found(run)}
        return {"header": run.header, "reached": last.get("time") or 0.0, **numbers, **diverged}
    except StoreError as error:
        return {"trouble": str(error)}
    except Exception as error:  # one odd file must not take the list of all others with it
        return {"trouble": f"it can't be shown ({type(error).__name__}: {error})"}


def _loss_end(run: Run, reader: RunReader) -> LossEnd:
    """Return how the loss ended; where no loss of the last rows is finite, all rows are read for the last that is."""
    end = LossEnd()
    end.add(run.scalars)
    if end.lost and end.step != end.step:
        end = LossEnd()
        end.add(reader.run().scalars)
    return end


def _numbers(run: Run, last: dict[str, float | None], end: LossEnd) -> dict[str, Any]:
    step, loss, seconds = (last.get(name) for name in ("step", "loss", "time"))
    return {
        "model": str(run.header.get("model", "")),
        "step": None if step is None else f"{step:,.0f}",
        "loss": "nan" if end.lost else None if loss is None else f"{loss:.4g}",
        "time": None if seconds is None else duration(seconds),
    }


def _found(run: Run) -> list[str]:
    """Return what was found while it trained, the worst that can happen to it last."""
    lost = [event for event in run.events if event.kind == "nonfinite" and not event.data.get("skipped")]
    return [event.message for event in [*(e for e in run.events if e.kind == "finding"), *lost]]


def _verdict(path: Path | None) -> dict[str, Any]:
    """Judge a whole Run, as `undertow show` and its page do: what is said here is what is said there."""
    if path is None:
        return {}
    try:
        run = open_run(path)
        findings = over_time(run)
    except StoreError:
        return {}
    steps = _counted(run.scalars.get("step", ()), steps_made(run.header))
    return {
        "severities": {str(each): sum(f.severity is each for f in findings) for each in reversed(Severity)},
        "worst": _worst(findings),
        "measured": measured_in_full(len(run), steps),
    }


def _worst(findings: Sequence[Finding]) -> dict[str, Any] | None:
    if not findings:
        return None
    worst = findings[0]
    named = {name: str(getattr(worst, name)) for name in ("code", "name", "severity")}
    return {**named, "message": f"{worst.span}{worst.message}", "began": worst.began}


def _line(about: Mapping[str, Any], verdict: Mapping[str, Any]) -> str:
    """Say in a line what matters most: that it diverged, how many findings there are and the worst of them."""
    severities, worst = verdict.get("severities", {}), verdict.get("worst")
    counts = ", ".join(f"{count} {name}{'s' * (count > 1)}" for name, count in severities.items() if count)
    said = "nothing wrong was found" if severities else ""
    if worst:  # what it is called, and one sentence: its page says the rest
        said = f"{counts}: {worst['code']} {worst['name']}, {_SENTENCE.split(worst['message'])[0]}"
    few = verdict.get("measured", "") if "measures more" in verdict.get("measured", "") else ""
    return "; ".join(filter(None, (about.get("diverged_sentence", ""), said, few)))


def _counted(steps: Any, least: int) -> int:
    """Return the number of steps up to the last one that was noted, or the least if that is more."""
    return max([least, *(int(each) + 1 for each in steps[-1:] if each == each)])


def _last(values: Any) -> float | None:
    there = values[values == values]  # not NaN
    return float(there[-1]) if len(there) else None
