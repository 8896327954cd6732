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


def test_copies_of_gradients_clipped_and_averaged_are_what_is_recorded(tmp_path: Path) -> None:
    """Two micro-batches, averaged and clipped beside ``.grad``: as torch's own, that clip and average in place."""
    torch.manual_seed(0)
    model, asked = net(depth=1), []
    with undertow.watch(model, None, tmp_path / "ours.undertow", every=2, overhead=1.0) as watcher:
        for _ in range(6):
            halves = []
            for _ in range(2):
                model.zero_grad()
                loss_of(model).backward()
                halves.append([p.grad.clone() for p in model.parameters()])
            whole = [(a + b) / 2 for a, b in zip(*halves, strict=True)]
            norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in whole]))
            clipped = [g * (0.01 / norm) for g in whole]
            watcher.before_step(model.parameters(), lambda: asked.append(1) or 0.1, gradients=clipped, unclipped=whole)
            with torch.no_grad():
                for p, g in zip(model.parameters(), clipped, strict=True):
                    p.sub_(g, alpha=0.1)
            watcher.after_step()
    torch.manual_seed(0)
    other = net(depth=1)
    optimizer = sgd(other)
    with undertow.watch(other, optimizer, tmp_path / "theirs.undertow", every=2, overhead=1.0):
        for _ in range(6):
            optimizer.zero_grad()
            for _ in range(2):
                (loss_of(other) / 2).backward()
            torch.nn.utils.clip_grad_norm_(other.parameters(), 0.01)
            optimizer.step()
    mine, theirs = (undertow.open_run(tmp_path / f"{name}.undertow") for name in ("ours", "theirs"))
    at = [np.isin(run.scalars["step"], mine.steps["step"]) for run in (mine, theirs)]
    for name in ("loss", "lr", "grad_norm", "grad_norm_unclipped"):
        ours = mine.scalars[name][at[0]]
        np.testing.assert_allclose(ours, theirs.scalars[name][at[1]][: len(ours)], rtol=1e-4)
    np.testing.assert_allclose(mine.scalars["grad_norm"], 0.01, rtol=1e-4)
    np.testing.assert_allclose(
        mine.parameter_columns["update_norm"], theirs.parameter_columns["update_norm"], rtol=1e-3
    )
    assert len(asked) == len(mine.scalars["lr"])  # computed where it is recorded, and only there
