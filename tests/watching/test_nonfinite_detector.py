"""What a Run says in words: when numbers ceased to be finite, which passes were taped, what no gradient reached."""

import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import undertow
from undertow.record import Event, Run
from undertow.rules import over_time
from undertow.watching import RunWriter, pass_placement
from watching import loops
from watching.loops import Left, sgd, train
from watching.training import Attach, batch, loss_of, net

Watched = Callable[..., tuple[dict[str, Any], Run]]


def events(run: Run, kind: str) -> list[Event]:
    return [event for event in run.events if event.kind == kind]


def look_no_more(watcher: Any) -> None:
    watcher._hooks.governor.wake = 10**9
    watcher._hooks.governor.news = lambda: None


def test_passes_that_take_turns_are_told_once_each(watched: Watched) -> None:
    """Three passes in a GAN's step, of which each tape takes another one."""
    _, run = watched(loops.gan, every=1)
    told = [(event.data["taped"], event.data["of"]) for event in events(run, "micro-batch")]
    assert sorted(told) == [(0, 3), (1, 3), (2, 3)]


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


@pytest.mark.parametrize("loop", [loops.scaler, loops.scaler_fused])
def test_what_a_scaler_skipped_last_is_told_in_the_end(
    loop: Callable[[Attach], Left], watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "STEPS", 6)  # the sixth is skipped, and no pass comes after it
    _, run = watched(loop, every=3)
    skipped = run.scalars["step"][np.nan_to_num(run.scalars["skipped"]) == 1]
    assert skipped.tolist() == [2, 5]
    assert all(event.data["skipped"] for event in events(run, "nonfinite"))


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


def test_a_descent_that_overflows_is_recorded_without_a_warning(watched: Watched) -> None:
    """<g, dw> is inf where neither gradient nor weights are: its share of the whole would be inf / inf."""

    def loop(attach: Attach) -> Left:
        model = nn.Linear(2, 1, bias=False)

        def compute(model: nn.Module) -> Tensor:
            return model(torch.full((1, 2), 1e17)).sum() * 100

        return train(attach, model, torch.optim.SGD(model.parameters(), lr=100.0), compute, steps=2)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, run = watched(loop, every=1)
    assert run.parameter_steps.tolist() == [0, 1]
    assert np.isnan(run.parameter_columns["progress"]).all()
    assert (run.parameter_columns["grad_norm"] > 1e19).all()


class Half(nn.Module):
    """Of its four layers one is detached, one isn't called, and one is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.detached, self.idle, self.frozen, self.out = (nn.Linear(8, 8) for _ in range(4))
        for p in self.frozen.parameters():
            p.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.frozen(x) + self.detached(x).detach())


def test_what_no_gradient_reaches_is_told(watched: Watched) -> None:
    def loop(attach: Attach) -> Left:
        model = Half()
        return train(attach, model, sgd(model))

    _, run = watched(loop, every=1)
    detached, idle = ([f"{name}.weight", f"{name}.bias"] for name in ("detached", "idle"))
    assert run.header["unreached"] == detached + idle
    assert run.header["not run"] == idle
    found = [finding for finding in over_time(run) if finding.code == "UT501"]
    assert [(finding.where, str(finding.severity)) for finding in found] == [
        ("detached.weight, detached.bias", "warning"),
        ("idle.weight, idle.bias", "note"),
    ]


def test_an_optimizer_that_did_not_step_misses_nothing(watched: Watched) -> None:
    """Of two, the second steps at every third step of the first: its part isn't unreached."""

    def loop(attach: Attach) -> Left:
        model = nn.ModuleDict({"often": net(), "seldom": net()})
        often, seldom = sgd(model["often"]), sgd(model["seldom"])
        attach(model, [often, seldom])
        for step in range(6):
            for part, optimizer in ((model["seldom"], seldom), (model["often"], often)):
                if optimizer is often or step % 3 == 2:
                    optimizer.zero_grad()
                    loss_of(part).backward()
                    optimizer.step()
        return model, []

    _, run = watched(loop, every=1)
    assert run.header["unreached"] == run.header["not run"] == []


def test_what_another_rank_reached_is_not_unreached(tmp_path: Path) -> None:
    path = tmp_path / "first.undertow"
    for rank, (unreached, idle) in enumerate(((["a", "b", "c"], ["a", "b"]), (["a", "b"], ["a"]))):
        with RunWriter(path, {"unreached": unreached, "not run": idle}, rank=rank, world=2) as writer:
            writer.scalars(0, 0.0, {"loss": 1.0})
    header = undertow.open_run(path).header
    assert (header["unreached"], header["not run"]) == (["a", "b"], ["a"])
