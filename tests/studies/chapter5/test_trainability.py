"""Deep networks trained for the map: over the grid, each in its place."""

import numpy as np

from undertow.lab import digits
from undertow.studies.chapter5 import trainability
from undertow.studies.chapter5.config import Grid
from undertow.studies.chapter5.explorer import expected


def test_members_keep_their_places_in_the_grid():
    """A setting's networks differ from each other, and from the next setting's by their scale alone."""
    grid = Grid((0.5, 2.0), (0.1, 0.4), members=2)
    nets = trainability.ensemble(digits(), "tanh", grid, seed=3)
    single = trainability.ensemble(digits(), "tanh", Grid((1.0,), (1.0,), members=8), seed=3)
    w, plain = (n.layers[2].w.numpy() for n in (nets, single))
    b, plain_b = (n.layers[2].b.numpy() for n in (nets, single))
    np.testing.assert_allclose(w, plain * np.sqrt([0.5, 0.5, 2.0, 2.0] * 2)[:, None, None], rtol=1e-6)
    np.testing.assert_allclose(b, plain_b * np.sqrt([0.1] * 4 + [0.4] * 4)[:, None, None], rtol=1e-6)


def test_on_the_edge_deep_networks_learn_and_far_from_it_they_do_not():
    grid = Grid((0.1, 1.0, 100.0), (0.0,), etas=(0.1,), members=2, images=600, epochs=8)
    data = digits()
    nets = trainability.ensemble(data, "tanh", grid, seed=0)
    nets.train((data.train.x[:600], data.train.y[:600]), 8, 10, 0.1)
    ordered, edge, chaotic = nets.accuracy(data.validation.x, data.validation.y).numpy().reshape(3, 2).mean(-1)
    assert edge > 0.6
    assert max(ordered, chaotic) < 0.4
    assert expected({"weight_var": [0.1, 1.0, 100.0], "bias_var": [0.0], "depth": 10}, "tanh").tolist() == [
        [False, True, False]
    ]
