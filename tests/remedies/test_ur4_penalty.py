"""A penalty that hides the data's gradient."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from remedies import patients
from remedies.treating import codes
from undertow.remedies import Remedy, apply


class Weighing(nn.Module):
    """Takes the size of its own weights, which is no penalty."""

    def __init__(self):
        super().__init__()
        self.weight, self.head = nn.Parameter(torch.randn(5, 6)), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(torch.tanh(functional.linear(x, self.weight / self.weight.norm())))


@pytest.mark.parametrize(
    "size",
    [
        lambda p: p.abs().sum(), lambda p: (p**2).sum(), lambda p: p.pow(2).sum(), lambda p: (p * p).sum(),
        lambda p: p.norm(), lambda p: torch.linalg.vector_norm(p), lambda p: torch.cat([p.view(-1)] * 2).norm(1),
    ],
)  # fmt: skip
def test_a_penalty_has_no_gradient_and_the_data_have_theirs(size):
    def loss(model, batch):
        return patients.class_loss(model, batch) + 3 * sum(size(p) for p in model.parameters())

    well = replace(patients.classes(Weighing, 6), score=patients.closeness)
    ill = replace(well, loss=loss)
    assert "UR417" in codes(ill)
    assert "UR417" not in codes(well)
    gradients = []
    for training in (well, apply(Remedy("UR417"), ill)):
        model = patients.made(training)
        training.loss(model, training.sample(1)[0]).backward()
        gradients.append([p.grad for p in model.parameters()])
        assert not model._forward_hooks
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))
