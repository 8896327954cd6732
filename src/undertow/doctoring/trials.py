"""Trials as cells of a sweep: a remedy or none, one seed, so many steps; on all cores, kept, never computed twice."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle
import numpy as np
import torch

from undertow.doctoring.blind import blinded
from undertow.doctoring.budget import MEASURED, Budget
from undertow.doctoring.sending import sendable
from undertow.jsonable import jsonable
from undertow.processes import processors
from undertow.remedies import Remedy, apply
from undertow.sweeping.cells import Cell, Pack, Tick, key_of, unheard
from undertow.sweeping.scheduling import Schedule, carry_out
from undertow.sweeping.spec import Settings
from undertow.sweeping.store import DONE, Finished, Store
from undertow.sweeping.workers import InProcess, Processes, Workers
from undertow.training import Training, Trial

TELL_EVERY = 5.0
"""Seconds between two lines about how far trials are."""

MOST_LOSSES = 200
"""Points that are kept of a trial's losses."""

Arm = tuple[Remedy, ...]
"""What is tried: remedies in order; none is the control."""


class Cut(NamedTuple):
    """Ask for a trial: which arm, with which seed, for how many steps, and with targets mixed up or not."""

    arm: Arm
    seed: int
    steps: int
    blind: bool = False


@dataclass(frozen=True)
class TrialWork:
    """Trials of one training; see `undertow.sweeping.cells.Work`.

    Attributes:
        pickled: the training.
        fingerprint: what tells it from others; its pickled form if nothing is given.
    """

    pickled: bytes
    fingerprint: str = ""

    @property
    def name(self) -> str:
        """Say which training it is, by what it does or is."""
        return f"trials of {self.fingerprint or hashlib.sha256(self.pickled).hexdigest()[:12]}"

    def recorded(self, settings: Settings) -> Settings:
        """Return what the store shows."""
        return settings

    def identity(self, settings: Settings) -> Mapping[str, Any]:
        """Make a cell the one it is."""
        return {"work": self.name, "settings": settings}

    def problems(self, settings: Settings) -> list[str]:
        """Nothing is known to be impossible before it is tried."""
        del settings
        return []

    def packs(self, cells: Sequence[Cell], most: int | None) -> list[Pack]:
        """Put each trial by itself; the long ones cost more."""
        del most
        return [Pack((cell,), float(cell.settings["steps"])) for cell in cells]

    def prepare(self) -> None:
        """Give torch one thread: trials run side by side."""
        torch.set_num_threads(1)

    def run(self, cells: Sequence[Settings], tick: Tick = unheard) -> list[dict[str, Any]]:
        """Make the trials."""
        del tick
        training: Training = cloudpickle.loads(self.pickled)
        return [_made(training, settings) for settings in cells]

    def traceback(self, error: BaseException) -> str:
        """Return what went wrong in a trial, without our own frames around it."""
        return f"{type(error).__name__}: {error}"


def _made(training: Training, settings: Settings) -> dict[str, Any]:
    arm = [Remedy.from_dict(each) for each in json.loads(settings["arm"])]
    asked = blinded(training) if settings.get("blind") else training
    if asked is None:
        raise ValueError("its batches don't end with targets that could be mixed up")
    trial = apply(arm, asked).run(settings["seed"], settings["steps"], scored=MEASURED)
    made = {
        "losses": _thinned(trial.losses),
        "scores": list(trial.scores.items()),
        "start": trial.start,
        "diverged": trial.diverged,
        "seconds": trial.seconds,
        "steps": len(trial.losses),
    }
    return dict(jsonable(made))


def _thinned(losses: Sequence[float] | np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return means of neighbouring losses, as many as a chart has room for."""
    parts = np.array_split(np.asarray(losses, float), min(len(losses), MOST_LOSSES)) if len(losses) else []
    return np.array([part.mean() for part in parts])


class TrialOutcome(NamedTuple):
    """Hold what became of a trial: the trial, or why it couldn't be made."""

    trial: Trial | None
    error: str = ""


@dataclass
class Trials:
    """Makes trials of one training and keeps them in a store; those that are there already aren't made again.

    Args:
        training: what is trained.
        store: the SQLite file; a sweep's, so that ``undertow serve`` and `undertow.open_sweep` show it.
        processes: how many trials run at a time; 0 for one after the other in this process.
        fingerprint: what the training does in its first steps, by which the store knows it again.
        ray: address of a cluster to make trials on.
        tell: called with how far they are.

    Attributes:
        alone: why trials run in this process, empty if they don't.
    """

    training: Training
    store: Path
    processes: int | None = None
    fingerprint: str = ""
    ray: str | None = None
    tell: Callable[[str], object] = lambda _: None
    alone: str = ""
    _work: TrialWork = field(init=False)
    _kept: Store = field(init=False)
    _workers: Workers | None = None

    def __post_init__(self) -> None:
        try:
            self._work = TrialWork(sendable(self.training), self.fingerprint)
        except Exception as error:  # whatever a user's objects raise when they are pickled
            self.alone = f"the training can't be sent to other processes ({type(error).__name__}: {error})"
            self._work = _Unpickled(b"", self.fingerprint or "a training of this process", self.training)
        self._kept = Store(self.store)
        self._kept.note("name", "trials")
        self._kept.note("work", self._work.name)

    def __enter__(self) -> "Trials":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def size(self) -> int:
        """Return how many trials run at a time."""
        if self.ray is not None and not self.alone:
            self._workers = self._workers or self._started()
            return self._workers.size
        return 1 if self.alone or self.processes == 0 else self.processes or processors()

    def planned(self) -> dict[str, Any] | None:
        """Return what `plan` has kept for this training; None if nothing."""
        known = self._kept.noted("plan")
        if not isinstance(known, dict) or known.get("work") != self._work.name:
            return None
        budget = known.get("budget")
        return budget if isinstance(budget, dict) and _is_budget(budget) else None

    def plan(self, budget: Mapping[str, Any]) -> None:
        """Keep the numbers by which trials are cut, so that the same call makes the same ones later."""
        self._kept.note("plan", {"work": self._work.name, "budget": dict(budget)})

    def make(self, cuts: Sequence[Cut], deadline: float = math.inf) -> dict[Cut, TrialOutcome]:
        """Make trials and return what became of them, by what was asked for.

        Args:
            cuts: what is asked for.
            deadline: of `time.monotonic`; what has not come in by then is left out.
        """
        asked = {cut: self._cell(cut) for cut in cuts}
        cells = {cell.key: cut for cut, cell in asked.items()}
        self._kept.plan(self._work.name, ((cell.key, cell.settings) for cell in asked.values()))
        left = self._missing(asked.values())
        if left:
            self._compute_somewhere(left, deadline)
        found = self._kept.outcomes(cells)
        if left and self.size > 1 and found and all(error for _, error in found.values()):
            self._stay_here(next(str(error) for _, error in found.values()))
            return self.make(cuts, deadline)
        return {cells[key]: _outcome(cells[key], result, error) for key, (result, error) in found.items()}

    def _stay_here(self, why: str) -> None:
        """Go on in this process, where the training has run before: it may need what other processes can't import."""
        self._stop()
        self.alone = f"other processes can't run the training ({why})"

    def _compute_somewhere(self, left: Sequence[Cell], deadline: float) -> None:
        try:
            self._compute(self._work.packs(left, None), deadline)
        except (RuntimeError, OSError) as error:  # processes that don't start; a trial's own exceptions are outcomes
            if self.alone or self.processes == 0 or self.ray is not None:
                raise
            self._stay_here(str(error))
            self._compute(self._work.packs(self._missing(left), None), deadline)

    def _cell(self, cut: Cut) -> Cell:
        settings = _settings(cut)
        return Cell(key_of(self._work.identity(settings)), settings)

    def _missing(self, cells: Iterable[Cell]) -> list[Cell]:
        """Return the trials that aren't made yet."""
        made = self._kept.keys(DONE)
        return [cell for cell in cells if cell.key not in made]

    def _compute(self, packs: list[Pack], deadline: float) -> None:
        workers = self._workers = self._workers or self._started()
        schedule = Schedule(packs, retries=0)
        began = told = time.monotonic()
        done = 0

        def keep(finished: list[Finished]) -> None:
            nonlocal done, told
            if finished:
                self._kept.write(finished)
                done += len(finished)
            if finished and time.monotonic() > told + TELL_EVERY:
                told = time.monotonic()
                left = (told - began) * (len(packs) - done) / done
                self.tell(f"{done} of {len(packs)} trials, about {left:.0f} s left of this round")
            if time.monotonic() > deadline:
                raise TimeIsUpError

        try:
            carry_out(schedule, workers, keep)
        except TimeIsUpError:
            self._stop()

    def _started(self) -> Workers:
        if self.ray is not None and not self.alone:
            from undertow.sweeping.cluster import Cluster

            return Cluster(self._work, self.ray)
        alone = self.alone or self.processes == 0
        return InProcess(self._work) if alone else Processes(self._work, self.size, main=False)

    def _stop(self) -> None:
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    def close(self) -> None:
        """Stop what runs and leave one whole file behind."""
        self._stop()
        self._kept.close()


class TimeIsUpError(Exception):
    """The deadline has passed."""


@dataclass(frozen=True)
class _Unpickled(TrialWork):
    training: Training | None = None

    def run(self, cells: Sequence[Settings], tick: Tick = unheard) -> list[dict[str, Any]]:
        del tick
        assert self.training is not None  # noqa: S101  # it is made with one
        return [_made(self.training, settings) for settings in cells]


def _settings(cut: Cut) -> Settings:
    arm = [{"code": each.code, "settings": dict(each.settings)} for each in cut.arm]
    told = {"arm": json.dumps(arm, sort_keys=True), "seed": cut.seed, "steps": cut.steps}
    return {**told, "blind": True} if cut.blind else told


def _outcome(cut: Cut, result: Mapping[str, Any] | None, error: str | None) -> TrialOutcome:
    if result is None:
        return TrialOutcome(None, error or "not made")
    try:
        scores = {int(step): _number(score) for step, score in result["scores"]}
        losses = np.array([_number(loss) for loss in result["losses"]], float)
        diverged = None if result["diverged"] is None else int(result["diverged"])
        trial = Trial(cut.seed, losses, scores, _number(result["start"]), diverged, _number(result["seconds"]))
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):  # somebody else wrote it
        return TrialOutcome(None, "what is kept of it is no trial: delete it from the store, or take another --store")
    return TrialOutcome(trial)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _is_budget(known: Mapping[str, Any]) -> bool:
    """Tell whether these are the numbers of a `Budget`, and no others."""
    optional = {each.name for each in fields(Budget) if each.default is not MISSING or "None" in str(each.type)}
    names = {each.name for each in fields(Budget)}
    return names - optional <= known.keys() <= names and all(
        (value is None and name in optional) or (isinstance(value, int | float) and math.isfinite(value) and value >= 0)
        for name, value in known.items()
    )
