"""What an examination found."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from undertow.analysis.attribution import attribute
from undertow.analysis.theory_check import TheoryCheck, check_theory
from undertow.files import write_whole
from undertow.record import BackwardGain, Finding, Run
from undertow.render import terminal_report
from undertow.reporting.table import table

FORMAT = "undertow report 1"
"""What a report's JSON says it is. Its number rises when an older undertow could no longer read it."""


@dataclass(frozen=True, eq=False)
class Report:
    """What an examination found; ``print`` it, ``save`` it, or let a notebook show it.

    Attributes:
        run: what was measured, one step for every repeat.
        gains: every block of the gradient path at the first repeat, by cause.
        findings: what the rules have to say, the worst first.

    Example:
        >>> import tempfile
        >>> report = Report(Run({"model": "Net"}, ()), (), ())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Report.read(report.save(Path(folder, "report.json"))) == report
        True
    """

    run: Run
    gains: Sequence[BackwardGain]
    findings: Sequence[Finding]

    @cached_property
    def theory(self) -> TheoryCheck:
        """What theory expects along the gradient's way back, segment by segment, and where measurement differs."""
        return check_theory(self.run, step=0)

    def __str__(self) -> str:
        return terminal_report.report(self.run, self.gains, self.findings)

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, Report) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # a run's columns are mutable

    def _repr_html_(self) -> str:
        from undertow.render import notebook

        return str(notebook.fragment(self.run, self.gains, self.findings))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values: ``format``, ``run``, ``gains``, ``theory``, ``findings``; nan is None, inf "inf"."""
        return {
            "format": FORMAT,
            "run": self.run.to_dict(),
            "gains": [gain.to_dict() for gain in self.gains],
            "theory": self.theory.to_dict(),
            "findings": [finding.to_dict() for finding in self.findings],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Gains and theory are derived anew from the run.

        Raises:
            ValueError: this is no report, or one of another format.
        """
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            found = data.get("format") if isinstance(data, Mapping) else None
            raise ValueError(f"this is not {FORMAT!r} but {found!r}" if found else "this is not a report of undertow")
        run = Run.from_dict(data["run"])
        return cls(run, attribute(run, step=0), [Finding.from_dict(each) for each in data["findings"]])

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read what ``save("report.json")`` wrote.

        Raises:
            OSError: there is no such file.
            ValueError: it holds something else.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"can't read {path}: {_reason(error)}; write one with report.save('report.json')"
            ) from error

    def table(self) -> dict[str, list[Any]]:
        """Every Site of every repeat as columns: ``pandas.DataFrame`` and ``pyarrow.table`` take them as they are.

        Columns: step, site, module, module_type, op, role, activation, shape, parameters, and everything in
        `undertow.record.SITE_COLUMNS`; nan where there is no such thing at a Site.
        """
        return table(self.run)

    def save(self, path: str | Path) -> Path:
        """Write the report as the suffix says; the file appears whole or not at all.

        ``.html``: one page that needs no network. ``.png``, ``.svg``: the gradient's way back as a picture. ``.json``:
        everything, for `read`. ``.txt``: what ``print`` shows.

        Raises:
            ValueError: another suffix.
        """
        path = Path(path)
        writers: dict[str, Callable[[], bytes]] = {
            ".html": self._page,
            ".png": lambda: self._picture("png"),
            ".svg": lambda: self._picture("svg"),
            ".json": lambda: json.dumps(self.to_dict(), allow_nan=False).encode(),
            ".txt": lambda: f"{self}\n".encode(),
        }
        writer = writers.get(path.suffix.lower())
        if writer is None:
            given = repr(path.suffix) if path.suffix else f"{path.name!r}, which has no suffix"
            raise ValueError(f"can't write a report as {given}; the suffixes known are {', '.join(writers)}")
        write_whole(path, writer())
        return path

    # Charts take half a second to load, and only these need them.
    def _page(self) -> bytes:
        from undertow.render import report_page

        return report_page.article(self.run, self.gains, self.findings).html().encode()

    def _picture(self, kind: str) -> bytes:
        from undertow.render import figures, report_page

        svg = report_page.picture(self.run, self.gains, self.findings)
        return svg.encode() if kind == "svg" else figures.rasterised(svg)


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"it is no JSON ({error})"
    return str(error) if isinstance(error, ValueError) else f"it is damaged ({type(error).__name__}: {error})"
