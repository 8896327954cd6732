"""Optimizers that aren't torch's: the loop tells before and after their steps."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import undertow
from undertow.rules import over_time
from watching.loops import sgd
from watching.training import hooks_left, loss_of, net


def by_hand(path: Path | None, every: int, named: bool) -> nn.Sequential:
    torch.manual_seed(0)
    model = net()
    watcher = undertow.watch(model, None, path, every=every, overhead=1.0) if path else None
    for _ in range(8):
        model.zero_grad()
        loss_of(model).backward()
        if watcher is not None:
            watcher.before_step(model.parameters() if named else None, lr=0.1)
        with torch.no_grad():
            for p in model.parameters():
                p.sub_(p.grad, alpha=0.1)
        if watcher is not None:
            watcher.after_step()
    if watcher is not None:
        assert watcher.step == 8
        watcher.close()
        assert hooks_left(model, [watcher._hooks.target.optimizers[0]]) == []
    return model


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("named", [True, False])
def test_steps_by_hand_are_recorded_as_torchs_are(named: bool, every: int, tmp_path: Path) -> None:
    ours, plain = by_hand(tmp_path / "ours.undertow", every, named), by_hand(None, every, named)
    torch.manual_seed(0)
    model = net()
    optimizer = sgd(model)
    with undertow.watch(model, optimizer, tmp_path / "theirs.undertow", every=every, overhead=1.0):
        for _ in range(8):
            optimizer.zero_grad()
            loss_of(model).backward()
            optimizer.step()
    for a, b, c in zip(ours.parameters(), plain.parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
    mine, theirs = (undertow.open_run(tmp_path / f"{name}.undertow") for name in ("ours", "theirs"))
    taped = np.isin(theirs.scalars["step"], theirs.steps["step"])
    for name in ("loss", "grad_norm", "lr"):
        known = dict(zip(mine.scalars["step"], mine.scalars[name], strict=True))
        expected = zip(theirs.scalars["step"][taped], theirs.scalars[name][taped], strict=True)
        assert all(known[step] == v for step, v in expected)
    for name in ("grad_norm", "update_norm", "weight_norm", "lr"):
        np.testing.assert_array_equal(mine.parameter_columns[name], theirs.parameter_columns[name])
    assert {f.code for f in over_time(mine)} == {f.code for f in over_time(theirs)}


def test_other_parameters_are_stepped_from_some_step_on(tmp_path: Path) -> None:
    """As many as before, and others: a loop that trains a head first."""
    model = net(depth=1)
    with undertow.watch(model, None, tmp_path / "first.undertow", every=1) as watcher:
        for step in range(6):
            model.zero_grad()
            loss_of(model).backward()
            part = model[0] if step < 3 else model[2]
            watcher.before_step(part.parameters(), lr=0.1)
            with torch.no_grad():
                for p in part.parameters():
                    p.sub_(p.grad, alpha=0.1)
            watcher.after_step()
    run = undertow.open_run(watcher.path)
    moved = np.nan_to_num(run.parameter_columns["update_norm"]) > 0
    places = [run.parameters.index(name) for name in ("0.weight", "2.weight")]
    assert moved[:, places].tolist() == [[True, False]] * 3 + [[False, True]] * 3


def test_torchs_optimizers_tell_by_themselves(tmp_path: Path) -> None:
    model = net()
    with undertow.watch(model, sgd(model), tmp_path / "first.undertow") as watcher:
        for call in (watcher.before_step, watcher.after_step):
            with pytest.raises(ValueError, match="SGD is watched, and tells of its steps by itself"):
                call()
    for p in model.parameters():
        p.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing to train"):
        undertow.watch(model, None, tmp_path / "second.undertow")
