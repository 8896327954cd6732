"""Runs to show: real ones, of trainings that were watched, and large ones that are only numbers."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

import undertow
from undertow.record import Edge, Role, Run, Site

HOSTILE = "<img src=x onerror=\"document.title='broken'\">*x* $y$ [a](#b)"


def sigmoid(depth=6, width=20):
    torch.manual_seed(0)
    layers = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.Sigmoid())]
    return nn.Sequential(*layers, nn.Linear(width, 4))


def training(net, optimizer, data):
    """One step of a real training."""
    x = torch.randn(32, 20, generator=data)
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(net(x), (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long())
    loss.backward()
    optimizer.step()


def trained(count=60, net=None):
    """A real Run, of a watched training."""
    net = net or sigmoid()
    optimizer, data = torch.optim.SGD(net.parameters(), lr=0.5), torch.Generator().manual_seed(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.undertow")
        with undertow.watch(net, optimizer, path, every=1):
            for _ in range(count):
                training(net, optimizer, data)
        run = undertow.open_run(path)
        return Run.from_dict(run.to_dict())  # its columns may be read after the file is gone


SPIKE = 13_579
"""The one step of a large Run at which everything jumps."""


def large(steps=20_000, sites=200):
    """A Run of many steps: a chain of layers whose gradient fades, and a spike at one step."""
    rng = np.random.default_rng(0)
    chain = tuple(
        Site(
            i,
            f"layers.{(sites - 1 - i) // 2}",
            "addmm",
            Role.WEIGHT,
            (8, 8),
            None,
            8,
            (8, 8),
            (f"layers.{(sites - 1 - i) // 2}.weight",),
        )
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
    learning = np.flatnonzero(weights)
    of_parameters = {
        "grad_norm": level[:, learning],
        "update_norm": 1e-3 * level[:, learning],
        "weight_norm": np.ones_like(level[:, learning]),
        "progress": columns["progress"][:, learning],
    }
    return Run(
        header, chain, edges, columns,
        {"contribution": contribution, "share": np.ones_like(contribution)},
        times | {"loss": loss, "lr": np.full(steps, 0.1)},
        times | {"loss": loss, "lr": np.full(steps, 0.1), "grad_norm": level[:, 0].astype(float)},
        tuple(chain[site].parameters[0] for site in learning), of_parameters, step,
    )  # fmt: skip
