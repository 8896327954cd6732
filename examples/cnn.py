"""A convolutional network of sigmoids: the gradient fades on its way to the first layer (UT301).

With --mended it has ReLU, and weights drawn for it (He).
"""

import sys
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

import undertow

MENDED = "--mended" in sys.argv


def network() -> nn.Sequential:
    """Return seven convolutions and an output layer."""
    activation = nn.ReLU if MENDED else nn.Sigmoid
    layers: list[nn.Module] = []
    for n, m in pairwise([3, *7 * [16]]):
        layers += [nn.Conv2d(n, m, 3, padding=1), activation()]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 4))
    for module in net.modules():
        if MENDED and isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
    return net


torch.manual_seed(0)
images = torch.randn(64, 3, 12, 12)
labels = images[:, 0].flatten(1)[:, :4].argmax(1)
model = network()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
print(undertow.examine(model, lambda: functional.cross_entropy(model(images), labels), optimizer))
