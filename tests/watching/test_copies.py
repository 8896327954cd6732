"""Copies and pickles of everything of the user's, at every point of a step: nothing of ours comes along."""

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import undertow
from undertow.watching import Watcher
from watching.loops import Left, sgd
from watching.training import Attach, Watched, assert_same, batch, hooks_left, net, no_watcher, trained

POINTS = ("begun", "in the call", "called", "in the pass", "passed", "in the step", "stepped")


class Without(pickle.Unpickler):
    """Unpickles where undertow isn't installed."""

    def find_class(self, module: str, name: str) -> Any:
        assert not module.startswith("undertow"), f"{module}.{name} is needed to load a model"
        return super().find_class(module, name)


class Layer(nn.Module):
    """Calls somebody back in its call, and in the backward pass."""

    act: Callable[[str], None] = staticmethod(lambda _: None)

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        Layer.act("in the call")
        out = self.inner(x)
        if out.requires_grad:
            out.register_hook(_in_the_pass)
        return torch.tanh(out)


def _in_the_pass(_: Tensor) -> None:
    Layer.act("in the pass")


def _copies(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[nn.Module]:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    both, _ = copy.deepcopy((model, optimizer))
    unpickled = Without(io.BytesIO(pickle.dumps((model, optimizer)))).load()[0]
    return [copy.deepcopy(model), both, unpickled, torch.load(file, weights_only=False)]


def copying(attach: Attach, at: str, found: list[nn.Module] | None = None) -> Left:
    model = nn.Sequential(Layer(), net())
    optimizer = sgd(model, momentum=0.9)
    attach(model, optimizer)
    losses: list[float] = []

    def act(point: str) -> None:
        if point == at:
            Layer.act = lambda _: None  # copies are called, too
            for each in _copies(model, optimizer):
                x, y = batch()
                with torch.enable_grad():
                    nn.functional.cross_entropy(each(x), y).backward()
                if found is not None:
                    found.append(each)
            Layer.act = act

    optimizer.register_step_pre_hook(lambda *_: act("in the step"))
    try:
        for _ in range(4):
            Layer.act = act
            act("begun")
            optimizer.zero_grad()
            x, y = batch()
            out = model(x)
            act("called")
            loss = nn.functional.cross_entropy(out, y)
            loss.backward()
            act("passed")
            optimizer.step()
            act("stepped")
            losses.append(loss.item())
    finally:
        Layer.act = lambda _: None
    return model, losses


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("at", POINTS)
def test_models_and_optimizers_are_copied_and_pickled_at_every_point_of_a_step(
    at: str, every: int, watched: Watched
) -> None:
    found: list[nn.Module] = []
    left, run = watched(lambda attach: copying(attach, at, found), every=every, overhead=1.0)
    assert_same(left, trained(lambda attach: copying(attach, at), no_watcher))
    assert len(found) == 16
    assert run.scalars["backwards"][-1] == 4
    losses = dict(zip(run.scalars["step"].astype(int).tolist(), run.scalars["loss"].tolist(), strict=True))
    assert all(abs(losses[step] - left["losses"][step]) < 1e-6 for step in losses)
    assert not [event for event in run.events if event.kind == "trouble"]


def test_a_watcher_on_a_module_or_a_callback_comes_back_closed(tmp_path: Path) -> None:
    model = net()
    optimizer = sgd(model)
    model.watcher = undertow.watch(model, optimizer, tmp_path / "first.undertow", every=1)
    callback = {"watcher": model.watcher, "model": model}
    for step in range(4):
        optimizer.zero_grad()
        x, y = batch()
        out = model(x)
        copies = [copy.deepcopy(model).watcher, copy.deepcopy(callback)["watcher"], copy.copy(model.watcher)]
        copies.append(pickle.loads(pickle.dumps(callback))["watcher"])  # noqa: S301  # our own
        for each in copies:
            assert isinstance(each, Watcher)
            assert (each.path, each.step, each.stopping) == (model.watcher.path, step, None)
            assert "closed" in repr(each)
            assert each.troubled
            each.log(loss=3.0)
            assert not each.flush()
            each.close()
        nn.functional.cross_entropy(out, y).backward()
        optimizer.step()
    assert model.watcher.step == 4
    model.watcher.close()
    assert hooks_left(model, [optimizer]) == []
    assert len(undertow.open_run(model.watcher.path)) == 4


def test_two_watchers_on_one_module_do_not_take_each_others_hooks(tmp_path: Path) -> None:
    """The whole and a part of it are watched, and both are taped."""
    model = net()
    optimizer = sgd(model)
    with (
        undertow.watch(model, optimizer, tmp_path / "whole.undertow", every=1) as whole,
        undertow.watch(model[2], optimizer, tmp_path / "part.undertow", every=1) as part,
    ):
        for _ in range(4):
            optimizer.zero_grad()
            x, y = batch()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    assert hooks_left(model, [optimizer]) == []
    names = [{site.module for site in undertow.open_run(each.path).sites if site.parameters} for each in (whole, part)]
    assert names[0] == {"0", "2", "4", "6"}
    assert len(undertow.open_run(part.path)) == 4
