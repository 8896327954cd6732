"""When numbers ceased to be finite, steps that a scaler skipped, losses that jumped: each is found at its step."""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import undertow
from undertow.rules import over_time
from undertow.watching import governor, pass_placement
from undertow.watching.detectors import SETTLED, SpikeDetector
from watching import loops
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
            if step == 1:
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
    monkeypatch.setattr(governor, "SHORT_RUN", 0)
    monkeypatch.setattr(governor, "OPENING_LOSSES", 0)  # steps 13 and 14 aren't observed
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


@pytest.mark.parametrize("loop", [loops.scaler, loops.scaler_fused, loops.scaler_fused_not_told])
def test_skipped_steps_are_counted_and_said(loop: Callable[[Attach], Left], watched: Watched) -> None:
    """Steps 2 and 5 overflow; the optimizer's hook doesn't even hear of them, unless it is a fused one."""
    for every in (1, 100) if loop is loops.scaler else (1,):
        _, run = watched(loop, every=every, overhead=1.0)
        skipped = run.scalars["step"][np.nan_to_num(run.scalars["skipped"]) == 1]
        assert skipped.tolist() == [2, 5]
        assert run.scalars["nonfinite"][np.isin(run.scalars["step"], skipped)].tolist() == [1, 1]
        assert run.header["loss_scale"] == "known"
        assert run.scalars["backwards"].max() <= 7
        first = events(run, "nonfinite")[0]
        assert (first.step, first.data["skipped"], first.data["scale"]) == (2, True, 1024)
        if every == 1:
            assert run.steps["step"].tolist() == ([0, 1, 2, 4, 5] if loop is loops.scaler else list(range(7)))
            assert not np.isfinite(run.column("grad_output", run.steps["step"].tolist().index(2))).all()


def test_a_fused_optimizer_that_skips_between_two_notes(watched: Watched) -> None:
    """The host hears nothing of it; the scale falls, and what the gradient was tells when."""

    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        watcher = attach(model, optimizer, scaler=scaler)
        while watcher.step < 61 or watcher._hooks.observations.last <= 61:
            step = watcher.step
            optimizer.zero_grad()
            scaler.scale(loss_of(model) * (float("inf") if step == 61 else 1.0)).backward()
            scaler.step(optimizer)
            scaler.update()
        return model, []

    _, run = watched(loop, every=100_000, overhead=0.1)
    skipped = run.scalars["step"][np.nan_to_num(run.scalars["skipped"]) == 1]
    assert skipped.tolist() == [61]


@pytest.mark.parametrize("loop", [loops.scaler, loops.scaler_fused])
def test_what_a_scaler_skipped_last_is_told_in_the_end(
    loop: Callable[[Attach], Left], watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "STEPS", 6)  # the sixth is skipped, and no pass comes after it
    _, run = watched(loop, every=3)
    skipped = run.scalars["step"][np.nan_to_num(run.scalars["skipped"]) == 1]
    assert skipped.tolist() == [2, 5]
    assert all(event.data["skipped"] for event in events(run, "nonfinite"))


LOSSES = st.lists(st.floats(0.9, 1.1), min_size=SETTLED + 5, max_size=80)


@settings(max_examples=50, deadline=None)
@given(LOSSES, st.floats(3.0, 1e6))
def test_a_jump_is_a_spike_and_what_was_before_is_none(losses: list[float], jump: float) -> None:
    detector = SpikeDetector()
    assert not any(map(detector.is_spike, losses))
    assert detector.is_spike(jump)


@settings(max_examples=50, deadline=None)
@given(LOSSES, st.floats(1e-3, 1e3))
def test_the_answer_does_not_depend_on_the_losss_unit(losses: list[float], unit: float) -> None:
    ours, theirs = SpikeDetector(), SpikeDetector()
    for loss in (*losses, 9.0, 1.0, 4.0):
        assert ours.is_spike(loss) == theirs.is_spike(loss * unit)


def test_nobody_knows_a_spike_before_the_loss_has_settled() -> None:
    detector = SpikeDetector()
    assert not any(detector.is_spike(loss) for loss in [1.0] * (SETTLED - 1) + [1e9])


def test_what_is_not_finite_is_no_spike_and_leaves_no_trace() -> None:
    detector = SpikeDetector()
    for loss in (1.0, float("nan"), float("inf"), 1.0):
        assert not detector.is_spike(loss)
    assert (detector.mean, detector.known) == (1.0, 2)
