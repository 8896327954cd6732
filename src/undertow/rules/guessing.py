"""Compute what guessing gets: losses at which nothing has been learned of the inputs."""

import numpy as np
from numpy.typing import NDArray

from undertow.analysis.loss_trend import UNDER_CONSTANT, LossLevel
from undertow.analysis.timeline import RunHistory
from undertow.record import Role, Run

MEASURED = frozenset({"nll_loss", "nll_loss2d", "binary_cross_entropy_with_logits", "mse_loss"})
FEWEST_BATCHES = 4
OF_THE_MEAN = 0.1
FLOOR = 1e-3
CLASSIFIES = ("nll_loss", "log_softmax", "cross_entropy", "binary_cross_entropy")


def better_than_guessing(history: RunHistory, loss: float) -> bool:
    """Tell whether a loss is under what guessing gets; True where nobody knows what that is.

    Example:
        >>> from undertow.record import Run
        >>> better_than_guessing(RunHistory(Run({}, ())), 2.0)
        True
    """
    return all(loss < level.under * level.value for level in loss_levels(history).values())


def loss_levels(history: RunHistory) -> dict[str, LossLevel]:
    """Return the losses at which nothing has been learned of the inputs, as far as they are known."""
    found, chance, constant = {}, chance_level(history.run), constant_level(history)
    if chance is not None:
        found["chance"] = LossLevel(chance)
    if constant is not None:
        found["constant"] = LossLevel(constant, UNDER_CONSTANT)
    return found


def constant_level(history: RunHistory) -> float | None:
    """Return what the best constant answer gets, of a run whose loss is the one that it was measured of.

    Example:
        >>> from undertow.record import Run
        >>> constant_level(RunHistory(Run({}, ()))) is None
        True
    """
    run = history.run
    if "constant_loss" not in run.columns or not run.sites or run.sites[0].op not in MEASURED:
        return None
    found = of_the_loss(run, "constant_loss")
    found = found[np.isfinite(found)]
    level = float(np.median(found)) if len(found) >= FEWEST_BATCHES else 0.0
    return level if level > FLOOR and _is_the_mean(run) else None


def chance_level(run: Run) -> float | None:
    """Return the loss of answering all classes alike, of a network that is seen to classify."""
    classes = next((site.n_out for site in run.sites if site.role is Role.WEIGHT and site.n_out), 0)
    classifies = any(site.op.startswith(CLASSIFIES) for site in run.sites)
    return float(np.log(max(classes, 2))) if classifies and classes else None


def of_the_loss(run: Run, name: str) -> NDArray[np.floating]:
    """Return a column at the operation that the run's loss is, or is a mean of; nan without one, [rows]."""
    place = next((site.index for site in run.sites if site.op in MEASURED), None)
    return np.full(len(run), np.nan) if place is None else np.asarray(run.columns[name][:, place], float)


def _is_the_mean(run: Run) -> bool:
    """Tell whether the loss is a mean over its targets, by how wrong a classifier is; True where nobody knows."""
    if "surprise" not in run.columns or "loss" not in run.steps:
        return True
    mean = of_the_loss(run, "surprise") * np.log(np.maximum(of_the_loss(run, "classes"), 2))
    ratio = mean / np.asarray(run.steps["loss"], float)
    known = ratio[np.isfinite(ratio)]
    return not len(known) or bool(abs(np.median(known) - 1) < OF_THE_MEAN)
