"""Nothing ends, pauses or loses a recording in silence, and one bad value or step costs itself only."""

import gc
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import undertow
from watching.loops import Left, sgd
from watching.training import Attach, Watched, assert_same, events, loss_of, net, no_watcher, steps, trained


class Breaking(torch.autograd.Function):
    """Raises in the backward pass, when told to."""

    now = False

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(_: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        if Breaking.now:
            raise RuntimeError("out of memory, say")
        return g


class Fragile(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.front, self.back = nn.Linear(8, 8), net()

    def forward(self, x: Tensor) -> Tensor:
        return self.back(Breaking.apply(torch.tanh(self.front(x))))


def caught(attach: Attach, again: bool = True) -> Left:
    """Catch the error of every third backward pass; try the same batch again, or go on with the next."""
    model = Fragile()
    optimizer = sgd(model)
    attach(model, optimizer)
    losses = []
    for step in range(12):
        for attempt in range(2):
            Breaking.now = step % 3 == 1 and attempt == 0
            optimizer.zero_grad()
            loss = loss_of(model)
            try:
                loss.backward()
            except RuntimeError:
                if again:
                    continue
                break
            optimizer.step()
            losses.append(loss.item())
            break
    Breaking.now = False
    return model, losses


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("again", [True, False])
def test_an_error_in_a_backward_pass_costs_that_pass_only(again: bool, every: int, watched: Watched) -> None:
    left, run = watched(lambda attach: caught(attach, again), every=every, overhead=1.0)
    assert_same(left, trained(lambda attach: caught(attach, again), no_watcher))
    at = run.scalars["step"].astype(int)
    np.testing.assert_allclose(run.scalars["loss"], np.array(left["losses"])[at], rtol=1e-5)
    assert at.tolist() == list(range(len(left["losses"])))
    taped = run.steps["step"].astype(int)
    assert taped.tolist() == list(range(0, len(left["losses"]), every))
    np.testing.assert_allclose(run.steps["loss"], np.array(left["losses"])[taped], rtol=1e-5)
    assert np.isfinite(run.column("grad_output", len(run) - 1)).all()
    assert not events(run, "trouble")


def test_a_bad_value_is_told_once_and_costs_itself_only(watched: Watched) -> None:
    given = {"text": "much", "none": None, "many": [1, 2], "complex": 1j, "sparse": torch.ones(1).to_sparse()}

    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = sgd(model)
        watcher = attach(model, optimizer)
        for number in range(6):
            steps(model, optimizer, 1)
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                watcher.log(good=number, tensor=torch.tensor([number]), array=np.float32(number), step=99, **given)
            names = [str(each.message).split()[1] for each in told]
            assert sorted(names) == (sorted([*given, "step"]) if number == 0 else [])
            with pytest.raises(ValueError, match="log one number"):
                watcher.log(wide=torch.ones(3), also=number)
        return model, []

    _, run = watched(loop, every=1)
    assert run.scalars["step"].tolist() == list(range(6))
    for name in ("good", "tensor", "array", "also"):
        assert run.scalars[name].tolist() == list(range(6))
    assert not set(given) & set(run.scalars)


@pytest.mark.parametrize("logs", [True, False])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_an_optimizer_that_was_replaced_is_told_of_once(
    kind: type[torch.optim.Optimizer], logs: bool, tmp_path: Path
) -> None:
    model = net()
    optimizer = kind(model.parameters(), lr=0.01)
    watcher = undertow.watch(model, optimizer, tmp_path / "first.undertow", every=5)
    steps(model, optimizer, 20)
    other = kind(model.parameters(), lr=0.01)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(60):
            steps(model, other, 1)
            if logs:
                watcher.log(loss=1.0)
        assert len(told) == logs
        watcher.close()
    assert [str(each.message)[:40] for each in told] == ["undertow records no step after 19: the w"]
    (event,) = events(undertow.open_run(watcher.path), "trouble")
    assert "resume=True" in event.message


def test_an_optimizer_that_is_gone_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody keeps the watcher, so nothing of ours keeps the optimizer that was replaced."""
    model = net()
    optimizer = sgd(model)
    path = undertow.watch(model, optimizer, tmp_path / "first.undertow", every=1).path
    steps(model, optimizer, 5)
    optimizer = sgd(model)
    gc.collect()
    steps(model, optimizer, 5)
    assert "recorded no further than step 4" in caplog.text
    run = undertow.open_run(path)
    assert run.scalars["step"].tolist() == list(range(5))
    assert len(events(run, "ended")) == 1


@pytest.mark.parametrize("fails", [True, False])
def test_what_was_told_or_closed_is_not_told_again_when_the_optimizer_goes(
    fails: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = net()
    optimizer = sgd(model)
    watcher = undertow.watch(model, optimizer, tmp_path / "first.undertow", every=1)
    steps(model, optimizer, 3)
    if fails:
        with pytest.warns(RuntimeWarning, match="stopped watching"):
            watcher._hooks.fail(ZeroDivisionError("ours"))
    else:
        watcher.close()
    del watcher, optimizer
    gc.collect()
    assert "recorded no further" not in caplog.text


def test_weights_that_somebody_clamps_or_averages_are_not_another_optimizers(tmp_path: Path) -> None:
    model = net()
    optimizer = sgd(model)
    with undertow.watch(model, optimizer, tmp_path / "first.undertow", every=5) as watcher:
        for _ in range(40):
            steps(model, optimizer, 1)
            with torch.no_grad():
                for p in model.parameters():
                    p.clamp_(-1, 1)
                    p.mul_(0.999)
            watcher.log(loss=1.0)
    assert not events(undertow.open_run(watcher.path), "trouble")


@pytest.mark.parametrize("when", ["while it trains", "before it is closed"])
def test_a_file_that_is_damaged_is_told_of(when: str, tmp_path: Path) -> None:
    model = net()
    optimizer = sgd(model)
    watcher = undertow.watch(model, optimizer, tmp_path / "first.undertow", every=1)
    steps(model, optimizer, 20)
    assert watcher.flush()
    if when == "before it is closed":
        steps(model, optimizer, 20)
        assert watcher.flush()
    with open(watcher.path, "r+b") as file:
        size = os.path.getsize(watcher.path)
        for place in range(4096, size - 4096, 4096):
            file.seek(place)
            file.write(b"\xff" * 4096)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if when == "while it trains":
            steps(model, optimizer, 20)
        watcher.close()
    assert told
    assert watcher.troubled


@pytest.mark.parametrize("layout", ["coo", "coo alone"])
def test_sparse_gradients_are_looked_at_like_others(layout: str, watched: Watched) -> None:
    """Small enough to be kept until the next observed step; in the end one isn't finite."""

    def loop(attach: Attach) -> Left:
        table = nn.EmbeddingBag(20, 3, sparse=True)
        model = table if layout == "coo alone" else nn.Sequential(table, nn.Linear(3, 3))
        optimizer = sgd(model)
        attach(model, optimizer)
        for step in range(40):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(torch.randint(20, (16, 4))), torch.randint(3, (16,)))
            (loss * (float("nan") if step == 35 else 1.0)).backward()
            optimizer.step()
        return model, []

    for every in (1, 7):
        _, run = watched(loop, every=every, overhead=1.0)
        (event,) = events(run, "nonfinite")
        assert event.data["step"] == 35
        assert not events(run, "trouble")
