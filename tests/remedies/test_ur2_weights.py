"""Weights that are drawn anew."""

import pytest
import torch
from torch import nn

from remedies import patients
from undertow.remedies import Remedy, apply


def test_variance_orthogonality_and_unit_outputs():
    wide = patients.classes(lambda: nn.Sequential(nn.Linear(300, 200), nn.ReLU(), nn.Linear(200, 3)), 300)
    he = patients.made(apply(Remedy("UR201", {"activation": "relu"}), wide))[0].weight
    assert float(he.detach().var()) * 300 == pytest.approx(2.0, rel=0.05)
    square = patients.made(apply(Remedy("UR202", {"activation": "tanh"}), wide))[0].weight
    assert torch.allclose(square @ square.T, torch.eye(200), atol=1e-4)
    treated = apply(Remedy("UR203"), wide)
    assert float(patients.made(treated)[0](wide.sample(1)[0][0]).detach().std()) == pytest.approx(1.0, abs=0.06)


def test_a_matrix_of_zeros_that_no_module_draws_is_drawn():
    class Zeros(nn.Module):
        def __init__(self):
            super().__init__()
            self.matrix, self.shift = nn.Parameter(torch.zeros(6, 3)), nn.Parameter(torch.zeros(3))

        def forward(self, x):
            return x @ self.matrix + self.shift

    model = patients.made(apply(Remedy("UR205"), patients.classes(Zeros, 6)))
    assert float(model.matrix.detach().std()) > 0.1
    assert not model.shift.any()
