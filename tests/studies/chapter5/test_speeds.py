"""How fast layers learn, with and without decay, of the whole batch and of each example."""

import numpy as np


def test_before_the_first_step_decay_makes_no_difference(results):
    for h in (1, 2, 3, 4):
        speed = results["training_speed"][str(h)]
        first = [np.array(speed[key])[:, 0] for key in ("speed", "speed_without_decay")]
        np.testing.assert_array_equal(*first)


def test_the_length_of_an_average_is_below_the_average_length(results):
    for h in (1, 2, 3, 4):
        speed = results["training_speed"][str(h)]
        for kind in ("speed", "speed_without_decay"):
            assert (np.array(speed[kind]) <= np.array(speed[f"per_example_{kind}"]) * (1 + 1e-5)).all()
