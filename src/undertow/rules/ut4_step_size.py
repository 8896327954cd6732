"""UT408: steps too small to get anywhere. UT410: a step that makes weights inf or nan out of finite gradients."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.analysis.loss_trend import Reach, loss_ends, low_rate, reach_of, warming_up
from undertow.analysis.timeline import RunHistory
from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Severity
from undertow.rules.advice.steps import (
    epsilon_that_holds,
    further_steps,
    optimizer_of,
    rate_kept,
    rate_set,
    steps_kept,
)
from undertow.rules.registry import RUN, Blocks, rule
from undertow.rules.ut6_healthy import cancelling_ratio
from undertow.wording import amount, few

TOO_LITTLE = 1e-5
"""Part of the loss that a step takes off, under which it takes a hundred thousand steps to get anywhere."""

ALL_TOGETHER = 0.05
"""Part of the loss that all steps of a run together can take off, under which none of them matters."""

FAR_FROM_ENOUGH, STEADY, FALLS_YET = 0.25, 0.25, 0.35
"""The same of a run that falls slowly: it falls by this part of what its steps could do and more, and its second half
takes off this part of all that it has fallen."""

LONG_ENOUGH, HARDLY_FALLEN, LONGER = 200, 0.2, 10.0
IN_A_WARM_UP = 1e-3
"""The same while the learning rate rises yet: a warm-up may begin with next to nothing, not go on so for long."""

ENOUGH = 1e-3
"""Part of the loss that most healthy networks' steps take off at their start."""

DIED_AWAY, STILL_PULLED, UNLEARNED = 0.01, 0.1, 0.6
"""Part of the loss that all steps of a run's second half can take off, while the gradient is this part of what it was,
and the loss, too."""

SHOWN = 1e-3
"""The smallest part of the loss that is told in figures."""

AGREEING = 0.1
FEWEST_STEPS = 100
FEWEST_ROWS = 8
FEWEST_FULL_STEPS = 5
END_OF_SCHEDULE = 0.01
HELD_BACK = 0.01
NAME = "steps too small"


@rule(
    "UT408",
    NAME,
    once_per_run=True,
    blocks_converged=Blocks.EVER,
    explains=("UT401", "UT704"),
)
def too_small(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Steps are so small that the loss can't fall, though there is something to learn.

    What:
        The learning rate is 0, or has come to next to nothing. Or the step is so short that it lowers the loss, to
        first order, by next to nothing, though the examples' gradients don't cancel.
    Why it is bad:
        Nothing is wrong with the gradient, and nothing is learned. Usual reasons: a scheduler that is stepped too
        often (once a batch, where it counts epochs, or once a process), a parameter group with a learning rate of 0,
        a loss that is averaged twice, Adagrad's accumulator that starts far above the squared gradients.
    Evidence:
        ``reach``: sum of ||g|| ||dw|| over parameters / |loss|, the most that a step can take off the loss, to first
        order. Over a run: ``all steps``, what all of them together can take off, and ``low``, the part of the run at
        whose end the learning rate was 0 or under a ten-thousandth of its height.
    Threshold:
        A learning rate of 0 is an error, for a part of the parameters a warning; a note where a warm-up is about to
        begin. reach < 1e-5, while coherence x sqrt(rows) >= 0.1 (see UT601), is a warning: healthy networks at
        their start were seen at 4e-5 and above, most at 1e-3. Over a run of 100 steps or more: a rate of next to
        nothing over its last fifteenth and longer, before it has converged; or all steps together under 5 %, 0.1 % in a
        warm-up; or those of its second half under 1 %, and a tenth of all, while the gradient is a tenth of what it
        was or more, and the loss 60 %. Or all together, of 200 and more, under 25 %, where the loss has fallen by less
        than a fifth, but by a quarter of what they could do, and falls yet: of 42 trainings at rates from 1e-6 to 1
        (MLP, CNN, transformer; SGD and Adam) the five of which that was so fell 4 to 12 times as far at ten times the
        rate.
    What to do:
        Look at what the learning rate is, step by step. Call scheduler.step() as often as its length counts, divide
        the loss by the batch once, give Adagrad an initial_accumulator_value of 0, or raise the learning rate.
    References:
        Duchi, Hazan, Singer 2011 (Adagrad); tensorflow/recommenders, issue 213 (its accumulator); EasyContext, issue
        21, and accelerate, issue 2142 (a scheduler stepped once a process).
    """
    rates = diagnosis.run.header.get("rates")
    if rates and rates["zero"]:
        yield from _rate_of_zero(diagnosis.run.header, rates)
        if len(rates["zero"]) == diagnosis.run.header["held"]["reached"]:
            return
    reach = diagnosis.run.header.get("reach")
    if reach is None or not 0 < reach < TOO_LITTLE or not _agree(diagnosis):
        return
    optimizer = optimizer_of(diagnosis.run.header)
    text = f"{optimizer}'s steps are too short: it would take {amount(1 / reach)} like the next to get to the bottom."
    text += _reason(diagnosis.run.header)
    severity = Severity.NOTE if _schedule_ends(diagnosis.run.header) else Severity.WARNING
    limit = f"||g|| ||dw|| / |loss| < {TOO_LITTLE:g} while examples agree"
    numbers = {"reach": float(reach), "lr": float(diagnosis.run.header.get("lr", np.nan))}
    found = Finding("UT408", NAME, severity, (), "the optimizer", text, numbers, limit, "|<g, dw>| <= ||g|| ||dw||")
    yield further_steps(diagnosis.run.header, float(reach), ENOUGH).on(found)


def _rate_of_zero(header: Mapping[str, Any], rates: Mapping[str, Any]) -> Iterator[Finding]:
    held: Mapping[str, Any] = header["held"]
    names, everything = rates["zero"], len(rates["zero"]) == held["reached"]
    shown = few(names)
    text = "The learning rate is 0: no weight moves."
    if not everything:
        text = f"The learning rate of {shown} is 0: no step changes them, though they get gradient."
    severity = Severity.ERROR if everything else Severity.WARNING
    if not rates["begun"] and rates["initial"] > 0:
        severity, text = Severity.NOTE, f"{text} A scheduler raises it from here on, if it is stepped."
    numbers = {"parameters": float(len(names)), "of": float(held["reached"]), "lr": 0.0}
    where = "the learning rate" if everything else shown
    found = Finding("UT408", NAME, severity, (), where, text, numbers, "lr > 0")
    yield rate_set(header, [] if everything else names, float(rates["initial"])).on(found)


def _agree(diagnosis: Diagnosis) -> bool:
    """Tell whether the examples' gradients do more than cancel, as far as that can be told."""
    ratio = cancelling_ratio(diagnosis)
    return diagnosis.finite and (ratio is None or ratio >= AGREEING)


def _schedule_ends(header: Mapping[str, Any]) -> bool:
    rates = header.get("rates", {})
    return bool(rates.get("begun")) and float(header.get("lr", 0.0)) < END_OF_SCHEDULE * rates.get("initial", 0.0)


def _reason(header: Mapping[str, Any]) -> str:
    accumulated = float(header.get("accumulated", np.nan))
    if accumulated < HELD_BACK:
        return (
            f" Adagrad divides by the root of an accumulator that starts {amount(1 / accumulated)} times above what "
            "the squared gradient adds."
        )
    return ""


@rule("UT408", NAME, over=RUN)
def too_small_over_time(history: RunHistory) -> Iterator[Finding]:
    """Steps are so small that the loss can't fall, over a run."""
    ended = low_rate(history)
    if ended is not None:
        yield from _rate_gone(history, *ended)
        return
    yield from _groups_at_zero(history)
    reach = reach_of(history)
    if reach is None or reach.steps < FEWEST_STEPS or reach.rows < FEWEST_ROWS:
        return
    enough = IN_A_WARM_UP if warming_up(history) else ALL_TOGETHER
    if (0 < reach.total < enough and not _moved(history) and _is_pulled(history)) or _falls_slowly(history, reach):
        yield _all_too_small(history, reach)
    elif 0 < reach.late < DIED_AWAY and reach.late < reach.total / 10 and _unlearned(history):
        yield _died_away(history, reach)


def _falls_slowly(history: RunHistory, reach: Reach) -> bool:
    """Tell whether a loss falls evenly, about as fast as its short steps let it, and so has hardly fallen yet."""
    ends, values = loss_ends(history), history.loss.values
    if not 0 < reach.total < FAR_FROM_ENOUGH or reach.steps < LONG_ENOUGH or ends is None or not ends[0] > 0:
        return False
    first, second, _, last = (float(np.median(part)) for part in np.array_split(values, 4))
    fallen = max(ends[0], first) - ends[1]
    steady = STEADY * reach.total <= fallen / ends[0] < HARDLY_FALLEN and second - last >= FALLS_YET * fallen
    return steady and history.first_step == 0 and history.one_loss and not warming_up(history)


def _unlearned(history: RunHistory) -> bool:
    """Tell whether the loss is about where it was, and so is the gradient."""
    ends, gradient = loss_ends(history), history.scalar("grad_norm").values
    known = ends is not None and len(gradient) >= FEWEST_FULL_STEPS and ends[0] > 0
    return known and ends is not None and _is_pulled(history) and ends[1] >= UNLEARNED * ends[0]


def _is_pulled(history: RunHistory) -> bool:
    """Tell whether the gradient is not far smaller than it was: else the loss stands at its floor; True if unknown."""
    gradient = history.scalar("grad_norm").values
    gradient = gradient[np.isfinite(gradient)]
    if len(gradient) < FEWEST_FULL_STEPS:
        return True
    part = max(len(gradient) // 4, 1)
    return float(np.median(gradient[-part:])) >= STILL_PULLED * float(np.median(gradient[:FEWEST_FULL_STEPS]))


def _died_away(history: RunHistory, reach: Reach) -> Finding:
    optimizer, middle = optimizer_of(history.run.header), int(history.first_step) + reach.steps // 2
    text = (
        f"{optimizer}'s steps have died away before the network has learned: all from step {middle:,} on together can "
        f"take {_at_most(reach.late)} of the loss off, though the gradient is much as it was."
    )
    numbers = {"all steps": reach.total, "late": reach.late}
    limit = f"sum of ||g|| ||dw|| / |loss| over the second half of the run < {DIED_AWAY:.0%}"
    equation = "|<g, dw>| <= ||g|| ||dw||"
    found = Finding("UT408", NAME, Severity.WARNING, (), "the optimizer", text, numbers, limit, equation, began=middle)
    return steps_kept(history.run.header).on(found)


def _rate_gone(history: RunHistory, began: int, low: float) -> Iterator[Finding]:
    rates = history.scalar("lr")
    last, height = float(rates.values[-1]), float(rates.values.max())
    converged = history.loss_summary is not None and _at_rest_before(history, began)
    severity = Severity.NOTE if converged else Severity.ERROR
    text = f"The learning rate has been {last:.1g} since step {began:,}, over {low:.0%} of the run: no weight moves."
    if height > 0:
        text += f" It was {height:.2g}."
    if converged:
        text += " By then the run had converged."
    numbers = {"low": low, "lr": last, "height": height}
    limit = "under a ten-thousandth of its height at the end, for a fifteenth of the run and longer"
    found = Finding("UT408", NAME, severity, (), "the learning rate", text, numbers, limit, began=began)
    found = replace(found, from_start=began <= history.first_step)
    yield rate_kept(history.run.header, height, last).on(found)


def _groups_at_zero(history: RunHistory) -> Iterator[Finding]:
    """Report parameters that get gradient under a learning rate of 0 while others are moved, from the first step on."""
    run = history.run
    if not {"lr", "grad_norm"} <= set(run.parameter_columns) or len(run.parameter_steps) < FEWEST_FULL_STEPS:
        return
    rates, gradient = (np.asarray(run.parameter_columns[name], float) for name in ("lr", "grad_norm"))
    pulled = np.nan_to_num(gradient).max(0) > 0
    still = pulled & (np.nan_to_num(rates, nan=1.0).max(0) == 0)
    moved = pulled & (np.nan_to_num(rates).max(0) > 0)
    if not still.any() or not moved.any() or run.parameter_steps[-1] - history.first_step < FEWEST_STEPS // 2:
        return
    names = [run.parameters[place] for place in np.flatnonzero(still)]
    reached = {"held": {"reached": int(pulled.sum())}}
    rates_of = {"zero": names, "begun": True, "initial": float(np.nanmax(rates[:, moved]))}
    for found in _rate_of_zero({**run.header, **reached}, rates_of):
        yield replace(found, began=int(history.first_step), from_start=True)


def _at_rest_before(history: RunHistory, began: int) -> bool:
    """Tell whether the loss had come to rest, or its gradients cancelled, before the rate went."""
    steps, values = history.loss
    before = RunHistory(replace(history.run, scalars={"step": steps[steps <= began], "loss": values[steps <= began]}))
    summary = before.loss_summary
    return summary is not None and summary.fell and summary.settled is not None


def _moved(history: RunHistory) -> bool:
    summary = history.loss_summary
    return summary is not None and summary.fell


def _at_most(part: float) -> str:
    return f"at most {part:.1%}" if part >= SHOWN else f"less than {SHOWN:.1%}"


def _all_too_small(history: RunHistory, reach: Reach) -> Finding:
    text = (
        f"{optimizer_of(history.run.header)}'s steps are too short: all {reach.steps:,} together can take "
        f"{_at_most(reach.total)} of the loss off, though gradient reaches the weights."
    )
    if warming_up(history):
        rates = history.scalar("lr").values
        text += (
            f" The learning rate rises yet, from {rates[0]:.1g} to {rates[-1]:.1g}: is the warm-up meant to be so long?"
        )
    numbers = {"all steps": reach.total, "a step": reach.total / reach.steps}
    most = ALL_TOGETHER if reach.total < ALL_TOGETHER else FAR_FROM_ENOUGH
    limit = f"sum of ||g|| ||dw|| / |loss| over the run < {most:.0%}"
    began = int(history.first_step)
    equation = "|<g, dw>| <= ||g|| ||dw||"
    found = Finding(
        "UT408", NAME, Severity.WARNING, (), "the optimizer", text, numbers, limit, equation, began=began,
        from_start=True,
    )  # fmt: skip
    a_step = reach.total / reach.steps
    return further_steps(history.run.header, a_step, max(ENOUGH, LONGER * a_step)).on(found)


@rule(
    "UT410",
    "step not finite",
    once_per_run=True,
    blocks_converged=Blocks.EVER,
    spoils_weights=True,
    explains=("UT103", "UT405", "UT406", "UT704"),
)
def step_not_finite(diagnosis: Diagnosis) -> Iterator[Finding]:
    """The optimizer makes weights inf or nan, though gradients and weights are finite.

    What:
        The step itself isn't finite: it comes out of a division by zero or overflows in the precision of its numbers.
    Why it is bad:
        From this step on every number of the network is nan. The gradients were in order: to look for the reason in
        the forward or the backward pass is in vain.
    Evidence:
        ``parameters``: how many the step makes inf or nan, out of finite weights and gradients; ``epsilon``, and
        ``epsilon there``: what the precision of the weights makes of it.
    Threshold:
        A single one. The step is tried on a copy; in a watched run it is the real one.
    What to do:
        Keep the weights in float32 and compute under autocast. Else give Adam an epsilon that isn't 0 in their
        precision: float16 makes 0 of everything under 6e-8, and the square root of a second moment of 0 is 0, too;
        1e-4 is usual there.
    References:
        Micikevicius et al. 2018 (mixed precision training), section 3.1; pytorch, issue 8860 (Adam in half precision).
    """
    names: Sequence[str] = diagnosis.run.header.get("step not finite", ())
    if names:
        yield _not_finite(diagnosis.run.header, names)


def _not_finite(header: Mapping[str, Any], names: Sequence[str]) -> Finding:
    shown, there = few(names), None
    text = f"A step of {optimizer_of(header)} makes inf or nan of {shown}: weights and gradients are finite before."
    numbers = {"parameters": float(len(names))}
    epsilon, half = header.get("epsilon"), "torch.float16" in header.get("dtypes of steps", header.get("dtypes", ()))
    if epsilon is not None:
        there = float(np.float16(epsilon)) if half else float(epsilon)
        numbers |= {"epsilon": float(epsilon), "epsilon there": there}
        if there == 0:
            text += (
                f" Its epsilon, {epsilon:.0e}, is 0 in float16: it divides by zero." if half else " Its epsilon is 0."
            )
    found = Finding("UT410", "step not finite", Severity.ERROR, (), shown, text, numbers, "none is allowed")
    return epsilon_that_holds(header, there).on(found)


@rule("UT410", "step not finite", over=RUN)
def step_not_finite_over_time(history: RunHistory) -> Iterator[Finding]:
    """The optimizer makes weights inf or nan out of finite gradients, at a step of a run."""
    lost = _lost_at(history)
    if lost is None:
        return
    row, names = lost
    step = int(history.run.parameter_steps[row])
    found = _not_finite(history.run.header, names)
    text = f"At step {step:,}: {found.message}"
    yield replace(found, message=text, began=step, from_start=step <= history.first_step)


def _nothing_finite_after(history: RunHistory) -> NDArray[np.bool_]:
    """Tell of every row of the parameters' columns whether numbers ceased to be finite between it and the next."""
    at = np.asarray(history.run.parameter_steps, float)
    seen = [history.steps[~history.finite]]
    for name in ("nonfinite", "loss_nonfinite"):
        flags = history.scalar(name)
        seen.append(flags.steps[flags.values > 0])
    first = np.concatenate(seen).min(initial=np.inf)
    following = np.append(at[1:], np.inf)
    return np.asarray((at < first) & (first <= following) & np.isfinite(first))


def _lost_at(history: RunHistory) -> tuple[int, list[str]] | None:
    """Return the first full step that made weights inf or nan while all gradients were finite, and which weights."""
    run = history.run
    if not {"grad_norm", "update_norm", "weight_norm"} <= set(run.parameter_columns):
        return None
    gradient, moved, weight = (
        np.asarray(run.parameter_columns[name], float) for name in ("grad_norm", "update_norm", "weight_norm")
    )
    # nan may be that it wasn't measured, as with sparse gradients; not if nothing is finite any more right after.
    lost = np.isinf(moved) | (np.isnan(moved) & _nothing_finite_after(history)[:, None])
    bad: NDArray[np.bool_] = np.isfinite(gradient) & np.isfinite(weight) & lost
    for row in range(len(bad)):
        if np.isinf(gradient[row]).any() or not np.isfinite(weight[row][~np.isnan(gradient[row])]).all():
            return None  # it was lost before
        if bad[row].any():
            return row, [run.parameters[place] for place in np.flatnonzero(bad[row])]
    return None
