"""What is told once of a run: which passes were taped, and what no gradient reached."""

from pathlib import Path

import numpy as np
import pytest
from torch import Tensor, nn

import undertow
from undertow.rules import over_time
from undertow.watching import RunWriter
from watching import loops
from watching.loops import Left, sgd, train
from watching.training import Attach, Watched, events, loss_of, net


class Half(nn.Module):
    """Of its four layers one is detached, one isn't called, and one is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.detached, self.idle, self.frozen, self.out = (nn.Linear(8, 8) for _ in range(4))
        for p in self.frozen.parameters():
            p.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.frozen(x) + self.detached(x).detach())


def test_which_micro_batch_was_taped(watched: Watched) -> None:
    left, run = watched(loops.accumulation, every=1)
    assert run.header["micro_batch"] == {"taped": 0, "of": 3}
    assert len(events(run, "micro-batch")) == 1
    assert run.steps["step"].tolist() == list(range(7))
    np.testing.assert_allclose(run.scalars["loss"], np.reshape(left["losses"], (7, 3)).sum(1), rtol=1e-6)
    assert run.scalars["backwards"].tolist() == [3, 6, 9, 12, 15, 18, 21]
    speed, norm = run.column("weight_grad_norm", 0), run.parameter_columns["grad_norm"][0]
    assert np.nanmax(speed) == pytest.approx(norm.max(), rel=1e-5)  # of all three together


def test_passes_that_take_turns_are_told_once_each(watched: Watched) -> None:
    """Three passes in a GAN's step, of which each tape takes another one."""
    _, run = watched(loops.gan, every=1)
    told = [(event.data["taped"], event.data["of"]) for event in events(run, "micro-batch")]
    assert sorted(told) == [(0, 3), (1, 3), (2, 3)]


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
