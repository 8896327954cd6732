"""Sweeps, carried out: what is asked for, less what is there already, computed and kept."""

import hashlib
import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from undertow.processes import processors
from undertow.sweeping.cells import Cell, Pack, SweepWork, key_of, storable
from undertow.sweeping.progress import ProgressLine
from undertow.sweeping.results import Results
from undertow.sweeping.scheduling import Schedule, carry_out
from undertow.sweeping.spec import Settings, Spec
from undertow.sweeping.store import DONE, Finished, Store
from undertow.sweeping.workers import InProcess, Processes, Workers
from undertow.user_function import split

SHOWN = 10
"""Problems listed one by one."""


@dataclass(frozen=True)
class SweepPlan:
    """Lay out what a specification asks for.

    Attributes:
        spec: the specification.
        work: what is done for each cell.
        cells: all of them, each once.
    """

    spec: Spec
    work: SweepWork
    cells: list[Cell]

    @classmethod
    def of(cls, spec: Spec) -> "SweepPlan":
        """Lay out all cells and look at every one before anything runs.

        Raises:
            ValueError: impossible cells; the message lists what is wrong, and with how many.
            OSError, ImportError: a function's file isn't there or can't be run.
        """
        work = _work(spec)
        problems: dict[str, list[Settings]] = {}
        cells: dict[str, Cell] = {}
        for settings in spec.cells():
            found = _unfit(settings) or work.problems(settings)
            for problem in found:
                problems.setdefault(problem, []).append(settings)
            if not problems:
                key = key_of(work.identity(settings))
                cells.setdefault(key, Cell(key, settings))
        if problems:
            raise ValueError(_listed(problems))
        return cls(spec, work, list(cells.values()))

    def left(self, done: set[str]) -> list[Pack]:
        """Return what is still to be computed.

        A pack of which nothing is there yet stays as it would have been, so that a sweep that was interrupted ends with
        the same bits as one that wasn't; the rest of others is packed anew.
        """
        packs = self.work.packs(self.cells, self.spec.members)
        whole = [pack for pack in packs if not any(cell.key in done for cell in pack.cells)]
        kept = {cell.key for pack in whole for cell in pack.cells} | done
        return whole + self.work.packs([cell for cell in self.cells if cell.key not in kept], self.spec.members)


def sweep(
    spec: Spec | Mapping[str, Any] | str | Path,
    store: str | Path | None = None,
    *,
    processes: int | None = None,
    ray: str | None = None,
    console: Console | None = None,
) -> Results:
    """Compute all cells of a sweep that its store doesn't have yet; those that failed before are tried again.

    Args:
        spec: a specification (see `undertow.sweeping.spec`), as a TOML file, a mapping of the same form, or read.
            In a mapping ``function`` may also be a function at the top level of a module.
        store: the SQLite file of the results; by default beside the TOML file, with the ending ``.sweep``.
        processes: how many, of one thread each; by default one for each processor; 0 computes in this one.
        ray: address of a Ray cluster ("auto" for the one running here) to compute on in place of processes.
        console: where progress is shown.

    Returns:
        The store, opened for reading.

    Raises:
        ValueError: an unknown key or an impossible cell; nothing has run then.
        RuntimeError: another sweep is working on the store, or no process could be started.
        OSError: the store can't be written to (any more). What was written is kept, as it is after Ctrl-C: the same
            call goes on from there.

    Example:
        >>> import tempfile
        >>> cells = {"seeds": 2, "cell": {"data": "digits", "images": 50}, "grid": {"depth": [1, 2]}}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     results = sweep(cells, Path(folder, "depths.sweep"), processes=0)
        ...     rows = results.rows()
        >>> len(rows), sorted(rows[0])[:3]
        (4, ['accuracy', 'activation', 'batch_size'])
    """
    given = _read(spec)
    path = Path(store) if store is not None else _beside(spec)
    plan = SweepPlan.of(given)
    with Store(path) as kept:
        if kept.mended and console:
            console.print(f"{kept.mended:,} cells in {path} were damaged: they are computed anew", highlight=False)
        kept.note("name", given.name)
        kept.note("work", plan.work.name)
        kept.plan(plan.work.name, ((cell.key, plan.work.recorded(cell.settings)) for cell in plan.cells))
        _check_source(plan, kept, console)
        packs = plan.left(kept.keys(DONE))
        _compute(packs, plan, kept, processes, ray, console or Console(quiet=True))
    return Results(path, {cell.key for cell in plan.cells})


def _compute(
    packs: list[Pack], plan: SweepPlan, kept: Store, processes: int | None, ray: str | None, console: Console
) -> None:
    there = len(plan.cells) - sum(len(pack.cells) for pack in packs)
    console.print(f"{len(plan.cells):,} cells{f', {there:,} of them there already' if there else ''}", highlight=False)
    if not packs:
        return
    schedule = Schedule(packs, plan.spec.retries)
    with ProgressLine(console, len(plan.cells) - there, schedule) as line:
        workers = _workers(plan.work, len(packs), processes, ray, plan.spec.timeout)

        def keep(finished: list[Finished]) -> None:
            if finished:
                kept.write(finished)
            line.advance(len(finished), sum(f.outcome.error is not None for f in finished))

        try:
            carry_out(schedule, workers, keep)
        finally:
            workers.close()


def _workers(
    work: SweepWork, packs: int, processes: int | None, ray: str | None, timeout: float | None = None
) -> Workers:
    if timeout is not None and (ray is not None or processes == 0):
        where = "a cluster" if ray is not None else "this process (processes = 0)"
        raise ValueError(
            f"[run] timeout = {timeout:g}: {where} can't end a cell; leave it out, or compute in processes"
        )
    if ray is not None:
        from undertow.sweeping.cluster import Cluster

        return Cluster(work, ray)
    if processes == 0:
        return InProcess(work)
    return Processes(work, min(processes or processors(), packs), math.inf if timeout is None else timeout)


def _read(spec: Spec | Mapping[str, Any] | str | Path) -> Spec:
    if isinstance(spec, Spec):
        return spec
    if isinstance(spec, Mapping):
        function = spec.get("function")
        return Spec.of({**spec, "function": _address(function)} if callable(function) else spec)
    return Spec.read(Path(spec))


def _address(function: Any) -> str:
    name, file = getattr(function, "__qualname__", "?"), inspect.getsourcefile(function)
    if not name.isidentifier() or file is None:
        raise ValueError(
            f"{name} is not at the top level of a file, where other processes could find it: move it there"
        )
    return f"{file}:{name}"


def _beside(spec: object) -> Path:
    if isinstance(spec, str | Path):
        return Path(spec).with_suffix(".sweep")
    raise ValueError("a specification that isn't in a file needs a store: give its path as the second argument")


def _work(spec: Spec) -> SweepWork:
    if spec.function:
        from undertow.sweeping.functionwork import FunctionWork

        return FunctionWork(spec.function, spec.version)
    from undertow.sweeping.labwork import LabWork

    return LabWork()


def _unfit(settings: Settings) -> list[str]:
    """Values that no store could hold."""
    return [
        f"{name} = {value!r}: a setting is a number, a text, true or false, or a list of these"
        for name, value in settings.items()
        if not storable(value)
    ]


def _listed(problems: Mapping[str, list[Settings]]) -> str:
    lines = [f"  {problem}{_where(cells)}" for problem, cells in list(problems.items())[:SHOWN]]
    more = [f"  ... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    return "\n".join(["cells of this sweep are impossible, so nothing was run:", *lines, *more])


def _where(cells: list[Settings]) -> str:
    first = ", ".join(f"{name} = {value}" for name, value in cells[0].items())
    return f"\n    ({len(cells)} cell{'s' * (len(cells) > 1)}; the first: {first})"


def _check_source(plan: SweepPlan, kept: Store, console: Console | None) -> None:
    """Say when a function's file is another than when results in the store were computed."""
    if not plan.spec.function:
        return
    digest = hashlib.sha256(split(plan.spec.function)[0].read_bytes()).hexdigest()
    known = f"source of {plan.work.name}"
    before = kept.noted(known)
    if before is None:
        kept.note(known, digest)
    elif before != digest and console and kept.count(DONE):
        console.print(
            f"{split(plan.spec.function)[0].name} has changed since results in {kept.path} were computed; they are "
            f"kept. Write version = {plan.spec.version + 1} into the specification to compute all anew.",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
