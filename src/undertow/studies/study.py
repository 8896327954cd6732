"""The shape of a study: an amount of work, experiments, the claims they are held to, a page. One method runs each."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from undertow.lab import Dataset, load
from undertow.studies.environment import environment
from undertow.studies.experiments import Task, run_all
from undertow.studies.io import PARQUET_NAME, check_writable, save
from undertow.sweeping import Results as SweepResults
from undertow.sweeping import Spec, sweep

Results = Mapping[str, Any]
Holds = Literal["yes", "partly", "no"]
Judged = tuple[str, Holds]


@dataclass(frozen=True)
class Claim:
    """Something that a text says, in our words, and the rule that judges it from the results in hand.

    Attributes:
        text: the claim.
        rule: results -> what was measured, in words, and whether the claim holds.
    """

    text: str
    rule: Callable[[Results], Judged]


@dataclass(frozen=True)
class Job:
    """One run of a study: how much of it is done, with what, and where.

    Attributes:
        config: how much, as the study's own `Study.config` says it.
        seed: where all randomness starts.
        data, data_name: the data set, and the name or path that other processes load it by.
        out: the folder of the page.
        console: where progress is shown.
        processes, ray: as in `undertow.sweeping.sweep`, for studies that are sweeps.
    """

    config: Any
    seed: int
    data: Dataset
    data_name: str
    out: Path
    console: Console
    processes: int | None = None
    ray: str | None = None

    def run(self, tasks: Sequence[Task]) -> dict[str, Any]:
        """Run experiments side by side and return what each found under its name."""
        return run_all(tasks, self.data_name, self.console, self.processes)

    def sweep(self, spec: Spec, name: str) -> SweepResults:
        """Compute a sweep into a store in the job's folder; one that was interrupted goes on where it stopped.

        Raises:
            RuntimeError: cells failed; the message says how many, and why the first did.
        """
        results = sweep(spec, self.out / name, processes=self.processes, ray=self.ray, console=self.console)
        if failed := results.failed():
            raise RuntimeError(f"{len(failed)} networks could not be computed; the first: {failed[0]['error']}")
        return results


def _nothing(_results: Results) -> Sequence[Mapping[str, Any]]:
    return ()


@dataclass(frozen=True)
class Study:
    """An experiment from the literature, repeated.

    Attributes:
        name: as the command line calls it.
        summary: what it is about, in a line.
        config: quick or not -> how much of it to do.
        measure: runs a job's experiments and sorts what they found; plain values and NumPy arrays.
        claims: what the results are held to.
        rows: results -> a table of single networks or measurements, all rows with the same keys.
        stopped: what has become of a run that is stopped half-way, to end a sentence with.
        data: the data set that it is made for, whatever is asked for; none as a rule.

    Its page is made by the module ``article`` beside it, which is loaded when it is asked for: the processes that
    run experiments draw nothing. There, ``article(results)`` is the page; ``write_beside(results, out)``, where there
    is one, writes the study's further files.
    """

    name: str
    summary: str
    config: Callable[[bool], Any]
    measure: Callable[[Job], dict[str, Any]]
    claims: Sequence[Claim]
    rows: Callable[[Results], Sequence[Mapping[str, Any]]] = _nothing
    stopped: str = "nothing was written"
    data: str = ""

    def run(
        self, out: Path, *, quick: bool = False, seed: int = 0, data: str = "mnist", console: Console | None = None,
        config: Any = None, processes: int | None = None, ray: str | None = None,
    ) -> Path:  # fmt: skip
        """Run the study and write it down.

        Args:
            out: folder for ``index.html``, ``results.json``, ``results.parquet`` (where pyarrow is installed and the
                study has a table) and ``figures/`` as PNG and SVG; it is made if it isn't there.
            quick: a small part, in under a minute, in place of the whole.
            seed: where all randomness starts.
            data: "mnist", "digits", or a path to IDX files.
            console: where progress is shown.
            config: how much to do, in place of ``self.config(quick)``.
            processes, ray: as in `undertow.sweeping.sweep`.

        Returns:
            The page.

        Raises:
            OSError: ``out`` can't be written to.
            RuntimeError: an experiment failed; the message says which and why.
            undertow.lab.DataError: the data can't be had; the message says why, and how to give a path.
        """
        data = self.data or data
        loaded, console = load(data), console or Console()  # before anything is written, and once before all processes
        check_writable(out)
        amount = self.config(quick) if config is None else config
        results = self.results(Job(amount, seed, loaded, data, out, console, processes, ray), quick)
        if not save(results, self.rows(results), out):
            console.print(
                f'no {PARQUET_NAME}: pyarrow is not installed (pip install "undertow\\[tables]")', soft_wrap=True
            )
        with console.status("drawing the figures"):
            pages = import_module(f"undertow.studies.{self.name}.article")
            if hasattr(pages, "write_beside"):
                pages.write_beside(results, out)
            page: Path = pages.article(results).write(out / "index.html", figures_in=out / "figures")
        return page

    def results(self, job: Job, quick: bool) -> dict[str, Any]:
        """Run all experiments and judge the claims by them: what `results.json` holds, as NumPy arrays."""
        data = {"name": unmarked(job.data.name), "sha256": job.data.sha256, "image_shape": list(job.data.image_shape)}
        measured = self.measure(job)
        head = {"study": self.name, "schema": 1, "quick": quick, "seed": job.seed, "data": data}
        results = {**head, **measured, "environment": environment()}
        return {**results, "claims": judged(self.claims, results)}


def judged(claims: Sequence[Claim], results: Results) -> list[dict[str, Any]]:
    """Judge all claims in their order: id, text, measured, holds (yes, partly or no).

    Example:
        >>> judged([Claim("It rains.", lambda found: (found["sky"], "no"))], {"sky": "blue"})
        [{'id': 1, 'text': 'It rains.', 'measured': 'blue', 'holds': 'no'}]
    """
    return [
        {"id": i, "text": claim.text, "measured": measured, "holds": holds}
        for i, claim in enumerate(claims, 1)
        for measured, holds in [claim.rule(results)]
    ]


def verdict(yes: bool, partly: bool) -> Holds:
    """Return a verdict from two conditions, the stricter first.

    Example:
        >>> verdict(False, True)
        'partly'
    """
    return "yes" if yes else "partly" if partly else "no"


def unmarked(name: str) -> str:
    """Return a data set's name, which is a folder's, without the signs that a page would read as more than text.

    Example:
        >>> unmarked("fashion_mnist, v2"), unmarked("[x](y) *b*: $z$")
        ('fashion_mnist, v2', '-x-(y) -b-- -z-')
    """
    return re.sub(r"[^\w .,()+-]", "-", name)
