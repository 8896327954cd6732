"""Two real processes that train one model, under DDP and under FSDP2."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import undertow
from undertow.record import Run
from watching import ranks

WORLD = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left behind that trained together."""
    here = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, ranks.__file__]
    processes = [subprocess.Popen([*command, str(rank), str(WORLD), str(here)]) for rank in range(WORLD)]
    assert [process.wait(120) for process in processes] == [0] * WORLD
    return here


def left(folder: Path, how: str, watching: str) -> list[dict[str, Any]]:
    return [torch.load(folder / f"{how}-{watching}-{rank}.pt") for rank in range(WORLD)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[float]]:
    """The same training in one process; and the largest gradients before they were clipped."""
    net = ranks.model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    path = tmp_path_factory.mktemp("alone") / "alone.undertow"
    unclipped = []
    with undertow.watch(net, optimizer, path, every=1):
        for step in range(ranks.STEPS):
            x, y = ranks.batch(step)
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            unclipped.append(float(nn.utils.clip_grad_norm_(net.parameters(), 0.1)))
            optimizer.step()
    return undertow.open_run(path), unclipped


@pytest.mark.parametrize(("how", "name"), [("ddp", "watched"), ("ddp", "inner"), ("fsdp", "watched")])
def test_merged_numbers_are_those_of_the_unsharded_model(
    how: str, name: str, folder: Path, alone: tuple[Run, list[float]]
) -> None:
    """Also where the module inside DDP is watched."""
    for ours, theirs in zip(left(folder, how, name), left(folder, how, "unwatched"), strict=True):
        assert ours["losses"] == theirs["losses"]
        assert all(torch.equal(ours["state"][name], value) for name, value in theirs["state"].items())
        assert ours["collectives"] == theirs["collectives"]
    whole, unclipped = alone
    run = undertow.open_run(folder / f"{how}-{name}.undertow")
    assert run.header["ranks"] == {"world": WORLD, "read": WORLD}
    assert [site.name for site in run.sites] == [site.name for site in whole.sites]
    assert run.parameters == whole.parameters
    for name in ("grad_norm", "update_norm", "weight_norm", "update_ratio", "progress"):
        np.testing.assert_allclose(run.parameter_columns[name], whole.parameter_columns[name], rtol=1e-5)
    for name in ("grad_output", "grad_input", "weight_norm", "weight_grad_norm"):
        np.testing.assert_allclose(run.columns[name], whole.columns[name], rtol=1e-5)
    np.testing.assert_allclose(run.edge_columns["contribution"], whole.edge_columns["contribution"], rtol=1e-5)
    for name in ("grad_norm", "loss"):
        np.testing.assert_allclose(run.scalars[name], whole.scalars[name], rtol=1e-5)
    np.testing.assert_allclose(run.scalars["grad_norm_unclipped"], unclipped, rtol=1e-5)


@pytest.mark.parametrize("how", ["ddp", "fsdp"])
def test_ranks_that_decide_differently_neither_wait_nor_change_anything(how: str, folder: Path) -> None:
    """Rank 0 tapes every second step, rank 1 every third: a collective of ours would hang."""
    for ours, theirs in zip(left(folder, how, "differently"), left(folder, how, "unwatched"), strict=True):
        assert ours["losses"] == theirs["losses"]
        assert ours["collectives"] == theirs["collectives"]
    run = undertow.open_run(folder / f"{how}-differently.undertow")
    at = {step: row for row, step in enumerate(run.parameter_steps.tolist())}
    assert {0.0, 2.0, 4.0} <= set(at)
    if how == "fsdp":  # half of a norm is none
        grad = run.parameter_columns["grad_norm"]
        assert np.isfinite(grad[at[0.0]]).all()
        assert np.isnan(grad[at[2.0]]).all()


def test_all_processes_stop_after_the_same_step_for_the_same_finding(folder: Path) -> None:
    """One of them alone was asked to stop, and told of it some steps late."""
    ends = [torch.load(folder / f"stopped-{rank}.pt") for rank in range(WORLD)]
    assert len(set(ends)) == 1
    assert ends[0][0] >= 3
    assert ends[0][1].startswith("UT")
