"""Render two diagnoses side by side as a page: findings that came and went, both losses, gains that changed."""

import math
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from undertow.analysis.timeline import RunHistory
from undertow.diagnosis import Diagnosis
from undertow.formatting import counted, terse
from undertow.record import Finding
from undertow.render.blocks import Block, Prose, Section, Snippet, Table
from undertow.render.charts import curves_with_bands
from undertow.render.difference import WORTH_SHOWING, Difference, compared_figures, difference, in_short
from undertow.render.loss_end import loss_end
from undertow.render.markup import escaped
from undertow.render.page import Article, Figure
from undertow.render.segments import Segment
from undertow.render.verdict import is_fault

MOST_POINTS = 200
"""Points of a drawn loss; of more each is the mean of its neighbours."""

Named = tuple[str, Diagnosis]
TIMES = ("Before", "After")


def article(before: Named, after: Named) -> Article:
    """Return the page of two runs or reports.

    Args:
        before, after: what each is called, and its diagnosis.

    Example:
        >>> from undertow.record import Run
        >>> empty = Diagnosis(Run({}, ()))
        >>> article(("a.json", empty), ("b.json", empty)).title
        'No finding came or went'
    """
    found = difference(before[1], after[1])
    parts = (_findings(found), _figures(before, after), _losses(before, after), _gains(found))
    return Article(
        _headline(found),
        subtitle=f"before: {before[0]}; after: {after[0]}",
        lead="\n\n".join(
            f"{when}: {escaped(in_short(diagnosis))}"
            for when, (_, diagnosis) in zip(TIMES, (before, after), strict=True)
        ),
        tone=_tone(found),
        answer=_answer(found),
        sections=[section for section in parts if section is not None],
        meta={"undertow": version("undertow")},
        lively=False,
    )


def _headline(found: Difference) -> str:
    gone, new = ([each for each in some if is_fault(each)] for some in (found.gone, found.new))
    if not gone and not new:
        return "No finding came or went"
    are = "is" if len(gone) == 1 else "are"
    parts = (_counted("", gone, f" {are} gone"), _counted("new ", new, ""))
    return "; ".join(filter(None, parts))


def _counted(before: str, findings: Sequence[Finding], after: str) -> str:
    codes = ", ".join(dict.fromkeys(each.code for each in findings))
    return f"{counted(len(findings), f'{before}finding')}{after}: {codes}" if findings else ""


def _left(found: Difference) -> Finding | None:
    """Return the worst fault that there is afterwards, a new one first."""
    faults = [each for each in (*found.new, *found.kept) if is_fault(each) and not each.follows_from]
    return max(faults, key=lambda each: each.severity.rank, default=None)


def _tone(found: Difference) -> Any:
    left = _left(found)
    return None if left is None else str(left.severity)


def _answer(found: Difference) -> list[Block]:
    left = _left(found)
    if left is None:
        return []
    blocks: list[Block] = [Prose(f"Left to do, {left.code}: {escaped(left.message)}")]
    blocks += [Prose(escaped(left.advice))] if left.advice else []
    return blocks + ([Snippet(left.snippet)] if left.snippet else [])


def _findings(found: Difference) -> Section | None:
    kinds = (("went", found.gone), ("came", found.new), ("stayed", found.kept))
    rows = [
        [what, each.code, str(each.severity), escaped(f"{each.span}{each.message}")]
        for what, some in kinds
        for each in some
    ]
    table = Table(["", "rule", "severity", "what"], rows, stacked=True)
    return Section("changed", "Findings that went, came and stayed", [table]) if rows else None


def _figures(before: Named, after: Named) -> Section | None:
    rows = [[name, *values] for name, *values in compared_figures([before[1].run, after[1].run])]
    table = Table(["", "before", "after"], rows)
    return Section("numbers", "How far each got", [table]) if rows else None


def _losses(before: Named, after: Named) -> Section | None:
    curves = [(each, points) for each in _apart(before, after) if (points := _points(*each))]
    rows = [row for _, points in curves for row in points]
    if not rows or len({(row["of"], row["step"]) for row in rows}) < 2 * len(curves):
        return None  # a report's loss is one number, and no curve
    values = [row["loss"] for row in rows]
    log = min(values) > 0 and max(values) > 20 * min(values)
    chart = curves_with_bands(rows, x="step", y="loss", low=None, high=None, colour="of", x_title="step",
                              y_title="loss", band_title="", log_y=log)  # fmt: skip
    title = "The loss comes to " + " and ".join(_came_to(each, points[-1]["loss"]) for each, points in curves)
    return Section("losses", "Both losses", [Figure("loss-curves", chart, title, "Means of neighbouring steps.")])


def _came_to(named: Named, last: float) -> str:
    broke = ", where it diverged" if loss_end(named[1].run).lost else ""
    return f"{last:.3g} in {escaped(named[0])}{broke}"


def _apart(before: Named, after: Named) -> Sequence[Named]:
    """Give two runs of one name different ones."""
    if before[0] != after[0]:
        return [before, after]
    return [(f"{before[0]}, before", before[1]), (f"{after[0]}, after", after[1])]


def _points(name: str, diagnosis: Diagnosis) -> list[dict[str, Any]]:
    """Return means of neighbouring losses that are finite."""
    steps, values = RunHistory(diagnosis.run).loss
    parts = min(len(values), MOST_POINTS)
    split = np.array_split(np.arange(len(values)), parts) if parts else []
    means = [(float(steps[some].mean()), float(values[some].mean())) for some in split]
    return [{"of": name, "step": step, "loss": mean} for step, mean in means if math.isfinite(mean)]


def _gains(found: Difference) -> Section | None:
    changed = [pair for pair in found.pairs if not abs(pair.change) < WORTH_SHOWING]
    rows = [
        [escaped(pair.name), _gain(pair.before), _gain(pair.after), _decades(pair.change), pair.cause]
        for pair in changed
    ]
    alike = len(found.pairs) - len(changed)
    blocks: list[Block] = [Table(["layer", "before", "after", "decades", "because of"], rows)] if rows else []
    if alike:
        blocks.append(Prose(f"{alike} of {len(found.pairs)} layers and joins pass on what they did, within 1 %."))
    return Section("gains", "What each layer passes on of the gradient", blocks) if blocks else None


def _gain(segment: Segment | None) -> str:
    return "not there" if segment is None else f"× {terse(segment.gain)}"


def _decades(change: float) -> str | None:
    return None if math.isnan(change) else f"{change:+.2f}"
