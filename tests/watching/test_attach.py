"""From attaching to the end: hooks, memory, errors, exits, sessions."""

import gc
import os
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import undertow
from undertow.record import Finding, Run, Severity
from undertow.watching import (
    Watcher,
    backward_tape,
    full_step,
    step_observer,
    update_reader,
    watch_target,
    watched_parameters,
)
from watching import loops
from watching.loops import sgd
from watching.training import assert_same, hooks_left, loss_of, net, no_watcher, trained


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> None:
    for _ in range(number):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    backward, norm = torch.autograd.backward, nn.utils.clip_grad._get_total_norm
    model = net()
    optimizer = sgd(model)
    with undertow.watch(model, optimizer, tmp_path / "first.undertow", every=1) as watcher:
        assert torch.autograd.backward is not backward
        steps(model, optimizer, 2)
        loss_of(model)  # a step is begun, and never finished
    assert hooks_left(model, [optimizer]) == []
    assert torch.autograd.backward is backward
    assert nn.utils.clip_grad._get_total_norm is norm
    watcher.close()
    watcher.log(loss=1.0)
    assert "closed" in repr(watcher)


def test_a_function_that_others_replaced_stays_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody wraps torch.autograd.backward while we do: their function must survive ours."""
    model = net()
    optimizer = sgd(model)
    calls = []
    watcher = undertow.watch(model, optimizer, tmp_path / "first.undertow", every=1)
    ours = torch.autograd.backward

    def theirs(*args: Any, **kwargs: Any) -> None:
        calls.append(1)
        ours(*args, **kwargs)

    monkeypatch.setattr(torch.autograd, "backward", theirs)
    steps(model, optimizer, 3)
    watcher.close()
    steps(model, optimizer, 2)
    assert torch.autograd.backward is theirs
    assert len(calls) == 5
    assert len(undertow.open_run(watcher.path)) == 3
    monkeypatch.undo()


def test_neither_model_nor_optimizer_is_held_alive(tmp_path: Path) -> None:
    model = net()
    optimizer = sgd(model)
    alive = [weakref.ref(model), weakref.ref(optimizer), weakref.ref(next(model.parameters()))]
    undertow.watch(model, optimizer, tmp_path / "first.undertow", every=1)  # nobody keeps the watcher
    steps(model, optimizer, 3)
    assert len(hooks_left(model, [optimizer])) > 0
    del model, optimizer
    gc.collect()
    assert [ref() for ref in alive] == [None] * 3
    assert torch.autograd.backward.__module__ == "torch.autograd"


def test_memory_does_not_grow(tmp_path: Path) -> None:
    """Not with the steps, and not with graphs that are never backpropagated."""
    model = net()
    optimizer = sgd(model)

    def tensors() -> int:
        assert watcher.flush()
        gc.collect()
        return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())

    with undertow.watch(model, optimizer, tmp_path / "first.undertow", every=2) as watcher:
        steps(model, optimizer, 20)
        before = tensors()
        steps(model, optimizer, 60)
        for _ in range(20):
            loss_of(model)
        assert tensors() <= before + 20


@pytest.mark.parametrize(
    ("home", "name"),
    [
        (update_reader.UpdateReader, "before"),
        (backward_tape.BackwardTape, "begins"),
        (full_step.FullStep, "send"),
        (watch_target.WatchTarget, "updated"),
        (backward_tape.Tape, "_signal"),
        (step_observer.StepObserver, "_take"),
        (watched_parameters.WatchedParameters, "of"),
    ],
)
def test_an_error_of_ours_stops_the_watching_and_not_the_training(
    home: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = net()
    optimizer = sgd(model)
    watcher = undertow.watch(model, optimizer, tmp_path / "first.undertow", every=1)
    seen: list[int] = []
    theirs = optimizer.register_step_pre_hook(lambda *_: seen.append(1))  # behind ours
    steps(model, optimizer, 2)

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(home, name, broken)
    with pytest.warns(RuntimeWarning, match="undertow stopped watching at step") as caught:
        steps(model, optimizer, 3)
    assert [str(each.message) for each in caught[1:]] == []
    assert set(hooks_left(model, [optimizer])) <= {"optimizer"}  # they may be running: they stay, and do nothing
    assert seen == [1] * 5
    monkeypatch.undo()
    watcher.close()
    theirs.remove()
    assert hooks_left(model, [optimizer]) == []
    run = undertow.open_run(watcher.path)
    assert len(run) >= 2
    assert "ZeroDivisionError" in next(event.message for event in run.events if event.kind == "trouble")


def test_who_makes_errors_of_warnings_does_not_lose_a_training_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(full_step.FullStep, "take_gradients", broken)
    left = trained(lambda _: loops.plain(lambda *a: undertow.watch(*a, tmp_path / "first.undertow")), no_watcher)
    assert_same(left, trained(loops.plain, no_watcher))


SCRIPT = """
    import sys, torch, undertow
    from torch import nn
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    undertow.watch(net, optimizer, sys.argv[1], every=1)
    for _ in range(5):
        optimizer.zero_grad()
        net(torch.randn(6, 4)).square().mean().backward()
        optimizer.step()
    {end}
"""


@pytest.mark.parametrize("end", ["1 / 0", "import os; os.fork() or os._exit(0); os.wait()"])
def test_closed_at_the_interpreters_exit(end: str, tmp_path: Path) -> None:
    path = tmp_path / "first.undertow"
    script = textwrap.dedent(SCRIPT).format(end=end)
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == (1 if "1 / 0" in end else 0), done.stderr
    assert "undertow" not in done.stderr.replace("undertow.watch", "")
    run = undertow.open_run(path)
    assert run.steps["step"].tolist() == [0, 1, 2, 3, 4]
    assert run.header["ended"] > 0
    assert run.events[-1].kind == "governor"
    assert sorted(os.listdir(tmp_path)) == ["first.undertow"]


def test_a_second_session_goes_on_with_the_run(tmp_path: Path) -> None:
    path = tmp_path / "first.undertow"
    model = net()
    optimizer = torch.optim.Adam(model.parameters())
    with undertow.watch(model, optimizer, path, every=1):
        steps(model, optimizer, 3)
    with undertow.watch(model, optimizer, path, every=1, resume=True) as watcher:
        assert watcher.step == 3
        steps(model, optimizer, 2)
    with undertow.watch(model, optimizer, path, every=1, resume=True, step=10):
        steps(model, optimizer, 1)
    run = undertow.open_run(path)
    assert run.steps["step"].tolist() == [0, 1, 2, 3, 4, 10]
    assert (np.diff(run.steps["time"]) > 0).all()
    assert len([event for event in run.events if event.kind == "session"]) == 3
    with pytest.warns(RuntimeWarning, match="exists already"):
        other = undertow.watch(model, optimizer, path)
    other.close()
    assert Path(other.path).name == "first-2.undertow"


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
    assert ("not taped" in lost.message) != taped
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


def test_bad_input_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    model, other = net(), net()
    optimizer = sgd(model)
    path = tmp_path / "first.undertow"
    for wrong, error, what in (
        (lambda: undertow.watch(optimizer, model, path), TypeError, "not a torch.nn.Module"),
        (lambda: undertow.watch(model, 3, path), TypeError, "not a torch.optim.Optimizer"),
        (lambda: undertow.watch(model, [], path), ValueError, "no optimizer"),
        (lambda: undertow.watch(other, optimizer, path), ValueError, "this model's optimizer"),
        (lambda: undertow.watch(model, optimizer, path, overhead=0), ValueError, "0.01 for one percent"),
        (lambda: undertow.watch(model, optimizer, path, every=0), ValueError, "every is 0"),
        (lambda: undertow.watch(model, optimizer, path, stop_on=["UT999"]), ValueError, "UT999"),
    ):
        with pytest.raises(error, match=what):
            wrong()
    assert hooks_left(model, [optimizer]) == []
    assert not path.exists()
