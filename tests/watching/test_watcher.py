"""The watcher's log: numbers of the user's own."""

import numpy as np
import pytest
import torch

import undertow
from watching.loops import Left, sgd
from watching.training import Attach, Watched, loss_of, net


def test_what_the_user_logs(watched: Watched) -> None:
    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = sgd(model)
        watcher = attach(model, optimizer)
        for step in range(30):
            optimizer.zero_grad()
            loss = loss_of(model)
            loss.backward()
            optimizer.step()
            watcher.log(loss=loss.detach() * 2)
            if step % 10 == 9:
                watcher.log(accuracy=step / 100)
        with pytest.raises(ValueError, match="log one number"):
            watcher.log(loss=torch.ones(3))
        return model, []

    _, run = watched(loop, every=7, overhead=0.5)
    steps = run.scalars["step"].tolist()
    assert len(set(steps)) == len(steps)
    accuracy = {step: v for step, v in zip(steps, run.scalars["accuracy"], strict=True) if not np.isnan(v)}
    assert accuracy == {9: 0.09, 19: 0.19, 29: 0.29}


def test_a_loss_that_is_changed_in_place_after_its_backward_pass_is_recorded_as_it_was(tmp_path):
    """fastai divides a loss for accumulation, and multiplies it again to log it."""
    model = net(depth=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    losses = []
    with undertow.watch(model, optimizer, tmp_path / "first.undertow", every=1):
        for _ in range(3):
            loss = loss_of(model)
            losses.append(loss.item())
            loss.backward()
            with torch.no_grad():
                loss *= 100
            optimizer.step()
    assert undertow.open_run(tmp_path / "first.undertow").scalars["loss"].tolist() == losses
