"""Nothing on the training thread waits for a device, steps that aren't looked at least of all."""

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import undertow
from watching.training import loss_of, net

WAITING = ("_local_scalar_dense", "equal", "is_nonzero", "nonzero")
"""What a host must wait for: the operations behind ``.item()``, ``bool(tensor)``, ``float(tensor)``."""

COPYING = ("tolist", "numpy", "cpu", "item")


class Waiting(Exception):  # noqa: N818  # not an error of the program's
    pass


class Watching(TorchDispatchMode):
    """Counts operations, and objects to those that wait. It sees one thread: the training's."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.split(".")[0]
        self.counts[name] += 1
        if name in WAITING:
            raise Waiting(name)
        return func(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def no_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of torch's methods wait without being operations; this thread may not call them either."""
    ours = threading.current_thread()

    def guarded(name: str) -> Any:
        method = getattr(torch.Tensor, name)

        def call(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if threading.current_thread() is ours:
                raise Waiting(name)
            return method(self, *args, **kwargs)

        return call

    for name in COPYING:
        monkeypatch.setattr(torch.Tensor, name, guarded(name))


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> Counter[str]:
    with Watching() as seen:
        for _ in range(number):
            optimizer.zero_grad()
            loss_of(model).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return seen.counts


def test_the_mode_does_object() -> None:
    for waits in (lambda t: t.item(), bool, lambda t: t.tolist(), float, lambda t: t.numpy()):
        with Watching(), pytest.raises(Waiting):
            waits(torch.ones(()))


@pytest.mark.parametrize("every", [1, 2])
def test_steps_that_are_looked_at(every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of tensors on the host are read at once, as nothing is waited for there: these pass for a device's."""
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), capturable=False, fused=True)
    with undertow.watch(model, optimizer, tmp_path / "first.undertow", every=every, overhead=1.0) as watcher:
        steps(model, optimizer, 6)
        watcher.log(loss=torch.ones(()))
    run = undertow.open_run(tmp_path / "first.undertow")
    assert len(run) == 6 // every
    assert not [event for event in run.events if event.kind == "trouble"]


def test_other_steps_compute_nothing_at_all(tmp_path: Path) -> None:
    """Not one operation of torch's more than without a watcher."""
    counts = []
    for watching in (False, True):
        torch.manual_seed(0)
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        if watching:
            watcher = undertow.watch(model, optimizer, tmp_path / "first.undertow")
            governor = watcher._hooks.governor
            steps(model, optimizer, 3)
            governor.wake = 10**9  # nothing to do for a long time
            governor.news = lambda: None
            steps(model, optimizer, 2)
        else:
            steps(model, optimizer, 5)
        counts.append(steps(model, optimizer, 4))
    assert watcher._hooks.observations.current is None
    assert counts[0] == counts[1]
    watcher.close()
