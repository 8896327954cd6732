"""What the paper claims, measured on scikit-learn's digits."""

import numpy as np
import pytest

from undertow.studies.trainability.claims import NOWHERE, factors, sides
from undertow.theory import meanfield


@pytest.mark.parametrize("name", ["tanh", "relu", "sigmoid"])
def test_networks_train_within_the_depth_scale_and_not_beyond(maps, name):
    within, beyond = sides(
        {k: np.array(v, dtype=float) for k, v in maps[name].items() if k in ("train_accuracy", "depth", "expected")}
    )
    assert within >= 0.5
    assert beyond <= 0.1


def test_the_deepest_tanh_networks_that_train_are_critical(maps):
    tanh = maps["tanh"]
    best = tanh["weight_var"][int(np.argmax(tanh["deepest"]))]
    assert best == pytest.approx(tanh["critical"], rel=0.01)
    assert meanfield.phase("tanh", tanh["critical"], 0.05, tolerance=0.01) == "critical"


def test_the_factor_is_near_six(maps):
    found = np.concatenate([factors(field) for field in maps.values()])
    assert found.size >= 2
    assert 3 < np.median(found) < 9


def test_too_deep_in_the_ordered_phase_nothing_is_learned(maps):
    losses = [
        loss
        for field in maps.values()
        for depth, row in zip(field["depth"], field["loss"], strict=True)
        for variance, reach, loss in zip(field["weight_var"], field["expected"], np.mean(row, -1), strict=True)
        if variance < field["critical"] and reach and depth > 2 * reach
    ]
    assert len(losses) >= 4
    assert losses == pytest.approx([NOWHERE] * len(losses), abs=0.05)


def test_the_sigmoid_needs_large_weights_to_be_deep(maps):
    sigmoid = maps["sigmoid"]
    assert sigmoid["deepest"][0] <= 1 < 8 <= sigmoid["deepest"][-1]
