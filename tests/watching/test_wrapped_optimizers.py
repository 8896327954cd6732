"""Optimizers around optimizers: each of the user's steps is one step of the Run, whichever of them is called."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import AdamW

import undertow
from watching.training import assert_same, events, hooks_left, loss_of, net, total, trained
from watching.wrapped import KINDS, MUON

STEPS = 9
WRAPPED = "Lookahead of SGD", "SAM by a closure", "SAM in two calls"


def looped(kind: str, after: Any = lambda *_: None) -> Any:
    make, step = KINDS[kind]

    def loop(attach: Any) -> tuple[nn.Module, list[float]]:
        model = net(depth=1)
        optimizer = make(model)
        attach(model, optimizer)
        losses = []
        for number in range(STEPS):
            before = [p.detach().clone() for p in model.parameters()]
            losses.append(step(model, optimizer))
            after(number, [p.detach() - b for p, b in zip(model.parameters(), before, strict=True)])
        return model, losses

    return loop


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_counted_and_bits_are_kept(kind: str, every: int, tmp_path: Path) -> None:
    theirs = trained(looped(kind), lambda *_: None)
    kept: list[Any] = []

    def attach(model: nn.Module, optimizer: Any) -> None:
        watcher = undertow.watch(model, optimizer, tmp_path / "first.undertow", every=every, overhead=1.0)
        kept.extend((model, optimizer, watcher))

    ours = trained(looped(kind), attach)
    model, optimizer, watcher = kept
    assert_same(ours, theirs)
    assert watcher.step == STEPS
    watcher.close()
    run = undertow.open_run(watcher.path)
    assert set(range(0, STEPS, every)) <= set(run.scalars["step"].tolist()) <= set(range(STEPS))
    assert len(run.parameters) == 4
    passes = 2 if kind.startswith("SAM") else 1
    assert run.scalars["backwards"][-1] == passes * (run.scalars["step"][-1] + 1)
    assert not events(run, "trouble")
    assert hooks_left(model, optimizers_in(optimizer)) == []


def optimizers_in(holder: Any) -> list[torch.optim.Optimizer]:
    """Every optimizer that there is within another, the outermost included."""
    parts = [each for value in vars(holder).values() for each in (value if isinstance(value, list) else [value])]
    inner = [each for each in parts if isinstance(each, torch.optim.Optimizer)]
    own = [holder] if isinstance(holder, torch.optim.Optimizer) else []
    return [*own, *(found for each in inner for found in optimizers_in(each))]


@pytest.mark.parametrize("kind", [kind for kind in (*WRAPPED, MUON) if kind in KINDS])
def test_updates_are_what_the_whole_step_moved(kind: str, tmp_path: Path) -> None:
    moved: list[float] = []
    watchers: list[Any] = []

    def attach(model: nn.Module, optimizer: Any) -> None:
        watchers.append(undertow.watch(model, optimizer, tmp_path / "first.undertow", every=1, overhead=1.0))

    trained(looped(kind, lambda _, moves: moved.append(total(moves))), attach)
    watchers[0].close()
    run = undertow.open_run(watchers[0].path)
    found = np.sqrt((run.parameter_columns["update_norm"].astype(float) ** 2).sum(1))
    np.testing.assert_allclose(found, moved, rtol=1e-3)


@pytest.mark.skipif(MUON not in KINDS, reason="a torch without Muon")
def test_muon_beside_adamw(tmp_path: Path) -> None:
    """Two optimizers for one loss: a step is a step of the first."""
    model = net(depth=1)
    muon = torch.optim.Muon([p for p in model.parameters() if p.dim() == 2], lr=0.01)
    adamw = AdamW([p for p in model.parameters() if p.dim() != 2], lr=0.01)
    losses = []
    with undertow.watch(model, [muon, adamw], tmp_path / "first.undertow", every=1, overhead=1.0) as watcher:
        for _ in range(STEPS):
            muon.zero_grad()
            adamw.zero_grad()
            loss = loss_of(model)
            loss.backward()
            muon.step()
            adamw.step()
            losses.append(loss.item())
        assert watcher.step == STEPS
    run = undertow.open_run(watcher.path)
    np.testing.assert_allclose(run.scalars["loss"], losses, rtol=1e-6)
    # A step goes from one of Muon's to its next, so that AdamW's of the first loss is in the second row.
    assert (run.parameter_columns["update_norm"][1:] > 0).all()


def test_a_wrapped_optimizer_is_resumed_at_the_step_that_its_base_has_counted(tmp_path: Path) -> None:
    make, step = KINDS["Lookahead of AdamW"]
    model = net(depth=1)
    optimizer = make(model)
    with undertow.watch(model, optimizer, tmp_path / "first.undertow", every=1, overhead=1.0):
        for _ in range(6):
            step(model, optimizer)
    with undertow.watch(model, optimizer, tmp_path / "first.undertow", every=1, overhead=1.0, resume=True) as watcher:
        assert watcher.step == 6
    # A checkpoint of step 3, loaded into what was recorded up to step 5.
    for state in optimizer.optimizer.state.values():
        state["step"] = torch.tensor(3.0)
    with undertow.watch(model, optimizer, tmp_path / "first.undertow", every=1, overhead=1.0, resume=True) as watcher:
        assert watcher.step == 3
    assert undertow.open_run(watcher.path).scalars["step"].tolist() == [0, 1, 2]
