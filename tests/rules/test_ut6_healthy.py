"""UT601 and UT602: for each an example that fires, and a healthy one that looks like it and doesn't."""

import numpy as np
import pytest

from rules.networks import batch_normed, he_relu, least_squares
from undertow.record import Run
from undertow.rules import over_time
from undertow.testing import check_rule

CASES = {
    "UT601": (lambda: least_squares(True), lambda: least_squares(False)),
    "UT602": (batch_normed, he_relu),
}


@pytest.mark.parametrize("code", CASES)
def test_keeps_the_contract_of_rules(code):
    check_rule(code, *CASES[code])


def test_converged_is_told_from_born_vanished_and_from_collapsed(found):
    converged, from_start, collapsed = found("by heart"), found("vanishing, one batch"), found("dying")
    assert "UT601" in converged
    assert not {"UT101", "UT104", "UT108"} & set(converged)
    assert "UT101" in from_start
    assert not {"UT601", "UT108"} & set(from_start)
    assert "UT108" in collapsed
    assert not {"UT601"} & set(collapsed)


def test_a_converged_run_stood_still_since_then(recorded, found):
    run, settled = recorded("by heart")[0], found("by heart")["UT601"]
    loss, steps = run.scalars["loss"], run.scalars["step"]
    since = loss[steps >= settled.began]
    assert settled.evidence["end"] == pytest.approx(np.median(loss[-25:]))
    assert np.ptp(since) < 0.05 * (loss[0] - loss[-1])
    assert loss[steps < settled.began].max() > 10 * since.max()


def test_a_loss_that_stands_still_as_the_learning_rate_is_gone_has_not_converged():
    steps = np.arange(400.0)
    losses = 2 - 0.8 * np.minimum(steps, 100) / 100 + 1e-4 * np.sin(steps)
    gone = Run({}, (), scalars={"step": steps, "loss": losses, "lr": np.where(steps < 100, 0.1, 0.0)})
    there = Run({}, (), scalars={"step": steps, "loss": losses, "lr": np.full(400, 0.1)})
    assert "UT601" not in {found.code for found in over_time(gone)}
    assert "UT601" in {found.code for found in over_time(there)}
