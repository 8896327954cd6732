"""The costs and their errors, also where outputs saturate."""

import numpy as np
import pytest
import torch

from undertow.lab import Ensemble
from undertow.lab.costs import COSTS, SOFTMAX
from undertow.lab.kernels import kernel


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("z", [-1e4, -40.0, 0.0, 40.0, 1e4])
def test_no_cost_and_no_error_overflows_where_outputs_saturate(cost: str, z: float) -> None:
    output = COSTS[cost].output or "sigmoid"
    phi = SOFTMAX if output == "softmax" else kernel(output)
    rows = torch.tensor([[[z, 0.0, -z]]], dtype=torch.float64)
    a, delta = torch.empty_like(rows), torch.empty_like(rows)
    phi.value(rows, a)
    COSTS[cost].delta(rows, a, torch.tensor([[1.0, 0.0, 0.0]]), phi, delta)
    assert COSTS[cost].value(rows, a, torch.tensor([[1.0, 0.0, 0.0]])).isfinite().all()
    assert delta.abs().max() <= 1


@pytest.mark.parametrize("z", [1.0, 15.0, 25.0, 36.0, 100.0, 700.0])
def test_the_cross_entropy_of_a_saturated_output(z: float) -> None:
    """-ln σ(z) = ln(1 + e^-z), where σ(z) has long been rounded to 1."""
    nets = Ensemble([1, 1], initializer="constant", dtype=torch.float64)
    assert nets.loss([[z]], [[1.0]]).item() == pytest.approx(np.log1p(np.exp(-z)), rel=1e-12)
    assert nets.loss([[z]], [[0.0]]).item() == pytest.approx(z + np.log1p(np.exp(-z)), rel=1e-12)
