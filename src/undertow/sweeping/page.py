"""A sweep's page: its results over any two settings, along any one, filtered by all others; what failed, and why."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from undertow.formatting import number
from undertow.render import markup
from undertow.render.page import Article, Figure, Prose, Section, Table
from undertow.sweeping import charts
from undertow.sweeping.query import Row, StoredCells, filled

MOST_ROWS = 20_000
"""Rows that a page can hold and a browser regroup at once."""

BEST, LISTED, TRACEBACKS = 10, 50, 5


def article(results: StoredCells) -> Article:
    """Return the page as blocks.

    Raises:
        ValueError: more cells than a page can hold.
    """
    rows, swept = filled(results.rows()), results.swept()
    measured = numbers(rows, results.settings())
    shown = _fitting(rows, swept, measured)
    axes = {name: values for name, values in swept.items() if name in (shown[0] if shown else {})}
    sections = [_settings(results, swept)]
    if shown and measured and axes:
        sections = [_over(shown, axes, measured), _best(rows, swept, measured), *sections]
    failed = results.failed()
    if failed:
        sections.append(_failed(failed, swept))
    counts = results.counts()
    return Article(
        title=results.name,
        subtitle=f"A sweep over {_listed(swept) or 'one cell'}",
        lead=markup.escaped(" ".join(filter(None, (_ends(shown, swept, measured), _lead(counts, swept))))),
        sections=sections,
        meta={"store": results.path.name, "cells": ", ".join(f"{n:,} {status}" for status, n in counts.items())},
    )


def numbers(rows: Iterable[Row], settings: Mapping[str, Any]) -> list[str]:
    """Return the results that are numbers (true counts as 1), in order of appearance.

    Example:
        >>> numbers([{"depth": 1, "accuracy": 0.5, "where": "x"}], {"depth": [1]})
        ['accuracy']
    """
    found = {
        name: None
        for row in rows
        for name, value in row.items()
        if isinstance(value, int | float) and name not in settings
    }
    return list(found)


def _fitting(rows: Sequence[Row], swept: Mapping[str, Any], measured: Sequence[str]) -> list[Row]:
    """Rows for the charts: as they are, or averaged over seeds where there are too many."""
    kept = [{name: charts.value(row[name]) for name in [*swept, *measured]} for row in rows]
    if len(kept) > MOST_ROWS and "seed" in swept:
        kept = charts.averaged(kept, [name for name in swept if name != "seed"], measured)
    if len(kept) > MOST_ROWS:
        raise ValueError(
            f"{len(kept):,} cells are more than one page can hold ({MOST_ROWS:,}): write .parquet, or build a page of "
            "a part of the sweep"
        )
    return kept


def _lead(counts: Mapping[str, int], swept: Mapping[str, Any]) -> str:
    summary = f"{counts['done']:,} cells computed"
    summary += f", {counts['failed']:,} failed" if counts["failed"] else ""
    summary += f", {counts['waiting']:,} still waiting" if counts["waiting"] else ""
    return f"{summary}. {len(swept)} settings differ between them." if swept else f"{summary}."


def _ends(rows: Sequence[Row], swept: Mapping[str, Any], measured: Sequence[str]) -> str:
    """Say where the first result is largest and smallest, the mean over seeds; empty where nothing differs."""
    settings = [name for name in swept if name != "seed" and rows and name in rows[0]]
    if not (measured and settings):
        return ""
    by = measured[0]
    means = [row for row in charts.averaged(rows, settings, [by]) if isinstance(row[by], int | float)]
    ranked = sorted(means, key=lambda row: -row[by])
    if len(ranked) < 2:
        return ""
    most, least = (
        f"{number(row[by])} at {', '.join(f'{name} {_short(row[name])}' for name in settings)}"
        for row in (ranked[0], ranked[-1])
    )
    seeds = f" (means over {len(swept['seed'])} seeds)" if "seed" in swept else ""
    return f"The largest {by} is {most}; the smallest, {least}{seeds}."


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)


def _over(rows: Sequence[Row], axes: Mapping[str, Sequence[Any]], measured: Sequence[str]) -> Section:
    figures = []
    if len(axes) > 1:
        figures.append(
            Figure(
                "map",
                charts.field(rows, axes, measured),
                "Over two settings",
                "Each field is the mean over all cells that agree in both settings and pass the filters below it. "
                "Choose the settings, the result and the filters; point at a field for its numbers.",
                wide=True,
            )
        )
    figures.append(
        Figure(
            "curve",
            charts.curves(rows, axes, measured),
            "Along one setting",
            "Lines are means; bands reach from the least to the greatest of the cells that fall together.",
            wide=True,
        )
    )
    return Section("results", "Results", figures)


def _best(rows: Sequence[Row], swept: Mapping[str, Any], measured: Sequence[str]) -> Section:
    by = measured[0]
    there = [row for row in rows if isinstance(row[by], int | float)]
    chosen = sorted(there, key=lambda row: -row[by])[:BEST]
    names = [*swept, *measured]
    table = Table(
        [markup.escaped(name) for name in names],
        [[_cell(row[name]) for name in names] for row in chosen],
        markup.escaped(f"The {len(chosen)} cells with the largest {by}"),
        id="largest",
    )
    return Section("cells", "Cells", [table])


def _settings(results: StoredCells, swept: Mapping[str, Any]) -> Section:
    shared = {name: values[0] for name, values in results.settings().items() if name not in swept and values}
    rows = [[markup.code(name), markup.escaped(_values(values))] for name, values in swept.items()]
    rows += [[markup.code(name), markup.escaped(str(value))] for name, value in shared.items()]
    return Section("settings", "Settings", [Table(["setting", "values"], rows)])


def _failed(failed: Sequence[Row], swept: Mapping[str, Any]) -> Section:
    rows = [[_which(row, swept), markup.escaped(row["error"]), row["attempts"]] for row in failed[:LISTED]]
    by_error = {row["error"]: row["traceback"] for row in reversed(failed) if row["traceback"]}
    traces = [Prose(_fenced(trace)) for trace in list(by_error.values())[::-1][:TRACEBACKS]]
    more = f" The first {len(rows)} of them:" if len(failed) > len(rows) else ""
    return Section(
        "failures",
        "Cells that failed",
        [
            Prose(f"{len(failed):,} cells failed; the same command tries them again.{more}"),
            Table(["cell", "error", "attempts"], rows, stacked=True),
            *([Prose("Where the errors come from:"), *traces] if traces else []),
        ],
        tone="error",
    )


def _which(row: Row, swept: Mapping[str, Any]) -> str:
    return markup.escaped(", ".join(f"{name} = {row[name]}" for name in swept if name in row))


def _fenced(text: str) -> str:
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}\n{text.rstrip()}\n{fence}"


def _cell(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return {None: None, True: "yes", False: "no"}[value]
    return value if isinstance(value, int | float) else markup.escaped(str(value))


def _values(values: Sequence[Any]) -> str:
    texts = [_short(value) for value in values]
    return ", ".join(texts) if len(texts) <= 12 else f"{', '.join(texts[:5])}, ..., {texts[-1]} ({len(texts)} values)"


def _listed(swept: Mapping[str, Any]) -> str:
    names = list(swept)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
