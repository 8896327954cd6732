"""The doctor's way: which arms are raced, and which of two that help is preferred."""

import numpy as np
import torch
from torch import nn

from doctoring.lines import squared
from undertow.doctoring.comparison import compare
from undertow.doctoring.course import course_of, preference, unlike
from undertow.doctoring.trials import Cut, Trials
from undertow.remedies import Remedy
from undertow.training import Training


def test_arms_that_do_the_same_are_run_once():
    shut, open_, other = (Remedy("UR414"),), (Remedy("UR401"), Remedy("UR414")), (Remedy("UR102"), Remedy("UR103"))
    assert unlike([open_, shut, other], {open_: b"a", shut: b"a", other: b"b"}) == [shut, other]


def test_arms_of_equal_losses_and_other_scores_do_not_do_the_same(tmp_path):
    """A softmax of one number left out of the loss, or of the model: a score sees the first as it was."""
    x = torch.linspace(-1, 1, 32)[:, None]
    training = Training(
        lambda: nn.Sequential(nn.Linear(1, 1), nn.Softmax(1)), [(x, 3 * x)], squared,
        lambda model: torch.optim.SGD(model.parameters(), lr=0.1), lambda model: -float(squared(model, (x, 3 * x))),
    )  # fmt: skip
    in_loss, in_model = (Remedy("UR401"),), (Remedy("UR402"),)
    cuts = [Cut(arm, 0, 30) for arm in (in_loss, in_model)]
    with Trials(training, tmp_path / "kept.sweep", 0) as trials:
        made = trials.make(cuts)
    assert np.array_equal(made[cuts[0]].trial.losses, made[cuts[1]].trial.losses)
    assert unlike([in_loss, in_model], {arm: course_of(arm, [0], 30, made) for arm in (in_loss, in_model)}) == [
        in_loss, in_model
    ]  # fmt: skip


def test_of_two_that_help_as_much_the_surer_one_is_preferred():
    wide, narrow = (
        compare((Remedy("UR101", {"factor": factor}),), range(5), [0.0] * 5, treated, 0.0)
        for factor, treated in ((100.0, [0.5, 1.0, 1.5, 1.0, 1.01]), (30.0, [1.0, 1.0, 1.01, 0.99, 1.0]))
    )
    best = max(wide.effect, narrow.effect)
    assert wide.effect > narrow.effect
    assert min((wide, narrow), key=lambda each: preference(each, best)) is narrow
