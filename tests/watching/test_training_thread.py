"""Several trainings in threads of one process: each Run is of its own, and nothing is read that others may replace."""

import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import undertow
from watching.loops import sgd
from watching.training import events, hooks_left, loss_of, net, steps

SCRIPT = """
    import sys, threading, torch, undertow
    from torch import nn

    torch.set_num_threads(1)
    folder, every, steps, watched = sys.argv[1], 1, int(sys.argv[2]), 0
    start = threading.Barrier(3)

    def train(number):
        layers = [layer for n in range(3) for layer in (nn.Linear(8, 8), nn.Tanh())]
        model = nn.Sequential(*layers, nn.Linear(8, 3 + number))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        watcher = None
        if number < watched:
            watcher = undertow.watch(model, optimizer, f"{folder}/{every}-{watched}-{number}.undertow", every=every)
        start.wait()
        for step in range(steps):
            optimizer.zero_grad(set_to_none=True)
            loss = 10.0**number * (1 + model(torch.randn(4, 8)).square().mean())
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            if watcher is not None and step % 50 == 49:
                watcher.log(done=step)
        if watcher is not None:
            watcher.close()

    for pair in sys.argv[3:]:
        every, watched = (int(number) or None for number in pair.split("-"))
        threads = [threading.Thread(target=train, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        left = torch.autograd.backward.__module__, nn.utils.clip_grad._get_total_norm.__qualname__
        print(*left, torch.autograd.backward.__code__.co_filename.endswith("patches.py"))
"""
PAIRS = [(1, 2), (1, 1), (1, 3), (0, 3)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all Runs. They are trained in a process of its own, as what goes wrong here ends it."""
    folder = tmp_path_factory.mktemp("threads")
    words = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(folder), "80"]
    pairs = [f"{every}-{watched}" for every, watched in PAIRS]
    done = subprocess.run([*words, *pairs], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "undertow stopped" not in done.stderr
    assert done.stdout.splitlines() == ["torch.autograd _get_total_norm False"] * len(PAIRS)
    return folder


@pytest.mark.parametrize(("every", "watched"), PAIRS)
def test_trainings_in_threads_do_not_touch_one_another(every: int, watched: int, trained: Path) -> None:
    """Losses differ by tens, so none can be another's."""
    for number in range(watched):
        run = undertow.open_run(trained / f"{every or None}-{watched}-{number}.undertow")
        losses = run.scalars["loss"][~np.isnan(run.scalars["loss"])]
        assert (len(losses) == 80) if every else (len(losses) > 3)
        assert (losses > 0.9 * 10.0**number).all()
        assert (losses < 9 * 10.0**number).all()
        assert (run.scalars["grad_norm_unclipped"] > 0).any()
        assert not events(run, "trouble")


def test_steps_may_be_taken_by_one_thread_after_another(tmp_path: Path) -> None:
    model = net()
    optimizer = sgd(model)
    kept: list[float] = []
    with undertow.watch(model, optimizer, tmp_path / "first.undertow", every=1) as watcher:
        for _ in range(6):
            with ThreadPoolExecutor(1) as pool:
                kept += pool.submit(steps, model, optimizer, 1).result()
    run = undertow.open_run(watcher.path)
    np.testing.assert_allclose(run.scalars["loss"], kept, rtol=1e-6)
    assert run.steps["step"].tolist() == list(range(6))
    assert hooks_left(model, [optimizer]) == []


def test_a_pass_of_another_model_on_the_thread_that_called_watch_is_not_the_first_step(tmp_path: Path) -> None:
    """Watched here, trained there; and another model is trained here meanwhile."""
    model, other = net(), net()
    optimizer, theirs = sgd(model), sgd(other)
    kept: list[float] = []

    def train() -> None:
        kept.extend(steps(model, optimizer, 4))

    with undertow.watch(model, optimizer, tmp_path / "first.undertow", every=1) as watcher:
        for _ in range(3):
            theirs.zero_grad()
            (100 * loss_of(other)).backward()
            theirs.step()
        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
    run = undertow.open_run(watcher.path)
    np.testing.assert_allclose(run.scalars["loss"], kept, rtol=1e-6)
    assert run.scalars["backwards"].tolist() == [1, 2, 3, 4]


def test_logging_and_closing_from_another_thread(tmp_path: Path) -> None:
    model = net()
    optimizer = sgd(model)
    go_on, stepped = threading.Event(), threading.Event()
    losses: list[float] = []

    def train() -> None:
        torch.set_num_threads(1)  # it is a thread's own, and else two of them spin for a core
        for step in range(200):
            losses.extend(steps(model, optimizer, 1))
            if step == 20:
                stepped.set()
                assert go_on.wait(60)

    watcher = undertow.watch(model, optimizer, tmp_path / "first.undertow", every=5)
    thread = threading.Thread(target=train)
    thread.start()
    assert stepped.wait(60)
    watcher.log(note=1.0)
    go_on.set()
    while len(losses) < 100:
        watcher.log(more=1.0)
        time.sleep(1e-4)  # else the other thread hardly gets a turn
    watcher.close()
    thread.join()
    assert len(losses) == 200
    assert torch.autograd.backward.__module__ == "torch.autograd"
    run = undertow.open_run(watcher.path)
    assert 1.0 in run.scalars["note"].tolist()
