"""Weights scaled by what they make of a batch, in layers of the user's own, too."""

import pytest
import torch
from torch import nn

from remedies import patients
from undertow.doctoring.screening import look
from undertow.remedies import Remedy, apply


class Own(nn.Module):
    """A layer that nobody else has written: weights the other way round, and a graph beside its input."""

    def __init__(self, given, made):
        super().__init__()
        self.kernel, self.shift = nn.Parameter(torch.randn(given, made) / given**0.5), nn.Parameter(torch.zeros(made))

    def forward(self, x, graph):
        return graph @ x @ self.kernel + self.shift


class Graph(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([Own(6, 5), *[Own(5, 5) for _ in range(8)], Own(5, 3)])

    def forward(self, x):
        graph = torch.full((len(x), len(x)), 1 / len(x)) + torch.eye(len(x))
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x, graph))
        return self.layers[-1](x, graph)


@pytest.mark.parametrize("code", ["UR203", "UR302", "UR303"])
def test_layers_of_the_users_own_are_layers(code):
    training = patients.classes(Graph, 6)
    assert look(training, (Remedy(code),)).error == ""
    remedy = Remedy(code).written_for(training)
    applied, (pasted, _) = patients.made(apply(remedy, training)), patients.pasted(remedy.snippet, training)
    x = training.sample(1)[0][0]
    if code != "UR203":  # its snippet for any model knows torch's layers
        assert torch.allclose(applied(x), pasted(x), atol=1e-5)
    treated = patients.made(apply(Remedy(code), training))
    treated(x).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in treated.parameters())
