"""Reports of examinations and runs: to print, save, read back and compare. No torch."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from undertow import plugins
from undertow.analysis.theory_check import TheoryCheck
from undertow.analysis.timeline import RunHistory
from undertow.diagnosis import Diagnosis
from undertow.files import write_whole
from undertow.record import BackwardGain, Finding, Run, with_finite_steps
from undertow.render import report_json, terminal_report, terminal_run, verdict
from undertow.render.diagnosed_run import DiagnosedRun
from undertow.render.difference import Difference, difference
from undertow.render.terminal import screen
from undertow.rules import over_time

__all__ = ["Explanation", "Report", "explain"]


@dataclass(frozen=True, eq=False)
class _DiagnosisFacade:
    """The parts of a Diagnosis that a report and an explanation both offer."""

    diagnosis: Diagnosis

    @property
    def run(self) -> Run:
        """Return everything that was measured."""
        return self.diagnosis.run

    @property
    def gains(self) -> Sequence[BackwardGain]:
        """Every block of the gradient path by cause, the loss's side first."""
        return self.diagnosis.gains

    @property
    def findings(self) -> Sequence[Finding]:
        """Return what the rules found, the worst first."""
        return self.diagnosis.findings

    def _repr_html_(self) -> str:
        from undertow.render import notebook

        return str(notebook.fragment(self.diagnosis))


@dataclass(frozen=True, eq=False)
class Report(_DiagnosisFacade):
    """The outcome of an examination; ``print`` it, ``save`` it, or let a notebook show it.

    Attributes:
        diagnosis: the first repeat's step, its findings those of all repeats; ``run`` has a step for every repeat.

    Example:
        >>> import tempfile
        >>> report = Report(Diagnosis(Run({"model": "Net"}, ()), step=0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Report.read(report.save(Path(folder, "report.json"))) == report
        True
    """

    @property
    def theory(self) -> TheoryCheck:
        """Compare the gradient path with what theory expects, segment by segment."""
        return self.diagnosis.theory

    def __str__(self) -> str:
        return terminal_report.text(self.diagnosis, screen())

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, Report) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # a run's columns are mutable

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: ``format``, ``run``, ``gains``, ``theory``, ``findings``; nan is None, inf "inf"."""
        return report_json.to_dict(self.diagnosis)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the report that `to_dict` wrote. Gains and theory are derived anew from the run.

        Raises:
            ValueError: this is no report, or one of another format.
        """
        return cls(report_json.from_dict(data))

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read what ``save("report.json")`` wrote.

        Raises:
            OSError: there is no such file.
            ValueError: it holds something else.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"can't read {path}: {_reason(error)}; write one with report.save('report.json')"
            ) from error

    def compare(self, after: "Report") -> Difference:
        """Return what is other in a second report: each layer's gain, and findings that came and went."""
        return difference(self.diagnosis, after.diagnosis)

    def table(self) -> dict[str, list[Any]]:
        """Return every Site of every repeat as columns, which ``pandas.DataFrame`` and ``pyarrow.table`` take.

        Columns: step, site, module, module_type, op, role, activation, shape, parameters, and everything in
        `undertow.record.SITE_COLUMNS`; nan where there is no such thing at a Site.
        """
        from undertow.store.exporting import site_table  # loads the store, which examining alone does not need

        return site_table(self.run)

    def save(self, path: str | Path) -> Path:
        """Write the report as the suffix says; the file appears whole or not at all.

        ``.html``: one page that needs no network. ``.png``, ``.svg``: the gradient's way back as a picture. ``.json``:
        everything, for `read`. ``.txt``: what ``print`` shows. A plugin may add others (group ``undertow.renderers``).

        Raises:
            ValueError: another suffix.
        """
        path = Path(path)
        write_whole(path, _writer(path)(self.diagnosis))
        return path


# Charts take half a second to load, and only these renderers need them.
def _page(diagnosis: Diagnosis) -> bytes:
    from undertow.render import report_page

    return report_page.article(diagnosis).html().encode()


def _png(diagnosis: Diagnosis) -> bytes:
    from undertow.render import report_picture

    return report_picture.png(diagnosis)


def _svg(diagnosis: Diagnosis) -> bytes:
    from undertow.render import report_picture

    return report_picture.svg(diagnosis).encode()


def _json(diagnosis: Diagnosis) -> bytes:
    return json.dumps(report_json.to_dict(diagnosis), allow_nan=False).encode()


def _text(diagnosis: Diagnosis) -> bytes:
    return f"{terminal_report.text(diagnosis)}\n".encode()


WRITERS: dict[str, Callable[[Diagnosis], bytes]] = {
    ".html": _page,
    ".png": _png,
    ".svg": _svg,
    ".json": _json,
    ".txt": _text,
}
"""What a report is written by, by suffix."""

RENDERERS = "undertow.renderers"
"""The group of plugins that write reports as something else."""


def _writer(path: Path) -> Callable[[Diagnosis], bytes]:
    """Return what writes a report as a path's suffix says: our own, or a plugin's that is named like the suffix."""
    suffix = path.suffix.lower()
    if suffix in WRITERS:
        return WRITERS[suffix]
    known = [*WRITERS, *(f".{name}" for name in plugins.names(RENDERERS))]
    if suffix not in known:
        given = repr(path.suffix) if path.suffix else f"{path.name!r}, which has no suffix"
        raise ValueError(f"can't write a report as {given}; the suffixes known are {', '.join(known)}")
    render = plugins.named(RENDERERS, suffix[1:])
    return lambda diagnosis: _as_bytes(render(diagnosis), suffix)


def _as_bytes(written: object, suffix: str) -> bytes:
    if isinstance(written, str):
        return written.encode("utf-8", "backslashreplace")
    if isinstance(written, bytes):
        return written
    raise ValueError(f"the plugin that writes {suffix} returned a {type(written).__name__}: it must be str or bytes")


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"it is no JSON from line {error.lineno} on"
    if isinstance(error, UnicodeDecodeError):
        return "it is no text"
    return str(error) if type(error) is ValueError else "it is damaged"


@dataclass(frozen=True, eq=False)
class Explanation(_DiagnosisFacade):
    """A run, explained; ``print`` it or ``save`` it.

    Attributes:
        diagnosis: the step that ``gains`` are of; its findings are those of the whole run.
    """

    @property
    def row(self) -> int:
        """The place, among its taped steps, of the one that ``gains`` are of; -1 if none was taped."""
        return self.diagnosis.step

    @property
    def step(self) -> int | None:
        """The optimizer's step that the gains are of; None if none was taped."""
        return int(RunHistory(self.run).steps[self.row]) if len(self.run) else None

    def __str__(self) -> str:
        return self.text(str(self.run.header.get("name", "run")))

    def __repr__(self) -> str:
        step = "no step" if self.step is None else f"step {self.step:,}"
        return f"<Explanation of {verdict.headline(self.diagnosis)}, {step}; print() shows it, findings lists them>"

    def text(self, name: str) -> str:
        """Return what ``undertow show`` prints; ``name`` is what the run is called."""
        return terminal_run.text(self._diagnosed, name, screen())

    def save(self, path: str | Path, title: str = "") -> Path:
        """Write everything as one page that needs no network; the file appears whole or not at all.

        Args:
            path: ends in .html.
            title: what the page is called; the run's name unless given.

        Raises:
            ValueError: the path doesn't end in .html.
        """
        path = Path(path)
        if path.suffix.lower() != ".html":
            raise ValueError(f"can't write a run as {path.name!r}: give it a name that ends in .html")
        from undertow.render import run_page

        named = title or str(self.run.header.get("name", path.stem))
        write_whole(path, run_page.html(self._diagnosed, named).encode())
        return path

    def report(self) -> Report:
        """Return the one step as a `Report`, to compare or to save; its findings are those of the whole run."""
        run = at_row(self.run, self.row) if len(self.run) else self.run
        return Report(Diagnosis(run, 0, self.findings))

    @cached_property
    def _diagnosed(self) -> DiagnosedRun:
        return DiagnosedRun(self.diagnosis)


def explain(run: Run, step: int | None = None) -> Explanation:
    """Explain a run: what changes the gradient on its way back, and what is wrong with the run.

    Args:
        run: as `undertow.open_run` returns it; it may still grow.
        step: the optimizer's step to tell gains of; the last finite one that was taped unless given.

    Raises:
        TypeError: it is no run but a path, or a report.
        ValueError: that step was not taped; the nearest is named.

    Example:
        >>> import numpy as np
        >>> from undertow.record import Edge, Role, Site
        >>> sites = (Site(0, "fc2", "addmm", Role.WEIGHT), Site(1, "fc1", "addmm", Role.WEIGHT))
        >>> run = Run({}, sites, (Edge(0, 1),), {"grad_output": np.array([[1.0, 0.25], [1.0, 0.5]])},
        ...           {"contribution": np.array([[0.25], [0.5]]), "share": np.ones((2, 1))},
        ...           {"step": np.array([0.0, 8.0])})
        >>> explain(run).gains[0].gain, explain(run, step=0).gains[0].gain
        (0.5, 0.25)
        >>> explain(run).findings
        []
    """
    if not isinstance(run, Run):
        raise TypeError(_no_run(run))
    run = with_finite_steps(run)
    row = last_finite(run) if step is None else row_of(run, step)
    return Explanation(Diagnosis(run, row, over_time(run)))


def _no_run(given: object) -> str:
    if isinstance(given, str | os.PathLike):
        path = os.fspath(given)
        return f"explain takes a run and not its path: write undertow.explain(undertow.open_run({path!r}))"
    if isinstance(given, _DiagnosisFacade):
        return f"explain takes a run, and this {type(given).__name__} is explained already: print it"
    return f"explain takes a run, as undertow.open_run returns it, and not a {type(given).__name__}"


def row_of(run: Run, step: int) -> int:
    """Return the place of a step among the taped ones.

    Raises:
        ValueError: it was not taped; the nearest is named.

    Example:
        >>> import numpy as np
        >>> row_of(Run({}, (), steps={"step": np.array([0.0, 8.0, 16.0])}), 9)
        Traceback (most recent call last):
        ValueError: step 9 was not measured in full: the nearest that was is 8, the last 16
    """
    taped = RunHistory(run).steps
    if not len(taped):
        raise ValueError("no step of this run was measured in full, so there is none to tell of: leave the step out")
    row = int(abs(taped - step).argmin())
    if taped[row] != step:
        nearest = f"the nearest that was is {taped[row]:,.0f}, the last {taped[-1]:,.0f}"
        raise ValueError(f"step {step:,} was not measured in full: {nearest}")
    return row


def at_row(run: Run, row: int) -> Run:
    """Return one taped step of a run as a run of one step."""
    row = range(len(run))[row]
    only = slice(row, row + 1)
    return replace(
        run,
        columns={name: column[only] for name, column in run.columns.items()},
        edge_columns={name: column[only] for name, column in run.edge_columns.items()},
        steps={name: column[only] for name, column in run.steps.items()},
        other_graphs=(),
    )


def last_finite(run: Run) -> int:
    """Return the place of the last taped step at which everything was finite; -1, the last of all, if there is none.

    Example:
        >>> import numpy as np
        >>> last_finite(Run({}, (), steps={"step": np.array([0.0, 8.0]), "loss": np.array([1.0, np.inf])}))
        0
    """
    rows = RunHistory(run).finite.nonzero()[0]
    return int(rows[-1]) if len(rows) else -1
