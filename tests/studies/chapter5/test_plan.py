"""What all experiments found, put together."""

import numpy as np

from undertow.studies.chapter5.training import CONTROLS


def test_the_results_have_the_promised_shapes(results):
    for h in (1, 2, 3, 4):
        accuracy, speed = results["accuracy"][str(h)], results["training_speed"][str(h)]
        assert np.shape(accuracy["validation"]) == np.shape(accuracy["test"]) == (2, 3)
        assert len(set(accuracy["initial_sha256"])) == len(set(accuracy["final_sha256"])) == 2
        assert accuracy["book"] is None, "the text's figures are for MNIST"
        assert np.shape(results["initial_speed"][str(h)]["speed"]) == (256, h)
        for key in ("speed", "speed_without_decay", "per_example_speed_without_decay"):
            assert np.shape(speed[key]) == (2, 50, h)
        assert np.shape(results["reset"][str(h)]["accuracy_lost"]) == (2, h + 1)
    assert len(results["initial_bars"]["1"]) == len(results["initial_bars"]["2"]) == 6
    assert [claim["id"] for claim in results["claims"]] == list(range(1, 14))
    assert set(results["controls"]) == set(CONTROLS)


def test_shares_of_progress_sum_to_one(results):
    for found in results["share_of_progress"].values():
        np.testing.assert_allclose(np.sum(found["share"], -1), 1, rtol=1e-5)
