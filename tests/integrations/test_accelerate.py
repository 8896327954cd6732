"""A loop under Accelerate, with and without us: the same bits, the same steps, and what was stepped for recorded."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import undertow
from integrations.curves import curve, run_example, stepwise
from undertow.integrations import accelerate as leaf
from undertow.integrations.accelerate import watch


def data():
    generator = torch.Generator().manual_seed(1)
    return TensorDataset(torch.randn(96, 8, generator=generator), torch.randint(3, (96,), generator=generator))


def accelerated(folder, scale=None, **settings):
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=True, project_dir=folder, **settings)
    if scale:  # Accelerate offers float16 on GPUs only
        accelerator.scaler, accelerator.native_amp = torch.amp.GradScaler("cpu", init_scale=scale), True
        accelerator.state._mixed_precision = "fp16"
    return accelerator


def trained(folder, attach, clip=None, epochs=2, kind=torch.optim.SGD, load=None, save=None, **settings):
    """Return the weights, the losses, norms before clipping, what is drawn next, and the steps that were taken."""
    accelerator = accelerated(folder, **settings)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 3))
    optimizer = kind(net.parameters(), lr=0.05)
    model, optimizer, loader = accelerator.prepare(net, optimizer, DataLoader(data(), batch_size=8))
    if load:
        accelerator.load_state(load)
    watcher = attach(accelerator, model, optimizer)
    losses, norms = [], []
    for _ in range(epochs):
        for x, y in loader:
            with accelerator.accumulate(model):
                loss = nn.functional.cross_entropy(model(x), y)
                accelerator.backward(loss)
                losses.append(loss.item())
                if accelerator.sync_gradients and clip:
                    norms.append(float(accelerator.clip_grad_norm_(model.parameters(), clip)))
                optimizer.step()
                optimizer.zero_grad()
        if save:
            accelerator.save_state(save)
            save = None
    if watcher is not None:
        watcher.close()
    return {"state": net.state_dict(), "losses": losses, "norms": norms, "drawn": torch.rand(2).tolist()}


def nobody(*_):
    return None


def every(*args):
    return watch(*args, every=1)


SETTINGS = {
    "plain": {},
    "accumulation with a remainder": {"gradient_accumulation_steps": 5},
    "clipping": {"clip": 0.01},
    "bfloat16": {"mixed_precision": "bf16"},
    "all": {"gradient_accumulation_steps": 4, "clip": 0.01, "mixed_precision": "bf16"},
    "scaled": {"scale": 1024.0, "clip": 0.01, "gradient_accumulation_steps": 4},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_training_is_the_same_and_recorded_as_it_is_stepped(name, tmp_path):
    plain, watched = (trained(tmp_path, how, **SETTINGS[name]) for how in (nobody, every))
    assert watched["losses"] == plain["losses"]
    assert watched["drawn"] == plain["drawn"]
    assert all(torch.equal(value, plain["state"][name]) for name, value in watched["state"].items())
    run = undertow.open_run(tmp_path / "run.undertow")
    expected = stepwise(watched["losses"], SETTINGS[name].get("gradient_accumulation_steps", 1))
    steps, losses = curve(run)
    assert steps == list(range(len(expected)))
    np.testing.assert_allclose(losses, expected, rtol=1e-3)
    if SETTINGS[name].get("clip"):
        np.testing.assert_allclose(curve(run, "grad_norm")[1], 0.01, rtol=1e-3)
        np.testing.assert_allclose(curve(run, "grad_norm_unclipped")[1], watched["norms"], rtol=1e-3)
    scales = set(run.scalars["scale"]) if "scale" in run.scalars else set()
    assert scales == {SETTINGS[name][each] for each in ("scale",) if each in SETTINGS[name]}


def test_a_checkpoint_goes_on_at_its_own_step(tmp_path):
    trained(tmp_path, every, epochs=2, save=str(tmp_path / "state"))

    def goes_on(*args):
        return watch(*args, every=1, resume=True, step=12)

    plain, watched = (trained(tmp_path, how, load=str(tmp_path / "state"), epochs=1) for how in (nobody, goes_on))
    assert watched["losses"] == plain["losses"]
    assert curve(tmp_path / "run.undertow")[0] == list(range(24))


def test_an_optimizer_that_is_not_prepared_is_told_so(tmp_path):
    accelerator = accelerated(tmp_path)
    net = nn.Linear(2, 1)
    with pytest.raises(TypeError, match=r"watch after model, optimizer = accelerator\.prepare"):
        watch(accelerator, net, torch.optim.SGD(net.parameters(), lr=0.1))


def test_findings_are_logged_and_told(tmp_path, caplog):
    accelerator, told = accelerated(tmp_path), []
    torch.manual_seed(0)
    layers = [layer for _ in range(12) for layer in (nn.Linear(8, 8), nn.Sigmoid())]
    net = nn.Sequential(*layers, nn.Linear(8, 3))
    model, optimizer = accelerator.prepare(net, torch.optim.SGD(net.parameters(), lr=0.1))
    with watch(accelerator, model, optimizer, every=1, on_finding=told.append):
        for _ in range(20):
            accelerator.backward(nn.functional.cross_entropy(model(torch.randn(16, 8)), torch.randint(3, (16,))))
            optimizer.step()
            optimizer.zero_grad()
    assert told
    assert {f"undertow: {found.code}" for found in told} <= {text[: len("undertow: UT101")] for text in caplog.messages}


def test_the_example_in_the_docstring_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    AcceleratorState._reset_state(reset_partial_state=True)
    net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
    run_example(
        leaf,
        {
            "Accelerator": Accelerator,
            "model": net,
            "optimizer": torch.optim.SGD(net.parameters(), lr=0.1),
            "loader": DataLoader(data(), batch_size=8),
            "loss_function": nn.functional.cross_entropy,
        },
    )
    assert curve("runs/run.undertow")[0] == [0.0, 1.0, 2.0]
