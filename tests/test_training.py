"""A Training: data until it is run, the same run of a seed, one clear sentence for what can't be run."""

import math
import random

import numpy as np
import pytest
import torch
from torch import nn

from remedies import patients
from undertow.training import DEFAULT_STEPS, LOST_AFTER, Training, random_numbers_kept


def changed(training, **fields):
    return Training(**{**vars(training), **fields})


@pytest.fixture
def training():
    return patients.classes(patients.mlp, 6)


def test_a_seed_says_all(training):
    one, two, other = training.run(0), training.run(0), training.run(1)
    assert np.array_equal(one.losses, two.losses)
    assert one.scores == two.scores
    assert not np.array_equal(one.losses, other.losses)


@pytest.mark.skipif(
    not hasattr(torch, "accelerator") or torch.accelerator.is_available(), reason="there may be devices to seed"
)
def test_seeding_keeps_nothing_for_devices_that_are_not_there(training):
    before = len(torch.cuda._queued_calls)
    training.run(0)
    assert len(torch.cuda._queued_calls) == before


def test_scoring_and_watching_change_nothing(training):
    seen = []

    class Watching:
        def close(self):
            seen.append("closed")

    plain = training.run(0, scored=0)
    watched = training.run(0, scored=20, watcher=lambda *made: seen.append(made) or Watching())
    assert np.array_equal(plain.losses, watched.losses)
    assert seen[0][0] is watched.model
    assert seen[-1] == "closed"


def test_it_leaves_random_numbers_of_a_sample_alone(training):
    def drawn():
        return float(torch.rand(1)), random.random(), np.random.random()  # noqa: NPY002  # users' functions draw so

    def seeded():
        torch.manual_seed(3), random.seed(3), np.random.seed(3)  # noqa: NPY002

    seeded()
    before = drawn()
    seeded()
    training.sample()
    with random_numbers_kept():
        drawn()
    assert drawn() == before


def test_steps_are_the_callers_the_trainings_or_the_default(training):
    assert len(training.run(0, 3).losses) == 3
    assert len(training.run(0).losses) == 20
    assert len(changed(training, steps=None).run(0, scored=0).losses) == DEFAULT_STEPS


def test_scores_are_taken_on_the_way_and_without_a_score_by_the_loss(training):
    trial = training.run(0, 20, scored=4)
    assert sorted(trial.scores) == [5, 10, 15, 20]
    assert trial.score == trial.scores[20]
    assert trial.start < 0
    scored = changed(training, score=lambda _: 7).run(0, 4)
    assert (scored.start, scored.score) == (7.0, 7.0)


def test_a_lost_training_ends_early_and_has_the_score_of_its_start(training):
    lost = changed(training, optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=1e38), steps=200).run(0)
    assert lost.diverged is not None
    assert len(lost.losses) <= lost.diverged + LOST_AFTER + 1 < 200
    assert lost.score == lost.start


def test_a_loader_a_list_and_a_function_of_either_will_do(training):
    data = torch.utils.data.TensorDataset(*(torch.cat(each) for each in zip(*training.batches, strict=True)))
    loader = torch.utils.data.DataLoader(data, 8, shuffle=True)
    for batches in (loader, lambda: loader, lambda: iter(list(loader))):
        trials = [changed(training, batches=batches).run(seed) for seed in (0, 0, 1)]
        assert np.array_equal(trials[0].losses, trials[1].losses)
        assert not np.array_equal(trials[0].losses, trials[2].losses)


def test_clipping_scheduling_autocast_and_scaling_are_done(training):
    seen = []

    def schedule(optimizer):
        seen.append(torch.optim.lr_scheduler.ConstantLR(optimizer, 0.5, 10))
        return seen[-1]

    trial = changed(
        training, clip_grad_norm=1e-9, scheduler=schedule, autocast=torch.bfloat16, loss_scaling=False, steps=5
    ).run(0)
    assert seen[0].last_epoch == 5
    before = dict(patients.made(training).named_parameters())
    moved = max(float((p - before[name]).detach().abs().max()) for name, p in trial.model.named_parameters())
    assert 0 < moved < 0.02  # what is left is weight decay
    assert changed(training, optimizer=lambda m: torch.optim.LBFGS(m.parameters()), steps=2).run(0).diverged is None


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"model": patients.mlp()}, "model is a Sequential: give a function that makes a fresh model"),
        ({"loss": 3}, "loss is a int: give a function of the model and a batch"),
        ({"optimizer": patients.sgd(patients.mlp())}, "optimizer is a SGD: give a function that makes one"),
        ({"score": 0.5}, "score is a float: give a function, or leave it out"),
        ({"batches": iter([1])}, "which can be read only once"),
        ({"batches": 3}, "batches is a int: give a list of batches or a DataLoader"),
    ],
)
def test_what_can_never_work_is_said_when_it_is_made(training, fields, sentence):
    with pytest.raises(TypeError, match=sentence):
        changed(training, **fields)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"model": lambda: None}, "model\\(\\) returned None: return the module"),
        ({"optimizer": lambda _: 3}, "optimizer\\(model\\) returned a int: return the optimizer"),
        ({"loss": lambda _model, _batch: 3.0}, "loss\\(model, batch\\) returned a float: return the loss"),
        ({"loss": lambda model, batch: model(batch[0])}, "a tensor of shape \\(8, 3\\): reduce it"),
        ({"score": lambda _: "good"}, "score\\(model\\) returned a str: return one number"),
        ({"batches": []}, "batches holds no batch"),
    ],
)
def test_what_fails_when_it_is_run_is_said_in_one_sentence(training, fields, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        changed(training, **fields).run(0)


def test_a_score_that_is_no_number_is_kept_as_such(training):
    assert math.isnan(changed(training, score=lambda _: math.nan).run(0, 2).score)


def test_a_batch_that_is_no_tuple_will_do():
    made = Training(
        lambda: nn.Linear(2, 1), [{"x": torch.ones(4, 2)}], lambda model, batch: model(batch["x"]).square().mean(),
        patients.sgd,
    )  # fmt: skip
    assert made.run(0, 5).losses[-1] < made.run(0, 5).losses[0]
