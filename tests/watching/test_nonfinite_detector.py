"""When numbers ceased to be finite: the step is found, and called exact only where it is."""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import undertow
from undertow.rules import over_time
from undertow.watching import pass_placement
from watching.loops import Left, sgd
from watching.training import Attach, Watched, batch, events, loss_of, net


def look_no_more(watcher: Any) -> None:
    watcher._hooks.governor.wake = 10**9
    watcher._hooks.governor.news = lambda: None


def with_an_inf(at: int, watching: int, upto: int) -> Callable[[Attach], Left]:
    """The first layer's weights get a gradient that isn't finite at one step, and nothing else does before the next."""

    def loop(attach: Attach) -> Left:
        model = nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 3))
        optimizer = sgd(model)
        watcher = attach(model, optimizer)
        for step in range(upto):
            x, y = batch()
            x[0, 0] = float("inf") if step == at else x[0, 0]
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            assert bool(torch.isfinite(model[2].bias.grad).all()) == (step <= at)
            if watcher is not None and step == watching:
                look_no_more(watcher)
            optimizer.step()
        return model, []

    return loop


@pytest.mark.parametrize(("short", "seen"), [(False, 38), (True, 39)])
def test_a_step_that_only_one_gradient_tells_of_is_not_called_exact(
    short: bool, seen: int, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that is counted is still finite at step 37, the first bad one, and no more at 38.

    Where steps are so short that one gradient in eight is kept, it is the last one that tells, at 39.
    """
    monkeypatch.setattr(pass_placement, "COUNTING_FROM", float("inf") if short else float("-inf"))
    monkeypatch.setitem(pass_placement.IN_FRONT_FROM, "cpu", float("inf"))
    _, run = watched(with_an_inf(37, watching=30, upto=40), every=1)
    (event,) = events(run, "nonfinite")
    assert (event.data["after"], event.data["step"], event.data["exact"]) == (30, seen, False)
    assert f"After step 30 and no later than step {seen}" in event.message
    finding = next(f for f in over_time(run) if f.code == "UT108" or "cease to be finite" in f.message)
    assert f"After step 30, and by step {seen}" in finding.message


def test_a_step_before_which_all_was_seen_to_be_finite_is_exact(watched: Watched) -> None:
    _, run = watched(with_an_inf(37, watching=50, upto=40), every=1)
    (event,) = events(run, "nonfinite")
    assert (event.data["after"], event.data["step"], event.data["exact"]) == (36, 37, True)


def test_what_nobody_looked_at_is_looked_at_in_the_end(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """At close: in steps 5 and 6 of 7, after the last look at step 3."""
    monkeypatch.setattr(pass_placement, "COUNTING_FROM", float("-inf"))
    monkeypatch.setitem(pass_placement.IN_FRONT_FROM, "cpu", float("inf"))
    _, run = watched(with_an_inf(4, watching=3, upto=7), every=1)
    assert run.scalars["step"].tolist() == [0, 1, 2, 3]
    (event,) = events(run, "nonfinite")
    assert (event.data["after"], event.data["step"], event.data["exact"]) == (3, 5, False)


SCRIPT = """
    import sys, torch, undertow
    from torch import nn

    def main():
        net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        watcher = undertow.watch(net, optimizer, sys.argv[1], every=10)
        for step in range(8):
            if step == 3:
                watcher._hooks.governor.wake = 10
            optimizer.zero_grad()
            (net(torch.randn(6, 4)).square().mean() * (float("nan") if step == 6 else 1.0)).backward()
            optimizer.step()
        {keep}
        return {returned}

    kept = main()
"""


@pytest.mark.parametrize(("keep", "returned"), [("pass", "net, optimizer"), ("pass", "None"), ("1 / 0", "None")])
def test_also_at_the_interpreters_exit_and_when_all_are_gone(keep: str, returned: str, tmp_path: Path) -> None:
    script = textwrap.dedent(SCRIPT).format(keep=keep, returned=returned)
    path = str(tmp_path / "first.undertow")
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, timeout=120)
    assert done.returncode == (keep != "pass"), done.stderr
    (event,) = events(undertow.open_run(path), "nonfinite")
    assert event.data["step"] == 6


class Half(nn.Module):
    """Of its four layers one is detached, one isn't called, and one is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.detached, self.idle, self.frozen, self.out = (nn.Linear(8, 8) for _ in range(4))
        for p in self.frozen.parameters():
            p.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.frozen(x) + self.detached(x).detach())


@pytest.mark.parametrize("every", [1, 5, 100_000])
def test_the_first_non_finite_step_is_found(every: int, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also between two notes, and without a scaler: at step 13. Known for sure if step 12 was looked at."""
    monkeypatch.setattr(pass_placement, "COUNTING_FROM", float("-inf"))
    monkeypatch.setitem(pass_placement.IN_FRONT_FROM, "cpu", float("inf"))

    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = sgd(model)
        watcher = attach(model, optimizer)
        while watcher.step < 30 or watcher._hooks.observations.last <= 13:
            optimizer.zero_grad()
            (loss_of(model) * (float("nan") if watcher.step == 13 else 1.0)).backward()
            optimizer.step()
        return model, []

    _, run = watched(loop, every=every, overhead=0.1)
    found = events(run, "nonfinite")
    assert len(found) == 1
    assert found[0].data["step"] == 13
    finite = run.scalars["step"][run.scalars["nonfinite"] == 0]
    assert found[0].data["after"] == finite.max()
    assert found[0].data["exact"] == (finite.max() == 12)
    assert found[0].data["seen"] >= 13
    assert found[0].data["lag"] >= 0


class Breaking(torch.autograd.Function):
    """Loses the gradient on its way back, when told to."""

    now = False

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(_: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        return g / 0 if Breaking.now else g


@pytest.mark.parametrize(("both", "step"), [(True, 13), (False, 14)])
def test_what_begins_in_front_is_known_if_both_ends_are_kept(
    both: bool, step: int, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At step 13 the gradient is lost behind the first layer, whose weights are lost with it: so all is at step 14."""
    monkeypatch.setattr(pass_placement, "COUNTING_FROM", float("-inf"))
    monkeypatch.setitem(pass_placement.IN_FRONT_FROM, "cpu", -1.0 if both else float("inf"))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.front, self.back = nn.Linear(8, 6), net(out=3)
            self.back[0] = nn.Linear(6, 12)

        def forward(self, x: Tensor) -> Tensor:
            return self.back(Breaking.apply(torch.tanh(self.front(x))))

    def loop(attach: Attach) -> Left:
        model = Net()
        optimizer = sgd(model)
        watcher = attach(model, optimizer)
        while watcher.step < 40:
            Breaking.now = watcher.step == 13
            optimizer.zero_grad()
            loss_of(model).backward()
            optimizer.step()
        return model, []

    _, run = watched(loop, every=20, overhead=1e-9)
    found = events(run, "nonfinite")
    assert [each.data["step"] for each in found] == [step]
    assert found[0].data["exact"] is both
