"""Run by two processes: trains one model together, watched or not, and saves what is left. Not a test itself."""

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

import undertow

STEPS, ROWS = 6, 16


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(9, 13), nn.Tanh(), nn.Sequential(nn.Linear(13, 13), nn.Tanh()), nn.Linear(13, 3))


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(100 + step)
    return torch.randn(ROWS, 9, generator=generator), torch.randint(3, (ROWS,), generator=generator)


def part(step: int, rank: int, world: int) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = batch(step)
    return x[rank::world], y[rank::world]


def train(net: nn.Module, optimizer: torch.optim.Optimizer, rank: int, world: int, clip: bool) -> list[float]:
    losses = []
    for step in range(STEPS):
        x, y = part(step, rank, world)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(net.parameters(), 0.1)
        optimizer.step()
        losses.append(loss.item())
    return losses


def wrapped(net: nn.Sequential, how: str) -> nn.Module:
    if how == "ddp":
        return DistributedDataParallel(net)
    fully_shard(net[2])
    fully_shard(net)
    return net


def main(rank: int, world: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    for how in ("ddp", "fsdp"):
        for name, every in {"unwatched": 0, "watched": 1, "inner": 1, "differently": 2 + rank}.items():
            torch.save(one(how, name, every, rank, world, folder), folder / f"{how}-{name}-{rank}.pt")
    torch.save(stopped(rank, world, folder), folder / f"stopped-{rank}.pt")
    dist.destroy_process_group()


def stopped(rank: int, world: int, folder: Path) -> tuple[int, str]:
    """Train until a finding stops it that the last process alone waits for; the step, and the finding's code."""
    net = DistributedDataParallel(model())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    stop_on = ["error"] if rank == world - 1 else []
    with undertow.watch(net, optimizer, folder / "stopped.undertow", every=1, stop_on=stop_on) as watcher:
        for step in range(2000):
            x, y = part(step % STEPS, rank, world)
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x * (torch.nan if step == 3 else 1.0)), y).backward()
            optimizer.step()
            if found := watcher.agree_to_stop():
                return step, found.code
    return -1, ""


def one(how: str, name: str, every: int, rank: int, world: int, folder: Path) -> dict[str, Any]:
    net = wrapped(model(), how)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    if every:
        inner = net.module if name == "inner" and how == "ddp" else net  # as trainers hand it out
        watcher = undertow.watch(inner, optimizer, folder / f"{how}-{name}.undertow", every=every)
    with Counting() as collectives:
        losses = train(net, optimizer, rank, world, clip=True)
    if every:
        watcher.close()
    state = {key: (p.full_tensor() if hasattr(p, "full_tensor") else p).detach() for key, p in net.named_parameters()}
    return {"losses": losses, "state": state, "collectives": collectives.calls}


class Counting(TorchDispatchMode):
    """Names of the collectives that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "c10d" in str(func):
            self.calls.append(str(func))
        return func(*args, **(kwargs or {}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
