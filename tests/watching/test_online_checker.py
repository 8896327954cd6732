"""Findings while it trains: told once, and a reason to stop."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import undertow
from undertow.record import Finding, Run, Severity
from undertow.watching import Watcher
from watching import loops
from watching.loops import sgd
from watching.training import loss_of, net, steps


def test_findings_are_told_and_may_stop_training(tmp_path: Path) -> None:
    model = net(depth=8, activation=nn.Sigmoid)
    optimizer = sgd(model)
    told: list[Finding] = []
    with undertow.watch(
        model, optimizer, tmp_path / "first.undertow", every=1, on_finding=told.append, stop_on=["error"]
    ) as watcher:
        assert watcher.stopping is None
        steps(model, optimizer, 1)
        watcher.flush()
        assert watcher.stopping is not None
        assert watcher.stopping.severity is Severity.ERROR
    assert "UT101" in {finding.code for finding in told}
    run = undertow.open_run(watcher.path)
    assert {event.data["code"] for event in run.events if event.kind == "finding"} == {f.code for f in told}
    assert Finding.from_dict(next(event for event in run.events if event.kind == "finding").data) in told


def diverge(model: nn.Module, optimizer: torch.optim.Optimizer, at: int, upto: int, watcher: Watcher) -> int:
    """Train on; what is lost at one step stays so. The step at which the loop heard of it."""
    for step in range(upto):
        optimizer.zero_grad()
        (loss_of(model) * (float("nan") if step == at else 1.0)).backward()
        optimizer.step()
        watcher.flush()
        if watcher.stopping:
            return step
    return -1


@pytest.mark.parametrize(("every", "taped"), [(1, True), (1000, False)])
def test_numbers_that_are_lost_stop_training(every: int, taped: bool, tmp_path: Path) -> None:
    """As soon as it is seen, whether that step is taped or not, and however long ago something was judged."""
    model = net()
    optimizer = sgd(model)
    told: list[Finding] = []
    settings: dict[str, Any] = {"every": every, "overhead": 1.0, "on_finding": told.append, "stop_on": ["error"]}
    with undertow.watch(model, optimizer, tmp_path / "first.undertow", **settings) as watcher:
        assert diverge(model, optimizer, 3, 200, watcher) >= 3
        assert watcher.stopping is not None
        assert (watcher.stopping.code, watcher.stopping.began) == ("UT103", 3)
        steps(model, optimizer, 4)
        watcher.flush()
    (lost,) = (finding for finding in told if finding.code == "UT103")
    assert ("not measured in full" in lost.message) != taped
    assert str(lost).startswith("UT103 error: from step 3: ")
    (also,) = (found for found in undertow.explain(undertow.open_run(watcher.path)).findings if found.code == "UT103")
    assert (also.began, also.severity) == (3, Severity.ERROR)


def test_numbers_that_are_lost_last_are_told_at_the_end(tmp_path: Path) -> None:
    model = net()
    optimizer = sgd(model)
    told: list[Finding] = []
    with undertow.watch(model, optimizer, tmp_path / "first.undertow", every=1, on_finding=told.append) as watcher:
        steps(model, optimizer, 2)
        watcher._hooks.governor.wake = 10**9
        watcher._hooks.governor.news = lambda: None
        diverge(model, optimizer, 3, 6, watcher)
        assert not told or told[-1].code != "UT103"
    assert told[-1].code == "UT103"
    assert told[-1].began is not None
    assert told[-1].began >= 5


def test_steps_that_a_scaler_skips_stop_nothing(watched: Callable[..., tuple[dict[str, Any], Run]]) -> None:
    told: list[Finding] = []
    _, run = watched(loops.scaler, every=1, on_finding=told.append)
    assert np.nansum(run.scalars["skipped"]) >= 1
    assert "UT103" not in {finding.code for finding in told}


def test_a_callback_that_fails_stops_nothing(tmp_path: Path) -> None:
    model = net(depth=8, activation=nn.Sigmoid)
    optimizer = sgd(model)
    calls = []

    def fails(finding: Finding) -> None:
        calls.append(finding)
        raise KeyError("theirs")

    with undertow.watch(model, optimizer, tmp_path / "first.undertow", every=1, on_finding=fails) as watcher:
        steps(model, optimizer, 3)
    assert len(calls) == 1
    run = undertow.open_run(watcher.path)
    assert len(run) == 3
    assert any("on_finding" in event.message for event in run.events if event.kind == "trouble")


def test_a_fault_of_a_short_runs_last_steps_is_told_when_it_ends(tmp_path: Path) -> None:
    """The first check takes the time that is to spare for seconds; the last full step is checked all the same."""
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer, x, told = sgd(model), torch.randn(32, 8), list[Finding]()
    with undertow.watch(model, optimizer, tmp_path / "short.undertow", every=1, on_finding=told.append) as watcher:
        for step in range(12):
            if step == 8:
                nn.init.constant_(model[2].bias, -1000.0)
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
            watcher.flush()
    events = undertow.open_run(watcher.path).events
    assert "UT202" in {finding.code for finding in told}
    assert "UT202" in {event.data["code"] for event in events if event.kind == "finding"}


def test_a_step_that_was_too_long_is_told_before_what_it_broke(tmp_path: Path) -> None:
    model = net(activation=nn.ReLU)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e4)
    told: list[Finding] = []
    with undertow.watch(model, optimizer, tmp_path / "first.undertow", on_finding=told.append):
        steps(model, optimizer, 40)
    codes = [finding.code for finding in told]
    assert codes.index("UT401") < codes.index("UT103")
    assert {f.code: f.follows_from for f in told}["UT103"] == "UT401"
    assert len(set(codes)) == len(codes)
    assert "UT301" not in codes  # the weights of a later step are no start
