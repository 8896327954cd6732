"""Backward passes are counted, and steps known by them."""

import numpy as np
import pytest

from undertow.watching import pass_placement
from watching.loops import Left, sgd
from watching.training import Attach, Watched, loss_of, net


@pytest.mark.parametrize("short", [True, False])
@pytest.mark.parametrize("micro", [1, 3])
def test_passes_are_counted_and_what_is_logged_has_its_step(
    micro: int, short: bool, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hooks, and where steps are short by the optimizer's steps; logged before the step or behind it."""
    monkeypatch.setattr(pass_placement, "COUNTING_FROM", float("inf") if short else float("-inf"))

    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = sgd(model)
        watcher = attach(model, optimizer)
        for step in range(40):
            optimizer.zero_grad()
            for _ in range(micro):
                loss_of(model).backward()
            if step % 3 == 0:
                watcher.log(before=float(step))
            optimizer.step()
            if step % 3 == 1:
                watcher.log(behind=float(step))
        return model, []

    _, run = watched(loop, every=7)
    steps = run.scalars["step"]
    noted = ~np.isnan(run.scalars["backwards"])
    np.testing.assert_array_equal(run.scalars["backwards"][noted], micro * (steps[noted] + 1))
    for name, at in (("before", range(0, 40, 3)), ("behind", range(1, 40, 3))):
        known = ~np.isnan(run.scalars[name])
        assert steps[known].tolist() == run.scalars[name][known].tolist() == list(at)
