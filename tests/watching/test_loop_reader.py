"""What a full step notes of the loop around it: right numbers, silence on usual loops, and nothing computed there."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import undertow
from undertow.rules import over_time
from undertow.watching import pass_placement
from undertow.watching.loop_reader import LoopReader
from undertow.watching.loss_scale import LossScale
from undertow.watching.ranks import Ranks
from undertow.watching.watch_target import WatchTarget
from undertow.watching.watched_parameters import WatchedParameters
from watching.loops import LOOPS, Left, sgd, train
from watching.training import Attach, Loop, Watched, batch, net

OF_THE_LOOP = {"UT407", "UT408", "UT409", "UT410", "UT701", "UT702", "UT703", "UT704"}


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_no_usual_loop_is_told_of_a_mistake(watched: Watched, loop: Loop) -> None:
    _, run = watched(loop, every=1)
    assert not OF_THE_LOOP & {found.code for found in over_time(run) if found.severity != "note"}


def test_what_is_left_over_is_measured(watched: Watched) -> None:
    """Against norms that the loop takes itself."""
    parts: list[float] = []

    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = sgd(model)
        attach(model, optimizer)
        for step in range(6):
            before = _norm(model)
            if step == 3:
                optimizer.zero_grad()
                before = 0.0
            x, y = batch()
            nn.functional.cross_entropy(model(x), y).backward()
            parts.append(before / _norm(model))
            optimizer.step()
        return model, []

    _, run = watched(loop, every=1)
    np.testing.assert_allclose(run.scalars["left_over"], parts, rtol=1e-5)
    assert not run.scalars["cleared"].any()


def _norm(model: nn.Module) -> float:
    return float(np.sqrt(sum(float(p.grad.double().square().sum()) for p in model.parameters() if p.grad is not None)))


def test_modes_are_counted_at_the_backward_pass(watched: Watched) -> None:
    def loop(attach: Attach) -> Left:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Dropout(0.0), nn.Linear(16, 3))
        steps = itertools.count(1)

        def mode(model: nn.Module, _: int) -> None:
            model.train(next(steps) < 3)

        return train(attach, model, sgd(model), after_step=mode, steps=6)

    _, run = watched(loop, every=1)
    assert run.scalars["evaluating"].tolist() == [0, 0, 0, 2, 2, 2]
    assert run.header["evaluation"] == {"norms": ["1"], "dropouts": ["2"], "norms alone": []}


def test_passes_without_a_step_are_counted_to_the_end(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    # However short the steps are: where they stand for passes, those without one are known by logged losses only.
    monkeypatch.setattr(pass_placement, "COUNTING_FROM", 0.0)

    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = sgd(model)
        attach(model, optimizer)
        for step in range(20):
            x, y = batch()
            nn.functional.cross_entropy(model(x), y).backward()
            if step < 5:
                optimizer.step()
        return model, []

    _, run = watched(loop, every=1)
    assert run.header["idle passes"] == {"passes": 15, "usual": 1.0, "step": 5, "steps": 5}


class Counting(TorchDispatchMode):
    """Counts operations."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        del types
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("to_none", "nothing"), [(True, True), (False, False)])
def test_a_loop_that_zeroes_to_none_costs_not_one_operation(to_none: bool, nothing: bool) -> None:
    model = net()
    optimizer = sgd(model)
    target = WatchTarget(
        model, [optimizer], WatchedParameters(model, [optimizer]), LossScale(), Ranks.of(model), tapes=False
    )
    x, y = batch()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.zero_grad(set_to_none=to_none)
    reader = LoopReader(target)
    with Counting() as counting:
        reader.backward_begins()
        reader.backward_ends()
    assert (counting.count == 0) is nothing


def test_weights_that_nobody_steps_are_named_when_they_have_stood_still(watched: Watched) -> None:
    def loop(attach: Attach) -> Left:
        model = net()
        return train(attach, model, torch.optim.SGD(model[2:].parameters(), lr=0.1), steps=6)

    _, run = watched(loop, every=1)
    held = run.header["held"]
    assert held["missing"] == ["0.weight", "0.bias"]
    assert (held["reached"], held["foreign"], held["unreached"]) == (6, 0, 0)
    assert 0 < held["missing share"] < 1


def test_an_optimizer_of_another_model_is_watched_all_the_same(watched: Watched) -> None:
    def loop(attach: Attach) -> Left:
        model, other = net(), net()
        return train(attach, model, sgd(other), steps=6)

    left, run = watched(loop, every=1)
    np.testing.assert_allclose(run.scalars["loss"], left["losses"], rtol=1e-6)
    assert len(run) == 6
    assert run.header["held"]["foreign"] == 8
    assert next(iter(undertow.explain(run).findings)).code == "UT407"


def test_a_scaler_tells_who_steps_beside_it() -> None:
    model = net()
    optimizer, scaler = sgd(model), torch.amp.GradScaler("cpu", init_scale=8.0)
    loss_scale = LossScale(scaler)
    x, y = batch()
    scaler.scale(nn.functional.cross_entropy(model(x), y)).backward()
    assert loss_scale.misuse(optimizer) == {"stepped_scaled": 1.0, "stepped_again": 0.0}
    scaler.unscale_(optimizer)
    assert loss_scale.misuse(optimizer) == {"stepped_scaled": 0.0, "stepped_again": 0.0}
    scaler.step(optimizer)
    assert loss_scale.misuse(optimizer) == {"stepped_scaled": 0.0, "stepped_again": 1.0}
    assert LossScale().misuse(optimizer) == {}
