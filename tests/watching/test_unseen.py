"""Say what can't be seen of a training, and how to see it; nothing is called well that nobody looked at."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import undertow
from undertow.diagnosis import Diagnosis
from undertow.record import Run
from undertow.render.diagnosed_run import DiagnosedRun
from undertow.render.terminal_run import text
from watching import loops
from watching.loops import Left, sgd
from watching.training import Attach, Watched, batch, events, loss_of, net


def by_autograd_grad(attach: Attach) -> Left:
    model = net()
    optimizer = sgd(model)
    attach(model, optimizer)
    for _ in range(5):
        found = torch.autograd.grad(loss_of(model), list(model.parameters()))
        for p, g in zip(model.parameters(), found, strict=True):
            p.grad = g
        optimizer.step()
    return model, []


def by_func_grad(attach: Attach) -> Left:
    model = net()
    optimizer = sgd(model)
    attach(model, optimizer)
    names = list(dict(model.named_parameters()))

    def loss(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(torch.func.functional_call(model, weights, (x,)), y)

    for _ in range(5):
        found = torch.func.grad(loss)({n: p.detach() for n, p in model.named_parameters()}, *batch())
        for name in names:
            model.get_parameter(name).grad = found[name]
        optimizer.step()
    return model, []


@pytest.mark.parametrize("loop", [by_autograd_grad, by_func_grad])
def test_gradients_that_come_another_way_are_told_of(loop: object, watched: Watched) -> None:
    _, run = watched(loop, every=1)
    assert "No backward pass is heard" in run.header["unseen"]["backward"]
    assert len(events(run, "unseen")) == 1
    assert (run.scalars["grad_norm"] > 0).all()
    assert (run.parameter_columns["update_norm"] > 0).all()


def test_reentrant_checkpoints_hide_their_inside(watched: Watched) -> None:
    _, run = watched(loops.checkpointing_reentrant, every=1)
    assert list(run.header["unseen"]) == ["checkpoint"]
    _, run = watched(loops.checkpointing, every=1)
    assert "unseen" not in run.header


def test_a_model_that_is_compiled_after_watch_was_called_is_called_compiled(watched: Watched) -> None:
    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = sgd(model)
        attach(model, optimizer)
        model.compile(backend="aot_eager")
        for _ in range(4):
            optimizer.zero_grad()
            loss_of(model).backward()
            optimizer.step()
        return model, []

    _, run = watched(loop, every=1)
    assert run.header["compiled"] is True
    assert "full_tape=True" in run.header["unseen"]["compiled"]


def test_what_was_not_seen_is_not_called_well(tmp_path: Path) -> None:
    seen = Run({"model": "Net"}, (), scalars={"loss": np.array([2.0, 1.0])})
    model = net()
    optimizer = sgd(model)
    with undertow.watch(torch.compile(model, backend="eager"), optimizer, tmp_path / "first.undertow") as watcher:
        for _ in range(4):
            optimizer.zero_grad()
            loss_of(model).backward()
            optimizer.step()
    run = undertow.open_run(watcher.path)
    shown = text(DiagnosedRun(Diagnosis(run)))
    assert "IN WHAT WAS SEEN" in shown
    assert "not seen: The model is compiled" in shown
    assert "NOTHING WRONG WAS FOUND\n" in text(DiagnosedRun(Diagnosis(seen)))
