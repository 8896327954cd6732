"""UT204: rows of a table, codes of a codebook or experts of a mixture that are never used."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from undertow.analysis.timeline import RunHistory
from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Role, Run, Severity, Site
from undertow.rules.advice.representations import rows_in_use
from undertow.rules.met_data import targets_differ
from undertow.rules.registry import RUN, rule

USED_BELOW = 0.25
FEWEST_ROWS = 8
FEWEST_EXPERTS = 4
EXPERTS_BELOW = 0.5
FEWEST_STEPS = 8
FOR_EACH_ROW = 4
ONE_OF_MANY = 16
ENOUGH_LOOKUPS = 32
_NUMBERED = re.compile(r"^(?P<list>.*?)\.(?P<number>\d+)\.(?P<rest>.+)$")
_LIMIT = (
    f"under {USED_BELOW:.0%} of the rows of a table that the model chooses from, no more than one row of a table, or "
    f"under {EXPERTS_BELOW:.0%} of the experts behind a router"
)
_EQUATION = "dL/dW_k = sum over the rows that chose k: none, if nobody did"


@dataclass(frozen=True)
class RowTable:
    """Say how much of a table was used.

    Attributes:
        site: where it is looked up, None for experts, which have many.
        name: of its parameters.
        rows: how many it has.
        used: how many of them were used so far.
        chosen: whether the model chooses them by itself.
    """

    site: Site | None
    name: str
    rows: int
    used: int
    chosen: bool

    @property
    def share(self) -> float:
        """Share of the rows that were used."""
        return self.used / self.rows


@rule(
    "UT204",
    "rows never used",
    explains=("UT108", "UT109", "UT202", "UT205", "UT406", "UT704", "UT706"),
)
def unused_rows(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Rows of a table, codes of a codebook or experts of a mixture that nothing ever chooses.

    What:
        A model that chooses rows of a table by itself (the code nearest to an encoder's output, the expert that a
        router ranks first) chooses a few of them only; or an embedding is asked for one and the same row always.
    Why it is bad:
        A row that isn't chosen gets no gradient, so that nothing brings it nearer to being chosen: the few win for
        ever, and the rest of the table is lost to the model. One row for everything is a constant input.
    Evidence:
        ``rows``: of the table; ``used``: of them, so far, over all recorded steps.
    Threshold:
        Codes: under a quarter used, after 8 recorded steps or more with at least four lookups for each row; healthy
        codebooks use half of their codes and more. Experts: under a half, of four or more behind a router. One row: of
        16 or more, over as many steps. What the data chooses (rare words, positions behind the longest sequence) is
        nobody's fault, and not told. One batch proves little, so `examine` makes a note of it, unless all of its 32
        lookups or more chose one code: what lies behind that is a constant. One row for 32 lookups or more is told of a
        batch, too, if its targets differ.
    What to do:
        Codes: start them at encoder outputs (k-means), replace dead ones by such, take moving averages or smaller
        codes. Experts: a loss that balances the load, noise on the router. One row: look at how indices are made.
    References:
        van den Oord et al. 2017 (VQ-VAE); Razavi et al. 2019; Shazeer et al. 2017 and Fedus et al. 2022 (balanced
        experts).
    """
    run = diagnosis.run
    for table in [*_chosen_tables(run, diagnosis.step), *_experts_at_once(run)]:
        lookups = _lookups(run, diagnosis.step, table)
        one_code = table.site is not None and table.used == 1 and ENOUGH_LOOKUPS <= lookups < np.inf
        if _is_idle(table) and (one_code or lookups >= FOR_EACH_ROW * table.rows):
            severity = Severity.WARNING if one_code else Severity.NOTE
            yield _finding(table, severity, f"{_sentence(table)} in this batch.")
    if targets_differ(diagnosis):
        for table in _constant_tables(run, diagnosis.step):
            if ENOUGH_LOOKUPS <= _lookups(run, diagnosis.step, table) < np.inf:
                yield _finding(table, Severity.WARNING, f"{_sentence(table)} in this batch, whose targets differ.")


@rule("UT204", "rows never used", over=RUN)
def unused_in_time(history: RunHistory) -> Iterator[Finding]:
    """Judge what was used over all recorded steps of a run."""
    run = history.run
    rows = np.flatnonzero(history.measured("rows_used") | history.measured("rows_reached"))
    if len(rows) >= FEWEST_STEPS:
        last = int(rows[-1])
        for table in [*_chosen_tables(run, last), *_constant_tables(run, last)]:
            if _is_idle(table) and len(rows) * _lookups(run, last, table) >= FOR_EACH_ROW * table.rows:
                over = f"over {len(rows):,} recorded steps"
                yield _finding(table, Severity.WARNING, f"{_sentence(table)} {over}.", history)
    for table in _experts(run):
        if _is_idle(table):
            over = f"over {len(run.parameter_steps):,} recorded steps"
            yield _finding(table, Severity.WARNING, f"{_sentence(table)} {over}.", history)


def _is_idle(table: RowTable) -> bool:
    if table.site is None:
        return table.share < EXPERTS_BELOW
    return table.share < USED_BELOW and table.rows >= FEWEST_ROWS


def _chosen_tables(run: Run, row: int) -> Iterator[RowTable]:
    """Return tables that the model chooses from, each once."""
    reached, used = run.column("rows_reached", row), run.column("rows_used", row)
    share = np.where(np.isnan(used), reached, used)
    for name, rows in run.header.get("chosen", {}).items():
        # Where the parameters of several tables meet, the number is nobody's.
        sites = [site for site in run.sites if site.parameters == (name,) and not np.isnan(share[site.index])]
        for site in sites[:1]:
            yield RowTable(site, name, rows, round(float(share[site.index]) * rows), chosen=True)


def _constant_tables(run: Run, row: int) -> Iterator[RowTable]:
    """Return tables of which one row is looked up, and never another."""
    used = run.column("rows_used", row)
    for site in run.sites:
        share = used[site.index]
        if np.isnan(share) or not site.weight_shape or set(site.parameters) & run.header.get("chosen", {}).keys():
            continue
        rows = site.weight_shape[0]
        if rows >= ONE_OF_MANY and round(float(share) * rows) == 1:
            yield RowTable(site, site.parameters[0], rows, 1, chosen=False)


def _lookups(run: Run, row: int, table: RowTable) -> float:
    """Return how many rows are looked up in a pass; infinite where nobody counted them."""
    if table.site is None:
        return np.inf
    counted = float(run.column("lookups", row)[table.site.index])
    return np.inf if np.isnan(counted) else counted


def _experts_at_once(run: Run) -> Iterator[RowTable]:
    """Return experts by whether one pass reached them."""
    idle = set(run.header.get("not run", ()))
    names = {name for site in run.sites for name in site.parameters} | idle
    yield from _mixtures(run, {name: name not in idle for name in names})


def _experts(run: Run) -> Iterator[RowTable]:
    """Return experts by whether any recorded step reached them."""
    norms = run.parameter_columns.get("grad_norm")
    if norms is None or len(run.parameter_steps) < FEWEST_STEPS:
        return
    reached = (np.nan_to_num(np.asarray(norms, float)) > 0).any(0)
    yield from _mixtures(run, dict(zip(run.parameters, reached.tolist(), strict=True)))


def _mixtures(run: Run, reached: Mapping[str, bool]) -> Iterator[RowTable]:
    """Return lists of alike modules beside a router that has an output for each of them."""
    lists: dict[str, dict[int, bool]] = {}
    for name, is_reached in reached.items():
        match = _NUMBERED.match(name)
        if match:
            numbers = lists.setdefault(match["list"], {})
            number = int(match["number"])
            numbers[number] = numbers.get(number, False) or is_reached
    for path, numbers in lists.items():
        count, used = len(numbers), sum(numbers.values())
        if count >= FEWEST_EXPERTS and used and _has_router(run, path, count):
            yield RowTable(None, path, count, used, chosen=True)


def _has_router(run: Run, path: str, count: int) -> bool:
    parent = path.rpartition(".")[0]
    beside = [site for site in run.sites if site.role is Role.WEIGHT and site.module.rpartition(".")[0] == parent]
    return any(site.n_out == count and site.module != path for site in beside)


def _sentence(table: RowTable) -> str:
    what = "experts" if table.site is None else "rows"
    if not table.chosen:
        return f"Every lookup in {table.name} took the same one of its {table.rows:,} rows"
    return f"Of the {table.rows:,} {what} of {table.name} the model chose {table.used:,}"


def _finding(table: RowTable, severity: Severity, text: str, history: RunHistory | None = None) -> Finding:
    numbers = {"rows": float(table.rows), "used": float(table.used)}
    sites = () if table.site is None else (table.site.index,)
    began = None if history is None else int(history.first_step)
    made = Finding(
        "UT204",
        "rows never used",
        severity,
        sites,
        table.name,
        text,
        numbers,
        _LIMIT,
        _EQUATION,
        began=began,
        from_start=history is not None,
    )
    return rows_in_use(table.name, table.rows, table.used, table.site is None, table.chosen).on(made)
