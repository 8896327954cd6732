"""How to fit a line through points: a training of milliseconds, to be broken in many ways."""

from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional

from undertow.training import Training

QUICK = {"budget": 600, "seeds": 3, "processes": 0}


def lines(lr=0.1, kind=torch.optim.SGD, **changed):
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(64, 4, generator=draws)
    y = x.sum(1, keepdim=True)
    made = Training(
        lambda: nn.Linear(4, 1), [(x[i : i + 16], y[i : i + 16]) for i in range(0, 64, 16)], squared,
        lambda model: kind(model.parameters(), lr=lr), steps=60,
    )  # fmt: skip
    return replace(made, **changed)


def squared(model, batch):
    return functional.mse_loss(model(batch[0]), batch[1])
