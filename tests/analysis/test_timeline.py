"""Numbers over time: what was recorded when, learning rates as shares, where a loss came from and got to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.analysis.timeline import FEWEST_NOTES, RunHistory, Series, summarise_loss
from undertow.record import Role, Run, Site

SITES = (Site(0, "fc2", "addmm", Role.WEIGHT), Site(1, "fc1", "addmm", Role.WEIGHT))


def test_a_step_is_finite_if_all_that_was_measured_is():
    gradient = np.array([[1.0, 1.0], [np.inf, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    counted = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, np.nan], [0.0, np.nan], [0.0, 0.0]])
    loss = np.array([1.0, 1.0, 1.0, np.nan, np.inf])
    run = Run({}, SITES, (), {"grad_output": gradient, "nonfinite": counted}, steps={"loss": loss})
    assert RunHistory(run).finite.tolist() == [True, False, False, True, False]


def test_a_column_is_measured_where_any_site_has_it():
    progress = np.array([[np.nan, np.nan], [np.nan, 0.1], [0.0, 0.0]])
    history = RunHistory(Run({}, SITES, (), {"progress": progress}, steps={"step": np.arange(3.0)}))
    assert history.measured("progress").tolist() == [False, True, True]
    assert history.measured("update_ratio").tolist() == [False] * 3


def test_learning_rates_are_those_of_the_row_and_shares_of_the_highest_of_each_group():
    lr = np.array([[0.1, 1.0], [0.2, 1.0], [0.2, 0.25]])
    run = Run(
        {}, SITES, (), {"grad_output": np.ones((3, 2))}, steps={"step": np.array([0.0, 5.0, 10.0])},
        parameters=("a", "b"), parameter_columns={"lr": lr}, parameter_steps=np.array([0.0, 5.0, 10.0]),
    )  # fmt: skip
    history = RunHistory(run)
    assert history.lr_share.tolist() == [0.5, 1.0, 0.25]
    assert history.learning_rates(2, {"a"}).tolist() == [0.2]
    assert history.learning_rates(0, {"b", "a"}).tolist() == [0.1, 1.0]


def test_scalars_come_in_the_order_of_steps_without_those_nobody_noted():
    scalars = {"step": np.array([3.0, 1.0, 2.0]), "loss": np.array([0.3, 0.1, np.nan])}
    assert [each.tolist() for each in RunHistory(Run({}, (), scalars=scalars)).scalar("loss")] == [[1, 3], [0.1, 0.3]]


def test_too_few_losses_have_no_summary():
    steps = np.arange(FEWEST_NOTES - 1.0)
    assert summarise_loss(Series(steps, np.ones_like(steps))) is None


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), rate=st.floats(0.02, 0.2), scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_a_loss_that_fell_and_stands_still_is_settled_whatever_its_scale(seed, rate, scale):
    steps = np.arange(400.0)
    noise = 0.001 * np.random.default_rng(seed).standard_normal(400)
    found = summarise_loss(Series(steps, scale * (0.1 + 2 * np.exp(-rate * steps) + noise)))
    assert found.fell
    assert found.settled is not None
    assert 2 * np.exp(-rate * found.settled) < 0.2
    assert found.end / scale == pytest.approx(0.1, abs=0.01)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000))
def test_a_loss_that_still_falls_is_not_settled(seed):
    steps = np.arange(400.0)
    noise = 0.001 * np.random.default_rng(seed).standard_normal(400)
    assert summarise_loss(Series(steps, 2 - steps / 400 + noise)).settled is None
