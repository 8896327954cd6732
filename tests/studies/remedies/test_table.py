"""Numbers read off the table of results."""

import copy

import numpy as np

from undertow.studies.remedies.config import ACTIVATIONS, STARTS
from undertow.studies.remedies.table import deepest, gradient_decades


def test_the_deepest_that_trains_asks_for_all_shallower_ones(results):
    results = copy.deepcopy(results)
    results["factors"]["depth"] = [1, 5, 20]
    accuracy = np.zeros((3, 5, 3))
    accuracy[[0, 2]] = 1.0
    for by_architecture in results["accuracy"].values():
        for by_optimizer in by_architecture.values():
            by_optimizer["Adam"] = by_optimizer["momentum"] = accuracy.tolist()
    assert (deepest(results) == 1).all()


def test_decades_of_the_gradient_are_theorys_for_plain_networks(results):
    """Sixteen units a layer scatter; the median over starts and depths still tells which factor it is."""
    depths = np.array(results["factors"]["depth"][1:])
    assert np.isnan(gradient_decades(results)[:, :, 0]).all(), "one layer has no other to be compared with"
    measured = gradient_decades(results)[:, 0, 1:]
    gains = np.array([[results["expected_gain"][a][s] for s in STARTS] for a in ACTIVATIONS])
    foreseen = np.log10(gains)[:, None, :] * (depths - 1)[None, :, None]
    assert np.corrcoef(measured.ravel(), foreseen.ravel())[0, 1] > 0.95
