"""A gate around every layer."""

import copy

import torch
from torch import nn
from torch.nn import functional

from remedies import patients
from undertow.remedies import Remedy, apply


def test_a_closed_gate_hands_on_what_it_is_given():
    training = patients.classes(patients.mlp, 6)
    model = patients.made(apply(Remedy("UR303"), training))
    x = training.sample(1)[0][0]
    assert torch.equal(model[:6](x), model[:2](x))


class Stack(nn.Module):
    """Layers whose activations are functions, with a sum over neighbours between them."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        for layer in self.layers:
            x = torch.sigmoid(layer(x)).roll(1, 0)
        return self.head(x)


def test_a_gate_goes_around_all_that_is_between_two_layers():
    training = patients.classes(Stack, 6)
    model = patients.made(apply(Remedy("UR303"), training))
    x = training.sample(1)[0][0]
    assert torch.allclose(model(x), model.head(x))
    model.layers[1].residual.gate.data += 1
    assert torch.allclose(
        model(x),
        model.head(x + torch.sigmoid(functional.linear(x, model.layers[1].weight, model.layers[1].bias)).roll(1, 0)),
    )
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert torch.equal(copy.deepcopy(model)(x), model(x))
