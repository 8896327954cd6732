"""A training that goes on does so at its checkpoint's step, and what was recorded behind that is put aside."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import undertow
from undertow.rules import over_time
from undertow.store import RunReader
from watching.training import events, loss_of, net, steps

KINDS = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)


def checkpoint(model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
    return copy.deepcopy((model.state_dict(), optimizer.state_dict()))


@pytest.mark.parametrize("every", [1, 7, 100_000])
@pytest.mark.parametrize("kind", KINDS)
def test_a_training_goes_on_where_it_ended(kind: Any, every: int, tmp_path: Path) -> None:
    """At 100, whatever step was the last that somebody looked at; and passes are counted on."""
    model = net()
    optimizer = kind(model.parameters(), lr=0.01)
    with undertow.watch(model, optimizer, tmp_path / "first.undertow", every=every) as watcher:
        watcher._hooks.governor.overhead = 1e-9 if every > 1 else 0.01
        steps(model, optimizer, 100)
    saved = checkpoint(model, optimizer)
    model = net()
    optimizer = kind(model.parameters(), lr=0.01)
    model.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    with undertow.watch(model, optimizer, watcher.path, every=every, resume=True) as again:
        assert again.step == 100
        steps(model, optimizer, 5)
        assert again.step == 105
    run = undertow.open_run(watcher.path)
    noted = run.scalars["step"]
    assert (np.diff(noted) > 0).all()
    counted = ~np.isnan(run.scalars["backwards"])
    np.testing.assert_array_equal(run.scalars["backwards"][counted], noted[counted] + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["first.undertow"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_goes_back_to_its_checkpoint(kind: Any, tmp_path: Path) -> None:
    """Step 60 of 150: no step is there twice, nothing is drawn back, and what was cut off is kept beside it."""
    path = tmp_path / "first.undertow"
    model = net()
    optimizer = kind(model.parameters(), lr=0.01)
    with undertow.watch(model, optimizer, path, every=1):
        steps(model, optimizer, 60)
        saved = checkpoint(model, optimizer)
        steps(model, optimizer, 90)
    before = undertow.open_run(path)
    model.load_state_dict(saved[0])
    optimizer = kind(model.parameters(), lr=0.01)
    optimizer.load_state_dict(saved[1])
    given = {"step": 60} if kind is torch.optim.SGD else {}
    with RunReader(path) as reader:
        position = reader.refresh()
        with undertow.watch(model, optimizer, path, every=1, resume=True, **given) as again:
            assert (again.step, Path(again.path)) == (60, path)
            steps(model, optimizer, 30)
        grown = reader.tail(position)  # what follows a file finds another, and reads it from the beginning
        assert grown.scalars["step"].tolist() == list(range(90))
    run = undertow.open_run(path)
    for at in (run.scalars["step"], run.steps["step"], run.parameter_steps):
        assert at.tolist() == list(range(90))
    assert run.scalars["backwards"].tolist() == list(range(1, 91))
    assert len(run.sites) == len(before.sites)
    for name in ("loss", "grad_norm"):
        np.testing.assert_array_equal(run.scalars[name][:60], before.scalars[name][:60])
    np.testing.assert_array_equal(run.column("grad_output", 30), before.column("grad_output", 30))
    (event,) = events(run, "rewind")
    assert (event.step, event.data["to"], event.data["from"]) == (60, 60, 149)
    assert undertow.open_run(tmp_path / event.data["kept in"]) == before
    assert [each.data["session"] for each in events(run, "session")] == [1, 3]
    assert "UT405" not in {found.code for found in over_time(run)}


def test_steps_that_a_scaler_skipped_are_counted_though_the_optimizer_does_not(tmp_path: Path) -> None:
    path = tmp_path / "first.undertow"
    model = net()
    optimizer, scaler = torch.optim.Adam(model.parameters()), torch.amp.GradScaler("cpu", init_scale=1024.0)

    def train(first: int, last: int) -> None:
        for step in range(first, last):
            optimizer.zero_grad()
            loss = loss_of(model) * torch.tensor(float("inf") if step in (3, 7) else 1.0)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()

    with undertow.watch(model, optimizer, path, every=1, scaler=scaler):
        train(0, 10)
        saved = checkpoint(model, optimizer)
        train(10, 20)
    optimizer.load_state_dict(saved[1])
    with undertow.watch(model, optimizer, path, every=1, scaler=scaler, resume=True) as again:
        assert again.step == 10


def test_one_that_was_never_closed_goes_on_by_what_the_optimizer_counts(tmp_path: Path) -> None:
    """Killed at step 50; the checkpoint is of step 45, and the last that anybody looked at was 42."""
    path = tmp_path / "first.undertow"
    model = net()
    optimizer = torch.optim.Adam(model.parameters())
    with undertow.watch(model, optimizer, path, every=7) as watcher:
        watcher._hooks.governor.overhead = 1e-9
        steps(model, optimizer, 45)
        saved = checkpoint(model, optimizer)
        watcher._writer.flush()
        watcher._writer.update_header = lambda _: True  # type: ignore[method-assign]  # as if it was killed
    optimizer.load_state_dict(saved[1])
    with undertow.watch(model, optimizer, path, resume=True) as again:
        assert again.step == 45
