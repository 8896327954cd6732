"""From attaching to the end: hooks, memory, errors, exits, sessions."""

import gc
import os
import subprocess
import sys
import textwrap
import warnings
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import undertow
from undertow.record import Finding
from undertow.watching import (
    backward_tape,
    full_step,
    step_observer,
    update_reader,
    watch_target,
    watched_parameters,
)
from watching import loops
from watching.loops import sgd
from watching.training import assert_same, hooks_left, loss_of, net, no_watcher, steps, trained


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


@pytest.mark.parametrize("scaled", [False, True])
def test_a_callback_that_holds_the_model_does_not_keep_it_alive(scaled: bool, tmp_path: Path) -> None:
    model = net(depth=8, activation=nn.Sigmoid)
    optimizer, told = sgd(model), []
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0) if scaled else None
    alive = weakref.ref(model)

    def on_finding(finding: Finding, model: nn.Module = model) -> None:
        told.append((finding, type(model)))

    watcher = undertow.watch(
        model, optimizer, tmp_path / "first.undertow", every=1, scaler=scaler, on_finding=on_finding
    )
    for _ in range(3):
        loss = loss_of(model)
        (scaler.scale(loss) if scaler else loss).backward()
        optimizer.step()
    assert watcher.flush()
    assert told
    del model, optimizer, on_finding, watcher, loss
    gc.collect()
    assert alive() is None


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


def test_a_path_leads_to_the_latest_run_and_the_one_before_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "first.undertow"
    for count in (3, 4, 5):
        model = net()
        optimizer = sgd(model)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            watcher = undertow.watch(model, optimizer, path, every=1)
        assert watcher.path == str(path)
        assert [str(each.message).partition(" held ")[2] for each in told] == (
            [f"another run, which is kept in {tmp_path / f'first-{count - 2}.undertow'}"] if count > 3 else []
        )
        steps(model, optimizer, count)
        watcher.close()
        assert len(undertow.open_run(path)) == count
    assert [len(undertow.open_run(tmp_path / f"first-{k}.undertow")) for k in (2, 3)] == [3, 4]


def test_a_run_whose_process_was_killed_is_kept_too(tmp_path: Path) -> None:
    path = tmp_path / "first.undertow"
    program = f"""
        import os, torch, undertow
        net = torch.nn.Linear(2, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        watcher = undertow.watch(net, optimizer, {str(path)!r}, every=1)
        for _ in range(7):
            net(torch.ones(3, 2)).sum().backward()
            optimizer.step()
        watcher.flush()
        os._exit(9)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    assert Path(f"{path}-wal").exists()  # nobody closed it
    model = net()
    optimizer = sgd(model)
    with pytest.warns(RuntimeWarning, match="kept in"), undertow.watch(model, optimizer, path, every=1):
        steps(model, optimizer, 2)
    assert len(undertow.open_run(path)) == 2
    assert len(undertow.open_run(tmp_path / "first-2.undertow")) >= 6


def test_a_run_that_is_still_written_keeps_its_path(tmp_path: Path) -> None:
    path, model = tmp_path / "first.undertow", net()
    optimizer = sgd(model)
    with undertow.watch(model, optimizer, path, every=1) as first:
        steps(model, optimizer, 2)
        with pytest.warns(RuntimeWarning, match="may still be written to .* recorded in .*first-2.undertow"):
            second = undertow.watch(other := net(), sgd(other), path)
        second.close()
        steps(model, optimizer, 2)
    assert Path(first.path) == path
    assert len(undertow.open_run(path)) == 4
    assert Path(second.path).name == "first-2.undertow"


def test_bad_input_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    model = net()
    optimizer = sgd(model)
    path = tmp_path / "first.undertow"
    for wrong, error, what in (
        (lambda: undertow.watch(optimizer, model, path), TypeError, "not a torch.nn.Module"),
        (lambda: undertow.watch(model, 3, path), TypeError, "not a torch.optim.Optimizer"),
        (lambda: undertow.watch(model, [], path), ValueError, "no optimizer"),
        (lambda: undertow.watch(model, optimizer, path, overhead=0), ValueError, "0.01 for one percent"),
        (lambda: undertow.watch(model, optimizer, path, every=0), ValueError, "every is 0"),
        (lambda: undertow.watch(model, optimizer, path, stop_on=["UT999"]), ValueError, "UT999"),
    ):
        with pytest.raises(error, match=what):
            wrong()
    assert hooks_left(model, [optimizer]) == []
    assert not path.exists()
