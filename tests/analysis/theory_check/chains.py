"""Networks of which theory has something to say, and what it says. Not a test itself."""

import torch
from torch import nn
from torch.nn import functional

from undertow.examination import examine

WIDTH = 64


def initialised(layer, gain):
    nn.init.normal_(layer.weight, std=gain * layer.weight[0].numel() ** -0.5)
    nn.init.normal_(layer.bias, std=0.1)
    return layer


def chain(activation, depth, gain, seed=0, width=WIDTH, out=4):
    torch.manual_seed(seed)
    layers = []
    for _ in range(depth):
        layers += [initialised(nn.Linear(width, width), gain), activation()]
    return nn.Sequential(*layers, initialised(nn.Linear(width, out), 1.0))


def theory_of(model, *shape, rows=64, scale=1.0, shift=0.0):
    generator = torch.Generator().manual_seed(9)
    x = shift + scale * torch.randn(rows, *(shape or (WIDTH,)), generator=generator)
    y = torch.randint(0, 4, (rows,), generator=generator)

    def compute_loss():
        out = model(x)
        return functional.cross_entropy(out, y) if out.dim() == 2 and out.shape[1] == 4 else out.square().mean()

    return examine(model, compute_loss).theory


def correlated():
    """Its first layer segments what all features have in common."""
    net = chain(nn.Tanh, 4, 1.0, width=256)
    with torch.no_grad():
        net[0].weight.add_(torch.outer(torch.randn(256), torch.full((256,), 1 / 16)))
    return net
