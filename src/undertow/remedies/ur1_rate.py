"""UR1xx, level A: the learning rate, and how it goes through time."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LinearLR, LRScheduler, SequentialLR

from undertow.diagnosis import Diagnosis
from undertow.record import Role
from undertow.remedies.changing import on_optimizer
from undertow.remedies.facts import known_facts
from undertow.remedies.registry import Proposal, remedy
from undertow.training import Training

GOOD_RATIO = 0.01
"""||dw|| / ||w|| of a step that is neither reckless nor timid; 0.001 is usual late in a training."""


WARM_FROM = 0.01


@remedy(
    "UR101", "scale the learning rate", "A", ["UT401", "UT405", "UT406", "UT103", "UT408", "UT402", "UT704", "UT202"]
)
def scale_lr(training: Training, factor: float) -> Training:
    """Multiply the learning rate of every group.

    What it changes:
        ``group["lr"]``, before a scheduler reads it. A step's length under SGD is proportional to it, under Adam equal
        to it up to shape.
    When:
        Steps change weights by far more or far less than a hundredth of themselves, or the loss jumps, becomes nan, or
        doesn't move though gradients are in order.
    Predicts:
        The update ratio is multiplied by the factor.
    References:
        Smith 2017 (cyclical learning rates); CS231n, "ratio of weights:updates".
    """
    return on_optimizer(training, partial(_scale_lr, factor=factor))


def _scale_lr(optimizer: Optimizer, factor: float) -> None:
    for group in optimizer.param_groups:
        for name in ("lr", "initial_lr"):
            if name in group:
                group[name] = group[name] * factor


@scale_lr.proposes
def _proposed_factors(diagnosis: Diagnosis) -> Iterator[Proposal]:
    ratio = typical_ratio(diagnosis)
    if math.isfinite(ratio) and ratio > 0 and not 0.1 < ratio / GOOD_RATIO < 10:
        factor = float(10.0 ** np.round(np.log10(GOOD_RATIO / ratio)))
        yield Proposal({"factor": factor}, f"a step changes the weights by {ratio:.1g} of themselves", 0.9)
    codes = {finding.code for finding in diagnosis.findings}
    down = bool(codes & {"UT401", "UT405", "UT406", "UT103", "UT202"})
    up = bool(codes & {"UT408", "UT402"})
    for factor in (0.1, 0.01):
        yield Proposal({"factor": factor}, "shorter steps", 0.6 if down else 0.3)
    for factor in (10.0, 100.0):
        yield Proposal({"factor": factor}, "longer steps", 0.6 if up else 0.25)


@scale_lr.written
def _scale_lr_lines(factor: float) -> str:
    return f'for group in optimizer.param_groups:\n    group["lr"] *= {factor:g}'


@remedy("UR104", "warm up", "A", ["UT406", "UT401", "UT405", "UT108"])
def warm_up(training: Training, steps: int = 100) -> Training:
    """Raise the learning rate from a hundredth over the first steps.

    What it changes:
        A ``LinearLR`` in front of the scheduler, if there is one.
    When:
        A training breaks in its first steps: Adam's averages hold one or two batches then, and its steps are as long
        as the learning rate, whatever the gradient.
    Predicts:
        The first step's update ratio is a hundredth of what it was.
    References:
        Goyal et al. 2017; Xiong et al. 2020; Ma, Yarats 2019 (2 / (1 - beta2) steps).
    """
    return replace(training, scheduler=_WarmUp(training.scheduler, steps))


@dataclass(frozen=True)
class _WarmUp:
    then: Any
    steps: int

    def __call__(self, optimizer: Optimizer) -> LRScheduler:
        rising = LinearLR(optimizer, start_factor=WARM_FROM, total_iters=self.steps)
        if self.then is None:
            return rising
        return SequentialLR(optimizer, [rising, self.then(optimizer)], milestones=[self.steps])


@warm_up.proposes
def _proposed_warm_up(diagnosis: Diagnosis) -> Iterator[Proposal]:
    found = [finding.code for finding in diagnosis.findings if finding.code in ("UT406", "UT405", "UT108")]
    normalised = any(site.role is Role.ATTENTION for site in diagnosis.run.sites)
    if found or normalised:
        yield Proposal({"steps": 100}, "its first steps are taken at the full learning rate", 0.6 if found else 0.3)


@warm_up.written
def _warm_up_lines(steps: int = 100) -> str:
    return (
        f"warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor={WARM_FROM:g}, total_iters={steps})\n"
        "# and after every optimizer.step(): warm_up.step()"
    )


@remedy("UR110", "no schedule of the learning rate", "A", ["UT408"])
def constant_lr(training: Training) -> Training:
    """Leave the learning rate as it is from the first step to the last.

    What it changes:
        The scheduler goes.
    When:
        It has taken the learning rate down to nothing long before the loss stopped falling.
    Predicts:
        Late steps are as long as early ones.
    References:
        PyTorch documentation, torch.optim.lr_scheduler: most schedulers count epochs, not batches.
    """
    return replace(training, scheduler=None)


@constant_lr.proposes
def _proposed_constant(diagnosis: Diagnosis) -> Iterator[Proposal]:
    scheduled = known_facts(diagnosis).get("scheduled")
    if scheduled is not False and any(finding.code == "UT408" for finding in diagnosis.findings):
        yield Proposal({}, "the schedule takes the learning rate down too soon", 0.7)
    elif scheduled:
        yield Proposal({}, "a schedule that counts epochs goes through all of them in as many batches", 0.5)


@constant_lr.written
def _constant_lr_lines() -> str:
    return "# leave out scheduler.step(), or call it once an epoch"


def typical_ratio(diagnosis: Diagnosis) -> float:
    """Return the median over layers of the optimizer's step over the weights' norm; nan without an optimizer."""
    ratio = diagnosis.column("update_ratio")
    known = [float(ratio[site]) for layer in diagnosis.layers for site in layer.sites if ratio[site] > 0]
    return float(np.median(known)) if known else math.nan
