"""What others do at every step, in the loop of `benchmarks/watch.py`; those that aren't installed are left out."""

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

Look = Callable[[], object]
Optimizer = torch.optim.Optimizer


@contextlib.contextmanager
def foreach_norm(model: nn.Module, *_: Any) -> Iterator[Look]:
    """No peer: the least that anybody can do at every step."""
    yield lambda: torch._foreach_norm([p.grad for p in model.parameters()])


@contextlib.contextmanager
def norm_items(model: nn.Module, *_: Any) -> Iterator[Look]:
    """What people write themselves."""
    yield lambda: [p.grad.norm().item() for p in model.parameters()]


@contextlib.contextmanager
def tensorboard(model: nn.Module, _: Optimizer, folder: Path) -> Iterator[Look]:
    from torch.utils.tensorboard import SummaryWriter

    writer, step = SummaryWriter(folder), iter(range(10**9))

    def look() -> None:
        number = next(step)
        for name, p in model.named_parameters():
            writer.add_histogram(name, p.grad, number)

    yield look
    writer.close()


@contextlib.contextmanager
def wandb_watch(model: nn.Module, _: Optimizer, folder: Path, log_freq: int = 1) -> Iterator[Look]:
    import wandb

    run = wandb.init(mode="offline", dir=folder, settings=wandb.Settings(silent=True))
    run.watch(model, log_freq=log_freq)
    yield lambda: run.log({"loss": 0.0})
    run.finish()


@contextlib.contextmanager
def lightning(model: nn.Module, *_: Any) -> Iterator[Look]:
    from lightning.pytorch.utilities import grad_norm

    yield lambda: grad_norm(model, norm_type=2)


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


PEERS: dict[str, Callable[..., Any]] = {"_foreach_norm": foreach_norm, "p.grad.norm().item()": norm_items}
if _installed("tensorboard"):
    PEERS["TensorBoard histograms"] = tensorboard
if _installed("wandb"):
    PEERS["wandb.watch, log_freq=1"] = wandb_watch
if _installed("lightning"):
    PEERS["Lightning grad_norm"] = lightning
