"""Two real processes under each trainer's own way of training together, with gloo."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch

import undertow
from integrations import ranks
from integrations.curves import curve, stepwise


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture(scope="module", params=["lightning", "sharded", "hf", "accelerate"])
def folder(request, tmp_path_factory):
    """What two processes left behind, told of each other as by torchrun."""
    here = tmp_path_factory.mktemp(request.param)
    port = str(free_port())
    world = {"WORLD_SIZE": str(ranks.WORLD), "LOCAL_WORLD_SIZE": str(ranks.WORLD), "TORCHELASTIC_RUN_ID": "test"}
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1", "GROUP_RANK": "0"}
    processes = []
    for rank in map(str, range(ranks.WORLD)):
        environment = {**os.environ, **world, **address, "RANK": rank, "LOCAL_RANK": rank}
        command = [sys.executable, ranks.__file__, request.param, str(here)]
        processes.append(subprocess.Popen(command, env=environment))
    assert [process.wait(300) for process in processes] == [0] * ranks.WORLD
    return here


def left(folder, name):
    return [torch.load(folder / f"{name}-{rank}.pt") for rank in range(ranks.WORLD)]


@pytest.mark.parametrize(("how", "passes"), [("", 1), (" in parts", 4)])
def test_each_process_trains_as_it_does_alone_with_the_trainer(how, passes, folder):
    for ours, theirs in zip(left(folder, f"watched{how}"), left(folder, f"plain{how}"), strict=True):
        assert ours["losses"] == theirs["losses"]
        assert all(torch.equal(value, theirs["state"][name]) for name, value in ours["state"].items())
        assert ours["steps"] == theirs["steps"] == ranks.STEPS // passes


def test_the_run_is_that_of_the_whole_model(folder):
    run = undertow.open_run(folder / "watched" / "run.undertow")
    assert run.header["ranks"] == {"world": ranks.WORLD, "read": ranks.WORLD}
    steps, losses = curve(run)
    assert steps == run.steps["step"].tolist() == list(range(ranks.STEPS))
    assert not [site.name for site in run.sites if "FSDP" in site.module_type]
    expected = np.mean([each["losses"] for each in left(folder, "watched")], axis=0)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    # The gradient at the output is the whole batch's, of both halves: not sqrt(2) times as large.
    x, y = ranks.joined([each["first"] for each in left(folder, "watched")])
    out = ranks.net(deep=False)(x)
    (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(out, y), out)
    last = next(place for place, site in enumerate(run.sites) if site.name.endswith("2"))
    assert run.columns["grad_output"][0, last] == pytest.approx(float(gradient.norm()), rel=1e-4)


def test_a_step_of_several_passes_is_one_of_the_whole_models(folder):
    run = undertow.open_run(folder / "watched in parts" / "run.undertow")
    steps, losses = curve(run)
    assert steps == list(range(ranks.STEPS // 4))
    expected = np.mean([stepwise(each["losses"], 4) for each in left(folder, "watched in parts")], axis=0)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    unclipped = curve(run, "grad_norm_unclipped")[1]
    np.testing.assert_allclose(curve(run, "grad_norm")[1], np.minimum(unclipped, ranks.CLIP), rtol=1e-3)
    # The first step's gradient, of eight batches in two processes, is that of them all in one.
    model = ranks.net(deep=False)
    x, y = ranks.joined([each["first"] for each in left(folder, "watched in parts")])
    torch.nn.functional.cross_entropy(model(x), y).backward()
    norm = float(torch.cat([p.grad.flatten() for p in model.parameters()]).norm())
    assert unclipped[0] == pytest.approx(norm, rel=1e-4)


def test_all_processes_stop_after_the_same_step(folder):
    ends = {each["steps"] for each in left(folder, "stopped")}
    assert len(ends) == 1
    assert ends.pop() < 200 * ranks.STEPS
