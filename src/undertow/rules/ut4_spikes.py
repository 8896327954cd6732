"""UT405: losses that jump, and what moved first."""

from collections.abc import Iterator, Sequence

import numpy as np

from undertow.analysis.loss_spikes import DEVIATIONS, RISE, Mover, Spike, moved_first, recorded_before, spikes_of
from undertow.analysis.timeline import Numbers, RunHistory
from undertow.record import Finding, Severity
from undertow.rules.advice import Advice
from undertow.rules.advice.steps import clipped
from undertow.rules.registry import RUN, rule
from undertow.wording import size

NEARLY_BACK = 0.1
"""Part of a spike's rise that may be left at the end of a run of one that comes back by itself."""

STEPS_BACK = 6
"""Steps from its top on that it takes to see that."""


@rule(
    "UT405",
    "loss spike",
    over=RUN,
    once_per_run=True,
    acts_by_steps=True,
    explains=("UT103", "UT108", "UT109", "UT202"),
)
def loss_spikes(history: RunHistory) -> Iterator[Finding]:
    """The loss jumps up from one step to the next and stays up for a while.

    What:
        After it had settled the loss rises far out of its own noise, for more than a single batch.
    Why it is bad:
        A step has thrown the weights somewhere else: what was learned is lost in part, and Adam's averages are off
        for hundreds of steps. Sometimes the run never comes back (UT108), or ends in nan (UT103).
    Evidence:
        ``before`` and ``top``: the loss; ``steps``, how long it lasted; ``spikes``, how many there were in all;
        ``factor``: of what moved first, its update or gradient as a multiple of what it usually was in the steps
        before; ``lead``: how many steps before the loss; 0 where it moved together with the loss, and nothing before.
    Threshold:
        More than 8 (robust) standard deviations and half of itself above the median of the last 40 noted losses, at
        two notes in a row, and by twice what two in a row were above theirs in the last 500; or once, above twice
        the loss that the run began with, and by 3 times what any was. A batch that is merely hard is over with the
        next one, and where batches are of one or two examples hard ones are common. What moved first is what rose to
        3 times its own median or more, and by 5 deviations, in the last 12 recorded steps before, none of them more
        than 50 steps of the optimizer back: what was odd longer ago is not why. Where nothing was recorded there,
        or in fewer than 5 steps before, what moved first isn't known, and the message says so.
        With several optimizers, as a GAN's, a loss rises as the other one learns: a note. So is a single spike that is
        over, or of whose rise the end of the run has a tenth and less, and half of what was left midway.
    What to do:
        If an update jumped first: a smaller learning rate, warm-up, or beta2 = 0.95 in Adam. If a gradient did: clip
        gradients, look at that batch, or use QK normalisation where it is attention's.
    References:
        Chowdhery et al. 2022 (PaLM), section 5.1; Wortsman et al. 2023 (small-scale proxies); Molybog et al. 2023.
    """
    steps, values = history.loss
    found = spikes_of(values)
    if not found:
        return
    worst = max(found, key=lambda spike: float(values[spike.first : spike.last + 1].max()) - spike.before)
    top = float(values[worst.first : worst.last + 1].max())
    began, over = int(steps[worst.first]), worst.last + 1 < len(values)
    movers = moved_first(history, began)
    ended = int(steps[worst.last + 1]) if over else None
    lasted = int(steps[worst.last + 1] if over else steps[-1]) - began
    numbers = {"before": worst.before, "top": top, "spikes": float(len(found))}
    numbers |= {"steps": float(lasted)}
    text = f"The loss rose from {size(worst.before)} to {size(top)}"
    if began - steps[worst.first - 1] > 1:
        text += f" between steps {steps[worst.first - 1]:,.0f} and {began:,}"
    returning = not over and _is_coming_back(values, worst)
    if over:
        text += f" and was back after {lasted:,} step{'s' if lasted > 1 else ''}."
    else:
        now = f" and was coming back when the run ended, at {size(float(np.median(values[-3:])))}."
        text += now if returning else " and has not come back."
    if movers:
        numbers |= {"factor": movers[0].factor, "lead": float(began - movers[0].step)}
    text += _first_moved(movers, began, recorded_before(history, began))
    if len(found) > 1:
        text += f" There were {len(found)} such spikes."
    sites = tuple(dict.fromkeys(site for mover in movers for site in mover.sites))
    where = ", ".join(mover.name for mover in movers) or "the loss"
    limit = f"{DEVIATIONS:.0f} deviations and {RISE:.0%} above the median before, twice in a row"
    single = (over or returning) and len(found) == 1
    severity = Severity.NOTE if single or not history.one_loss else Severity.WARNING
    made = Finding("UT405", "loss spike", severity, sites, where, text, numbers, limit, began=began, ended=ended)
    yield _advice(history, movers, began).on(made)


def _is_coming_back(values: Numbers, spike: Spike) -> bool:
    """Tell whether at the end of a run a tenth of a rise is left at most, and half of what was left midway to there."""
    left = values[spike.first :] - spike.before
    left = left[int(left.argmax()) :]
    if len(left) < STEPS_BACK:
        return False
    return bool(np.median(left[-3:]) <= min(NEARLY_BACK * left[0], np.median(left[len(left) // 2 :][:3]) / 2))


def _advice(history: RunHistory, movers: Sequence[Mover], began: int) -> Advice:
    steps, norms = history.scalar("grad_norm")
    usual = norms[(steps < began) & np.isfinite(norms) & (norms > 0)]
    by_gradient = bool(movers) and "gradient" in movers[0].name
    return clipped(float(np.median(usual)) if len(usual) else None, history.run.header, by_gradient)


def _first_moved(movers: Sequence[Mover], began: int, recorded: int) -> str:
    """Put what moved first into words; ``recorded``: steps before the spike in which something could have been seen."""
    shown = ", ".join(f"{mover.name} (x {mover.factor:.2g})" for mover in movers)
    unknown = "" if recorded else " What moved first isn't known: too few steps just before it were measured in full."
    if not movers:
        taped = f"{recorded} steps" if recorded > 1 else "step"
        return unknown or f" In the {taped} taped just before nothing else was out of the ordinary."
    lead = began - movers[0].step
    if not lead:
        return f" At the same step moved: {shown}.{unknown}"
    return f" First moved, at step {movers[0].step:,} ({lead} step{'s' if lead > 1 else ''} before): {shown}."
