"""Training loops as people write them, each a function of a hook that may attach a watcher."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from undertow.record import Event, Run

Attach = Callable[..., Any]
Watched = Callable[..., tuple[dict[str, Any], Run]]
Loop = Callable[[Attach], tuple[nn.Module, list[Any]]]


def net(width: int = 12, depth: int = 3, activation: type[nn.Module] = nn.Tanh, out: int = 3) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n in range(depth):
        layers += [nn.Linear(8 if n == 0 else width, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, out))


def batch(rows: int = 16) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, 8), torch.randint(3, (rows,))


def loss_of(model: nn.Module, rows: int = 16) -> Tensor:
    x, y = batch(rows)
    return nn.functional.cross_entropy(model(x), y)


def no_watcher(*_: Any, **__: Any) -> None:
    return None


def trained(loop: Loop, attach: Attach) -> dict[str, Any]:
    """Everything that training leaves behind."""
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(0)
    model, losses = loop(attach)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = {name: p.grad for name, p in model.named_parameters()}
    drawn = torch.rand(3).tolist(), random.random(), np.random.rand()  # noqa: NPY002  # the global generator is what must not be touched
    return {"state": state, "grads": gradients, "losses": losses, "random": drawn}


def assert_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Bit for bit."""
    assert ours["losses"] == theirs["losses"] or np.array_equal(ours["losses"], theirs["losses"], equal_nan=True)
    assert ours["random"] == theirs["random"]
    for kind in ("state", "grads"):
        assert ours[kind].keys() == theirs[kind].keys()
        for name, value in ours[kind].items():
            other = theirs[kind][name]
            assert (value is None) == (other is None), name
            if value is not None:
                assert value.dtype == other.dtype
                assert torch.equal(value.to_dense().nan_to_num(7e7), other.to_dense().nan_to_num(7e7)), name


def hooks_left(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> list[str]:
    """Names of hooks that anybody left anywhere."""
    found = []
    for name, module in model.named_modules():
        if module._forward_pre_hooks or module._forward_hooks or module._backward_hooks:
            found.append(f"module {name}")
    for name, p in model.named_parameters():
        if getattr(p, "_post_accumulate_grad_hooks", None) or p._backward_hooks:
            found.append(f"parameter {name}")
    for optimizer in optimizers:
        if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
            found.append("optimizer")
    return found


def events(run: Run, kind: str) -> list[Event]:
    """Those of one kind."""
    return [event for event in run.events if event.kind == kind]


def total(tensors: list[Tensor]) -> float:
    """The norm of all together."""
    return float(torch.cat([t.flatten().double() for t in tensors]).norm())


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> list[float]:
    """Take some steps, and return their losses."""
    losses = []
    for _ in range(number):
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
