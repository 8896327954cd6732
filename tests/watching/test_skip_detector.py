"""Steps that a loss scaler left out."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from watching import loops
from watching.loops import Left
from watching.training import Attach, Watched, events, loss_of, net


@pytest.mark.parametrize("loop", [loops.scaler, loops.scaler_fused, loops.scaler_fused_not_told])
def test_skipped_steps_are_counted_and_said(loop: Callable[[Attach], Left], watched: Watched) -> None:
    """Steps 2 and 5 overflow; the optimizer's hook doesn't even hear of them, unless it is a fused one."""
    for every in (1, 100) if loop is loops.scaler else (1,):
        _, run = watched(loop, every=every, overhead=1.0)
        skipped = run.scalars["step"][np.nan_to_num(run.scalars["skipped"]) == 1]
        assert skipped.tolist() == [2, 5]
        assert run.scalars["nonfinite"][np.isin(run.scalars["step"], skipped)].tolist() == [1, 1]
        assert run.header["loss_scale"] == "known"
        assert run.scalars["backwards"].max() <= 7
        first = events(run, "nonfinite")[0]
        assert (first.step, first.data["skipped"], first.data["scale"]) == (2, True, 1024)
        if every == 1:
            assert run.steps["step"].tolist() == ([0, 1, 2, 4, 5] if loop is loops.scaler else list(range(7)))
            assert not np.isfinite(run.column("grad_output", run.steps["step"].tolist().index(2))).all()


def test_a_fused_optimizer_that_skips_between_two_notes(watched: Watched) -> None:
    """The host hears nothing of it; the scale falls, and what the gradient was tells when."""

    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        watcher = attach(model, optimizer, scaler=scaler)
        while watcher.step < 61 or watcher._hooks.observations.last <= 61:
            step = watcher.step
            optimizer.zero_grad()
            scaler.scale(loss_of(model) * (float("inf") if step == 61 else 1.0)).backward()
            scaler.step(optimizer)
            scaler.update()
        return model, []

    _, run = watched(loop, every=100_000, overhead=0.1)
    skipped = run.scalars["step"][np.nan_to_num(run.scalars["skipped"]) == 1]
    assert skipped.tolist() == [61]


@pytest.mark.parametrize("loop", [loops.scaler, loops.scaler_fused])
def test_what_a_scaler_skipped_last_is_told_in_the_end(
    loop: Callable[[Attach], Left], watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "STEPS", 6)  # the sixth is skipped, and no pass comes after it
    _, run = watched(loop, every=3)
    skipped = run.scalars["step"][np.nan_to_num(run.scalars["skipped"]) == 1]
    assert skipped.tolist() == [2, 5]
    assert all(event.data["skipped"] for event in events(run, "nonfinite"))
