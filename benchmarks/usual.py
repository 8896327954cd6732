"""The loop that everybody writes: nn.Sequential, autograd and torch.optim, on tensors that are in memory already."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from undertow.lab import Ensemble


class UsualLoop:
    """One network of sigmoids, trained by autograd on the cross-entropy with the book's weight decay."""

    def __init__(self, sizes: list[int], eta: float, decay: float, dtype: torch.dtype = torch.float32) -> None:
        self.sizes = sizes
        stack = [(nn.Linear(n_in, n_out, dtype=dtype), nn.Sigmoid()) for n_in, n_out in pairwise(sizes)]
        self.linears = [linear for linear, _ in stack]
        self.net = nn.Sequential(*(module for pair in stack for module in pair))
        self.cost = nn.BCELoss(reduction="sum")
        weights: dict[str, Any] = {"params": [linear.weight for linear in self.linears], "weight_decay": decay}
        biases: dict[str, Any] = {"params": [linear.bias for linear in self.linears]}
        self.optimizer = torch.optim.SGD([weights, biases], lr=eta)

    def start_from(self, nets: Ensemble, member: int = 0) -> None:
        """Take over a member's weights."""
        with torch.no_grad():
            for linear, layer in zip(self.linears, nets.layers, strict=True):
                linear.weight.copy_(layer.w[member])
                linear.bias.copy_(layer.b[member, 0])

    def train(self, x: Tensor, y: Tensor, batches: Iterable[Tensor]) -> None:
        """One step for every batch of indices."""
        for chosen in batches:
            self.optimizer.zero_grad()
            loss = self.cost(self.net(x[chosen]), y[chosen]) / len(chosen)
            loss.backward()
            self.optimizer.step()

    def accuracy(self, x: Tensor, labels: Tensor) -> float:
        with torch.no_grad():
            return float((self.net(x).argmax(-1) == labels).double().mean())
