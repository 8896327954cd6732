"""UT406: a run that breaks in its first steps, at its full learning rate."""

from collections.abc import Iterator

import numpy as np

from undertow.analysis.timeline import RunHistory
from undertow.record import Finding, Role, Run, Severity
from undertow.rules.advice.steps import warmed_up
from undertow.rules.registry import RUN, rule
from undertow.rules.ut1_collapse import collapsed
from undertow.rules.ut1_nonfinite import first_nonfinite
from undertow.rules.ut4_optimizer import SCALE_FREE
from undertow.rules.ut4_step_size import step_not_finite_over_time

EARLY = 100
WARM_BELOW = 0.5
LARGE = 0.01
"""||dw|| / ||w|| of the median layer: no step before was as large, and what broke was no step's fault."""


@rule(
    "UT406",
    "no warm-up",
    over=RUN,
    header=("optimizer",),
    once_per_run=True,
    acts_by_steps=True,
    explains=("UT101", "UT104", "UT108", "UT109", "UT202", "UT205", "UT405", "UT704"),
)
def no_warm_up(history: RunHistory) -> Iterator[Finding]:
    """The run breaks in its first steps, at the full learning rate of an adaptive optimizer.

    What:
        The gradient at the first step was in order; within a hundred steps it was lost on its way to the front, or
        numbers ceased to be finite; and the learning rate was at its height from the first step on.
    Why it is bad:
        Adam's first steps are as long as the learning rate, whatever the gradient: its averages hold one or two
        batches. Transformers with the normalisation behind the residual sum don't survive that when they are deep:
        every block's output is thrown in one direction, all positions become alike, and no gradient gets back.
    Evidence:
        ``broke``: steps from the start; ``rate at the start``: the first learning rate as a share of the highest;
        ``update``: ||dw|| / ||w|| of the first step, median over layers; ``post-norm``: share of the residual sums
        that have a normalisation right behind them.
    Threshold:
        Collapse (UT108) or inf (UT103) within 100 steps, at more than half of the highest learning rate from the
        start, after an update of 0.01 of the weights or more in the median layer. A transformer of 12 post-norm
        blocks, Adam at 0.004: without warm-up 4.5 decades were lost within 8 steps, and the loss stayed at chance;
        with 250 steps of warm-up it learned. Pre-norm, at 0.01 and without, it lost 1.4 decades and got them back.
    What to do:
        Raise the learning rate from 0 over the first few hundred or thousand steps, put the normalisation before the
        branch (pre-norm), or start at a smaller learning rate.
    References:
        Xiong et al. 2020 (On layer normalization in the transformer architecture); Liu et al. 2020 (Understanding
        the difficulty of training transformers); Liu et al. 2020 (RAdam).
    """
    optimizer = str(history.run.header.get("optimizer", ""))
    start = _rate_at_start(history)
    if start < WARM_BELOW or not any(name in optimizer for name in SCALE_FREE):
        return
    broken = [each for each in (*collapsed(history), *first_nonfinite(history)) if _is_early(history, each)]
    if not broken:
        return
    first = min(broken, key=lambda each: each.began or 0)
    if _largest_update(history, first.began or 0) < LARGE or _lost_by_the_step(history):
        return
    after = int((first.began or 0) - history.first_step)
    post = _post_norm(history.run)
    numbers = {"broke": float(after), "rate at the start": start, "update": _first_update(history), "post-norm": post}
    text = (
        f"After {after} steps at the full learning rate of {optimizer} "
        f"{'numbers cease to be finite' if first.code == 'UT103' else 'the front layers have lost their gradient'}"
    )
    text += ": a transformer with post-norm doesn't survive that." if post > 0.5 else "."
    limit = f"broken within {EARLY} steps, at more than {WARM_BELOW:.0%} of the highest learning rate from the start"
    found = Finding(
        "UT406",
        "broken without warm-up",
        Severity.WARNING,
        first.sites,
        first.where,
        text,
        numbers,
        limit,
        began=first.began,
    )
    yield warmed_up(after, history.run.header, post > 0.5).on(found)


def _is_early(history: RunHistory, finding: Finding) -> bool:
    return finding.began is not None and 0 < finding.began - history.first_step <= EARLY


def _rate_at_start(history: RunHistory) -> float:
    """Return the first learning rate as a share of the run's highest; 0 if nobody noted it."""
    rates = history.scalar("lr").values
    return float(rates[0] / rates.max()) if len(rates) and rates.max() > 0 else 0.0


def _largest_update(history: RunHistory, before: int) -> float:
    """Return the largest update ratio up to a step, the median over layers; inf where none was measured."""
    if "update_ratio" not in history.run.columns:
        return float("inf")
    layers = [site.index for site in history.run.sites if site.role is Role.WEIGHT]
    ratios = np.asarray(history.run.columns["update_ratio"][history.steps <= before][:, layers], float)
    known = ratios[np.isfinite(ratios).any(1)] if ratios.size else ratios
    return float(np.nanmax(np.nanmedian(np.where(np.isfinite(known), known, np.nan), axis=1))) if len(known) else np.inf


def _lost_by_the_step(history: RunHistory) -> bool:
    """Tell whether the step itself wasn't finite, which no smaller one would mend."""
    return any(True for _ in step_not_finite_over_time(history))


def _first_update(history: RunHistory) -> float:
    if not len(history.run) or "update_ratio" not in history.run.columns:
        return float("nan")
    ratios = history.run.column("update_ratio", 0)
    known = [ratios[s.index] for s in history.run.sites if s.role is Role.WEIGHT and np.isfinite(ratios[s.index])]
    return float(np.median(known)) if known else float("nan")


def _post_norm(run: Run) -> float:
    """Return the share of the joins whose gradient comes out of a normalisation alone."""
    joins = [site.index for site in run.sites if site.role is Role.JOIN and run.incoming[site.index]]
    behind = [all(run.sites[run.edges[e].source].role is Role.NORM for e in run.incoming[join]) for join in joins]
    return float(np.mean(behind)) if behind else 0.0
