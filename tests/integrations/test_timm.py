"""The recipe for timm's train.py: its scaler, its clipping, its Lookahead and its averaged weights.

timm asks for torchvision as a whole; what its training script trains with doesn't, and is loaded part by part.
"""

import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import undertow

found = importlib.util.find_spec("timm")
if found is None or not found.submodule_search_locations:
    pytest.skip("timm is not installed", allow_module_level=True)
ROOT = Path(found.submodule_search_locations[0])


def parts(*names: str) -> list[Any]:
    """Load some of timm's modules, and leave no trace of a timm that is but half there."""
    before = set(sys.modules)
    for name in ("timm", "timm.utils", "timm.optim"):
        package = types.ModuleType(name)
        package.__path__ = [str(ROOT.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package
    try:
        return [importlib.import_module(f"timm.{name}") for name in names]
    finally:
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == "timm":
                del sys.modules[name]


cuda, clip_grad, lookahead_, model_ema = parts("utils.cuda", "utils.clip_grad", "optim.lookahead", "utils.model_ema")
NativeScaler, Lookahead = cuda.NativeScaler, lookahead_.Lookahead

UPDATES, ACCUMULATED = 6, 4


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 32), nn.Linear(32, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(nn.functional.gelu(self.up(self.norm(x))))


def trained(output_dir: Path | None, scaled: bool = True, lookahead: bool = False, **options: Any):
    """Train as timm's train_one_epoch does, with 4 batches accumulated and the gradient clipped to 0.1."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), Block(16), Block(16), nn.Linear(16, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    if lookahead:
        optimizer = Lookahead(optimizer)
    loss_scaler = NativeScaler(device="cpu") if scaled else None
    watcher = None
    if output_dir is not None:  # the recipe: this line, and watcher.log(**eval_metrics) after validate()
        watcher = undertow.watch(model, optimizer, f"{output_dir}/run.undertow", scaler=loss_scaler, **options)
    losses = []
    for batch in range(UPDATES * ACCUMULATED):
        need_update = (batch + 1) % ACCUMULATED == 0
        x, y = torch.randn(16, 8), torch.randint(3, (16,))
        with torch.autocast("cpu", torch.bfloat16, enabled=scaled):
            loss = nn.functional.cross_entropy(model(x), y)
        losses.append(loss.item())
        loss = loss / ACCUMULATED
        if loss_scaler is not None:
            loss_scaler(loss, optimizer, clip_grad=0.1, parameters=model.parameters(), need_update=need_update)
        else:
            loss.backward()
            if need_update:
                clip_grad.dispatch_clip_grad(model.parameters(), value=0.1, mode="norm")
                optimizer.step()
        if need_update:
            optimizer.zero_grad()
    if watcher is not None:
        watcher.log(top1=0.5)
        watcher.close()
    return model, losses, watcher


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("lookahead", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_the_recipe(scaled: bool, lookahead: bool, every: int, tmp_path: Path) -> None:
    plain, losses, _ = trained(None, scaled, lookahead)
    watched, ours, watcher = trained(tmp_path, scaled, lookahead, every=every, overhead=1.0)
    assert ours == losses
    for a, b in zip(plain.parameters(), watched.parameters(), strict=True):
        assert torch.equal(a, b)
    assert watcher.step == UPDATES
    run = undertow.open_run(tmp_path / "run.undertow")
    if every == 1:
        np.testing.assert_allclose(run.scalars["loss"], np.reshape(losses, (UPDATES, ACCUMULATED)).mean(1), rtol=1e-2)
        np.testing.assert_allclose(run.scalars["grad_norm"], 0.1, rtol=1e-2)
        assert (run.scalars["grad_norm_unclipped"] > 0.1).all()
        assert run.scalars["top1"][-1] == 0.5
    assert run.header["loss_scale"] == ("known" if scaled else "1")
    assert not [event.message for event in run.events if event.kind == "trouble"]


def test_averaged_weights_are_a_copy_that_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with undertow.watch(model, optimizer, tmp_path / "run.undertow", every=1) as watcher:
        averaged = model_ema.ModelEmaV2(model, decay=0.9)
        for _ in range(5):
            optimizer.zero_grad()
            model(torch.randn(4, 8)).sum().backward()
            optimizer.step()
            averaged.update(model)
            averaged.module(torch.randn(4, 8))
        assert watcher.step == 5
    run = undertow.open_run(tmp_path / "run.undertow")
    assert run.parameters == ("0.weight", "0.bias", "2.weight", "2.bias")
    assert run.scalars["backwards"].tolist() == [1, 2, 3, 4, 5]
