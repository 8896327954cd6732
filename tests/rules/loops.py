"""Training loops of a few hundred steps, with a mistake around the backward pass or without; what they are made of."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

import undertow
from undertow.record import Finding, Run
from undertow.rules import over_time

STEPS = 160

Task = tuple[nn.Module, Callable[[int], Tensor]]


def classifier(seed: int = 0, rows: int = 32) -> Task:
    """A small MLP, and its loss on the batch of a step."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    x, directions = torch.randn(1024, 8), torch.randn(8, 4)
    y = (x @ directions).argmax(1)

    def loss(step: int) -> Tensor:
        chosen = torch.randint(0, len(x), (rows,), generator=torch.Generator().manual_seed(step))
        return functional.cross_entropy(net(x[chosen]), y[chosen])

    return net, loss


def regression(seed: int = 0, rows: int = 32) -> Task:
    """A convolution with BatchNorm and Dropout that finds the mean of an image."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1), nn.Linear(288, 1)
    )
    images = torch.randn(512, 1, 8, 8) + 2 * torch.randn(512, 1, 1, 1)

    def loss(step: int) -> Tensor:
        chosen = images[torch.randint(0, len(images), (rows,), generator=torch.Generator().manual_seed(step))]
        return functional.mse_loss(net(chosen)[:, 0], chosen.mean((1, 2, 3)))

    return net, loss


def record(folder: Path, net: nn.Module, optimizer: object, steps: Iterator[Tensor], **options: object) -> Run:
    """Watch a loop that yields each loss after its backward pass, and goes on to its step when asked for the next."""
    with undertow.watch(net, optimizer, path=folder / "run.undertow", **{"every": 10, **options}) as watcher:
        for loss in steps:
            watcher.log(loss=loss)
    return undertow.open_run(watcher.path)


def plainly(
    loss: Callable[[int], Tensor], optimizer: torch.optim.Optimizer, zero: Callable[[], object], steps: int = STEPS,
    every: int = 1,
) -> Iterator[Tensor]:  # fmt: skip
    """Train as `record` wants it: zero gradients and step after every so many passes."""
    for step in range(steps):
        if step % every == 0:
            zero()
        value = loss(step)
        value.backward()
        yield value
        if step % every == every - 1:
            optimizer.step()


def findings(run: Run) -> dict[str, Finding]:
    """Faults by code; notes are none."""
    return {found.code: found for found in over_time(run) if found.severity != "note"}


_numbers = itertools.count()


def fresh(folder: Path) -> Path:
    """A folder of its own for one more run."""
    new = folder / f"run{next(_numbers)}"
    new.mkdir()
    return new
