"""Activations are known with their settings, as torch computes them."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from undertow.activations import activation
from undertow.analysis.theory_check.activations import known
from undertow.examination import examine
from undertow.record import Role
from undertow.theory import functions


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (nn.SELU(), "selu"), (nn.ELU(), "elu"), (nn.ELU(0.5), "elu(0.5)"), (nn.LeakyReLU(), "leaky_relu"),
        (nn.LeakyReLU(0.2), "leaky_relu(0.2)"), (nn.ReLU6(), "hardtanh(0, 6)"), (nn.Hardtanh(), "hardtanh(-1, 1)"),
        (nn.Softplus(), "softplus"), (nn.Softplus(2.0), "softplus(2)"), (nn.Mish(), "mish"),
        (nn.Hardswish(), "hardswish"), (nn.Hardsigmoid(), "hardsigmoid"), (nn.GELU(), "gelu"),
    ],
)  # fmt: skip
def test_activations_are_named_with_their_settings_and_known_as_torch_computes_them(module, name):
    net, x = nn.Sequential(nn.Linear(6, 6), module, nn.Linear(6, 2)), torch.randn(5, 6)
    run = examine(net, lambda: net(x).square().mean()).run
    (site,) = (s for s in run.sites if s.role is Role.ACTIVATION)
    assert site.activation == name
    phi = known(name)
    if phi is None:
        assert name in ("elu(0.5)", "softplus(2)")
        return
    z = torch.linspace(-9, 9, 400, dtype=torch.float64, requires_grad=True)
    a = module(z)
    (slope,) = torch.autograd.grad(a.sum(), z)
    np.testing.assert_allclose(phi.value(z.detach().numpy()), a.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(phi.derivative(z.detach().numpy()), slope.numpy(), atol=1e-10)
    assert functions.from_function(phi.value).kinks == pytest.approx(phi.kinks, abs=1e-6)


def test_sine_is_known():
    class Sine(nn.Module):
        def forward(self, x):
            return torch.sin(x)

    net, x = nn.Sequential(nn.Linear(6, 6), Sine(), nn.Linear(6, 2)), torch.randn(5, 6)
    assert examine(net, lambda: net(x).square().mean()).theory.covered
    assert known("sin").derivative(0.0) == 1


def test_what_has_no_formula_is_not_known():
    assert known("glu") is None
    assert known("softplus(2)") is None
    assert known("tanh") is activation("tanh")
    net, x = nn.Sequential(nn.Linear(6, 6), nn.PReLU(), nn.Linear(6, 2)), torch.randn(5, 6)
    theory = examine(net, lambda: functional.mse_loss(net(x), x[:, :2])).theory
    assert theory.covered == ()
    assert theory.reasons == ("prelu_kernel",)
