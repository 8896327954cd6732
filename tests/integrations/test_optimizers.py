"""Published optimizers that are no plain ones: their steps are counted, and their bits kept."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import undertow

bitsandbytes = pytest.importorskip("bitsandbytes")
schedulefree = pytest.importorskip("schedulefree")

STEPS = 12

KINDS = {
    "AdamW": lambda p: schedulefree.AdamWScheduleFree(p, lr=0.01, warmup_steps=4),
    "AdamW's reference": lambda p: schedulefree.AdamWScheduleFreeReference(p, lr=0.01),
    "SGD": lambda p: schedulefree.SGDScheduleFree(p, lr=0.1),
    "RAdam": lambda p: schedulefree.RAdamScheduleFree(p, lr=0.01),
    "AdamW by a closure": lambda p: schedulefree.AdamWScheduleFreeClosure(p, lr=0.01),
    "wrapped": lambda p: schedulefree.ScheduleFreeWrapper(torch.optim.SGD(p, lr=0.05)),
}


def trained(kind: str, attach: Any = lambda *_: None) -> tuple[nn.Module, Any, list[float]]:
    """Train, and evaluate every fourth step, for which such optimizers exchange the weights."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 1))
    optimizer = KINDS[kind](model.parameters())
    kept = attach(model, optimizer)
    losses = []
    modes = "closure" not in kind
    for step in range(STEPS):
        if modes:
            optimizer.train()
        x = torch.randn(16, 8)

        def closure(x: torch.Tensor = x) -> torch.Tensor:
            optimizer.zero_grad()
            loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
            loss.backward()
            return loss

        if modes:
            losses.append(closure().item())
            optimizer.step()
        else:
            losses.append(optimizer.step(closure).item())
        if step % 4 == 3:
            if modes:
                optimizer.eval()
            with torch.no_grad():
                losses.append(model(torch.ones(4, 8)).sum().item())
    return model, kept, losses


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_schedule_free(kind: str, every: int, tmp_path: Path) -> None:
    plain, _, losses = trained(kind)
    path = tmp_path / "first.undertow"
    watched, watcher, ours = trained(kind, lambda m, o: undertow.watch(m, o, path, every=every, overhead=1.0))
    assert ours == losses
    for a, b in zip(plain.parameters(), watched.parameters(), strict=True):
        assert torch.equal(a, b)
    assert watcher.step == STEPS
    watcher.log(mine=1.0)  # which looks whether the optimizer was replaced
    watcher.close()
    run = undertow.open_run(path)
    assert not [event.message for event in run.events if event.kind == "trouble"]
    assert run.scalars["step"].max() == STEPS - 1
    assert (run.parameter_columns["update_norm"][-1] > 0).all()  # RAdam's first ones move nothing


EIGHT_BIT = {
    "AdamW": lambda p: bitsandbytes.optim.AdamW8bit(p, lr=0.01, min_8bit_size=64),
    "Lion": lambda p: bitsandbytes.optim.Lion8bit(p, lr=1e-3, min_8bit_size=64),
    "SGD": lambda p: bitsandbytes.optim.SGD8bit(p, lr=0.1, momentum=0.9, min_8bit_size=64),
}


@pytest.mark.parametrize("kind", EIGHT_BIT)
def test_state_of_eight_bits(kind: str, tmp_path: Path) -> None:
    def train(attach: Any = lambda *_: None) -> tuple[nn.Module, Any, list[float]]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 3))
        optimizer = EIGHT_BIT[kind](model.parameters())
        kept, losses = attach(model, optimizer), []
        for _ in range(STEPS):
            x = torch.randn(16, 64)
            loss = nn.functional.cross_entropy(model(x), x[:, :3].argmax(1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert {v.dtype for v in optimizer.state[model[0].weight].values() if torch.is_tensor(v)} >= {torch.uint8}
        return model, kept, losses

    plain, _, losses = train()
    path = tmp_path / "first.undertow"
    watched, watcher, ours = train(lambda m, o: undertow.watch(m, o, path, every=1))
    watcher.close()
    assert ours == losses
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), watched.parameters(), strict=True))
    run = undertow.open_run(path)
    assert run.scalars["step"].tolist() == list(range(STEPS))
    assert (run.parameter_columns["update_norm"] > 0).all()
