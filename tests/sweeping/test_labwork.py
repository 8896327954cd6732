"""Cells of the lab's networks."""

import pytest
import torch

from undertow.lab import Ensemble, Initializer, digits
from undertow.sweeping import sweep

LAB = {"data": "digits", "images": 200, "evaluated": 100, "activation": "tanh", "cost": "log-likelihood", "epochs": 2}


def test_a_cell_is_the_network_that_an_ensemble_trains(store):
    settings = {**LAB, "depth": 2, "width": 20, "weight_var": 1.5, "bias_var": 0.3, "eta": 0.05, "lmbda": 1.0,
                "optimizer": "momentum", "mu": 0.5, "clip": 5.0, "batch_size": 20, "dtype": "float64"}  # fmt: skip
    rows = sweep({"seeds": [3, 5], "cell": settings}, store, processes=0).rows()
    data = digits()
    train = data.train.x[:200], data.train.y[:200]
    judged = data.validation.x[:100], data.validation.y[:100]
    for row, number in zip(rows, (3, 5), strict=True):
        start = Initializer("default", scale=1.5**0.5, bias_scale=0.3**0.5)
        given = {"activation": "tanh", "cost": "log-likelihood", "initializer": start, "dtype": torch.float64}
        nets = Ensemble([64, 20, 20, 10], seed=0, first_member=number, **given)
        from undertow.lab import Momentum

        nets.train(train, 2, 20, 0.05, 1.0, optimizer=Momentum(0.5), clip=5.0)
        assert row["loss"] == pytest.approx(nets.loss(*train).item(), rel=1e-12)
        assert row["accuracy"] == nets.accuracy(*judged).item()
        assert row["train_accuracy"] == nets.accuracy(*train).item()
        assert row["seed"] == number


def test_a_member_that_diverges_is_told_from_the_others(store):
    cell = {**LAB, "activation": "relu", "depth": 4, "eta": 0.01}
    rows = sweep({"cell": cell, "grid": {"weight_var": [1.0, 1e6]}}, store, processes=0).rows()
    assert [row["diverged"] for row in rows] == [False, True]
    assert rows[0]["loss"] > 0
    assert rows[1]["loss"] is None
    assert "diverged_at" in rows[1]


def test_the_curve_is_kept_where_it_is_asked_for(store):
    [row] = sweep({"cell": {**LAB, "curve": True, "epochs": 3}}, store, processes=0).rows()
    assert len(row["curve"]) == 3
    assert row["curve"][-1] == row["accuracy"]
