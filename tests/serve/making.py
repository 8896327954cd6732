"""Runs to show: real ones, trained under the tape, and large ones that are only numbers."""

import time

import numpy as np
import torch
from torch import nn

from undertow.record import Edge, Event, Role, Run, Site
from undertow.tape import Tape

HOSTILE = "<img src=x onerror=\"document.title='broken'\">*x* $y$ [a](#b)"


def sigmoid(depth=6, width=20):
    torch.manual_seed(0)
    layers = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.Sigmoid())]
    return nn.Sequential(*layers, nn.Linear(width, 4))


def steps_of_training(net, count, lr=0.5):
    """One dictionary a step: everything the tape read, and what the optimizer did."""
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    data = torch.Generator().manual_seed(1)
    began = time.monotonic()
    for step in range(count):
        x = torch.randn(32, net[0].in_features, generator=data)
        optimizer.zero_grad()
        with Tape(net) as tape:
            loss = nn.functional.cross_entropy(net(x), (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long())
            tape.attach(loss)
            loss.backward()
        before = {name: p.detach().clone() for name, p in net.named_parameters()}
        optimizer.step()
        yield {
            "step": step,
            "time": time.monotonic() - began,
            "sites": tuple(tape.sites),
            "edges": tuple(tape.edges),
            "columns": tape.columns(),
            "values": {"loss": loss.item(), "lr": lr, "grad_norm": _norm(p.grad for p in net.parameters())},
            "parameters": _parameters(net, before),
        }


def trained(count=80, net=None):
    """A real Run in memory."""
    taken = list(steps_of_training(net or sigmoid(), count))
    first = taken[0]
    names = list(first["parameters"])
    times = {"step": np.array([t["step"] for t in taken], float), "time": np.array([t["time"] for t in taken])}
    scalars = {name: np.array([t["values"][name] for t in taken]) for name in first["values"]}
    return Run(
        {"model": "Sequential", "parameters": 2_604, "optimizer": "SGD", "torch": torch.__version__},
        first["sites"],
        first["edges"],
        {name: np.stack([t["columns"].by_site[name] for t in taken]) for name in first["columns"].by_site},
        {name: np.stack([t["columns"].by_edge[name] for t in taken]) for name in first["columns"].by_edge},
        times | {name: scalars[name] for name in ("loss", "lr")},
        times | scalars,
        tuple(names),
        {
            key: np.array([[t["parameters"][name][key] for name in names] for t in taken])
            for key in ("grad_norm", "weight_norm", "update_norm", "update_ratio", "progress")
        },
        times["step"],
        (Event(0, 0.0, "session", "training began"), Event(min(40, count - 1), 1.0, "governor", "every second step")),
    )


def _norm(tensors):
    return float(torch.sqrt(sum(t.square().sum() for t in tensors)))


def _parameters(net, before):
    told = {}
    for name, p in net.named_parameters():
        change = p.detach() - before[name]
        weight, update = before[name].norm().item(), change.norm().item()
        told[name] = {
            "grad_norm": p.grad.norm().item(),
            "weight_norm": weight,
            "update_norm": update,
            "update_ratio": update / weight,
            "progress": -(p.grad * change).sum().item(),
        }
    total = sum(each["progress"] for each in told.values())
    for each in told.values():
        each["progress"] /= total
    return told


SPIKE = 13_579
"""The one step of a large Run at which everything jumps."""


def large(steps=20_000, sites=200):
    """A Run of many steps: a chain of layers whose gradient fades, and a spike at one step."""
    rng = np.random.default_rng(0)
    chain = tuple(
        Site(i, f"layers.{(sites - 1 - i) // 2}", "addmm", Role.WEIGHT, (8, 8), None, 8, (8, 8), (f"p{i}",))
        if i % 2 == 0
        else Site(i, f"acts.{(sites - 1 - i) // 2}", "tanh", Role.ACTIVATION, (8, 8), "tanh")
        for i in range(sites)
    )
    edges = tuple(Edge(i, i + 1) for i in range(sites - 1))
    fading = 0.97 ** np.arange(sites, dtype=np.float32)
    level = fading * np.exp(0.1 * rng.standard_normal((steps, sites), dtype=np.float32))
    if steps > SPIKE:
        level[SPIKE] *= 1e6
    share = np.clip(rng.random((steps, sites), np.float32), 0, 1)
    weights = np.array([site.role is Role.WEIGHT for site in chain])
    only = {kept: np.where(weights == kept, 1, np.nan).astype(np.float32) for kept in (True, False)}
    columns = {
        "grad_output": level,
        "learning_speed": level * only[True] / 3,
        "progress": share / share.sum(axis=1, keepdims=True) * only[True],
        "update_ratio": 1e-3 * level * only[True],
        "weight_norm": np.ones_like(level) * only[True],
        "saturated": share * only[False],
        "derivative_rms": (0.9 + 0.05 * share) * only[False],
        "alignment_phi": np.ones_like(level) * only[False],
    }
    contribution = level[:, 1:]
    step = np.arange(steps, dtype=float)
    loss = 2.3 * np.exp(-step / 5_000) + 0.05 * rng.random(steps) + 0.1
    times = {"step": step, "time": step * 0.01}
    header = {"model": "Chain", "parameters": 12_800}
    return Run(
        header, chain, edges, columns,
        {"contribution": contribution, "share": np.ones_like(contribution)},
        times | {"loss": loss, "lr": np.full(steps, 0.1)},
        times | {"loss": loss, "lr": np.full(steps, 0.1), "grad_norm": level[:, 0].astype(float)},
    )  # fmt: skip
