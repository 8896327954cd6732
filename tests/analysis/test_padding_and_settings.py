"""Theory takes convolutions as they are set, activations with their settings, and what only hands gradient on for 1."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from undertow.analysis.theory_check.activations import known
from undertow.examination import examine

SETTINGS = {
    "as large as before": {"kernel_size": 3, "padding": 1},
    "without padding": {"kernel_size": 3},
    "strided": {"kernel_size": 3, "stride": 2, "padding": 1},
    "wide and strided": {"kernel_size": 5, "stride": 2, "padding": 2},
    "very wide": {"kernel_size": 7, "stride": 3, "padding": 3},
    "dilated": {"kernel_size": 3, "padding": 2, "dilation": 2},
    "dilated and strided": {"kernel_size": 3, "stride": 2, "padding": 2, "dilation": 2},
    "one side only": {"kernel_size": (1, 5), "padding": (0, 2)},
    "padded beyond need": {"kernel_size": 3, "padding": 3},
}


def stack(settings, side, dtype, channels=48):
    layers = [nn.Conv2d(3, channels, 3, padding=1), nn.ReLU()]
    for _ in range(2):
        layers += [nn.Conv2d(channels, channels, **settings), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(10)).to(dtype), torch.randn(
        12, 3, side, side, dtype=dtype
    )


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("side", [9, 12])
@pytest.mark.parametrize("name", SETTINGS)
def test_fresh_convolutions_do_what_theory_expects(name, side, seed):
    """The layers' own factor, with nothing else in it: the weights are independent of the gradient."""
    torch.manual_seed(seed)
    net, x = stack(SETTINGS[name], side, torch.float32)
    net(x)
    report = examine(net, lambda: functional.cross_entropy(net(x), torch.arange(12) % 10))
    layers = [site for site in report.run.sites if site.op == "convolution"][:2]
    for site in layers:
        aligned = report.run.reading(site.index).alignment_w
        assert np.log10(aligned) - np.log10(site.inside) / 2 == pytest.approx(0, abs=0.04)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_part_inside_is_counted(name):
    """Ones convolved with ones count the products that are made with numbers and not with padding."""
    torch.manual_seed(0)
    settings = SETTINGS[name]
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, **settings, bias=False))
    x = torch.rand(1, 1, 11, 13)
    run = examine(net, lambda: net(x).square().mean()).run
    counted = functional.conv2d(torch.ones(1, 1, 11, 13), torch.ones_like(net[1].weight), None, net[1].stride,
                                net[1].padding, net[1].dilation)  # fmt: skip
    site = next(site for site in run.sites if site.module == "1")
    assert site.inside == pytest.approx(counted.mean().item() / net[1].weight.numel())


ACTIVATIONS = {
    "elu(0.7)": lambda z: functional.elu(z, 0.7),
    "celu": functional.celu,
    "celu(1.5)": lambda z: functional.celu(z, 1.5),
    "softshrink": functional.softshrink,
    "softshrink(0.2)": lambda z: functional.softshrink(z, 0.2),
    "hardshrink": functional.hardshrink,
    "hardshrink(0.3)": lambda z: functional.hardshrink(z, 0.3),
    "leaky_relu(0.3)": lambda z: functional.leaky_relu(z, 0.3),
    "hardtanh(-1, 2)": lambda z: functional.hardtanh(z, -1, 2),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_torchs(name):
    z = torch.linspace(-4, 4, 402, dtype=torch.float64, requires_grad=True)
    value = ACTIVATIONS[name](z)
    (slope,) = torch.autograd.grad(value.sum(), z)
    phi = known(name)
    np.testing.assert_allclose(phi.value(z.detach().numpy()), value.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(phi.derivative(z.detach().numpy()), slope.numpy(), atol=1e-12)
    assert phi.peak >= slope.abs().max().item() - 1e-12


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_theory_covers_them(name):
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(4))
            self.head = nn.Linear(64, 5)

        def forward(self, x):
            for layer in self.layers:
                x = ACTIVATIONS[name](layer(x))
            return self.head(x)

    net, x = Net(), 2 * torch.randn(64, 64)
    with torch.no_grad():
        for layer in net.layers:
            layer.weight.normal_(0, 1.5 / 8)
    theory = examine(net, lambda: functional.cross_entropy(net(x), torch.arange(64) % 5)).diagnosis.theory
    assert len(theory.covered) == len(theory.predictions) == 4
    assert not theory.deviates


class Readers(nn.Module):
    """A reshape, or an addition of a bias, whose result several read."""

    def __init__(self, hand_on):
        super().__init__()
        self.first, self.left, self.right = nn.Linear(32, 64), nn.Linear(64, 32), nn.Linear(64, 32)
        self.bias, self.hand_on = nn.Parameter(torch.zeros(64)), hand_on

    def forward(self, x):
        h = self.hand_on(self, torch.relu(self.first(x)))
        return self.left(h) + self.right(h)


@pytest.mark.parametrize(
    "hand_on",
    [
        lambda _, h: h.view(5, 4, 64),
        lambda _, h: h.view(4, 5, 64).transpose(0, 1),
        lambda net, h: h + net.bias,
        lambda _, h: h.unsqueeze(1),
    ],
)
def test_what_hands_gradient_on_is_not_in_theorys_way(hand_on):
    torch.manual_seed(0)
    net, x = Readers(hand_on), torch.randn(20, 32)
    report = examine(net, lambda: net(x).square().mean())
    told = " ".join(report.diagnosis.theory.reasons)
    assert not any(op in told for op in ("view", "transpose", "add", "squeeze"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_made_of_others_are_taken_as_they_are(dtype):
    """Under weight norm the gain is [n, 1]: theory must not take a layer of 48 inputs for one of one."""
    torch.manual_seed(0)
    layers = [nn.Linear(48, 48), nn.Tanh(), weight_norm(nn.Linear(48, 48)), nn.Tanh(), weight_norm(nn.Linear(48, 5))]
    net, x = nn.Sequential(*layers).to(dtype), torch.randn(64, 48, dtype=dtype)
    theory = examine(net, lambda: functional.cross_entropy(net(x), torch.arange(64) % 5)).diagnosis.theory
    plain = nn.Sequential(nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 5)).to(dtype)
    same = examine(plain, lambda: functional.cross_entropy(plain(x), torch.arange(64) % 5)).diagnosis.theory
    assert [each.expected for each in theory.predictions] == pytest.approx(
        [each.expected for each in same.predictions], abs=0.05
    )
    assert [each.spread for each in theory.predictions] == pytest.approx(
        [each.spread for each in same.predictions], rel=0.1
    )


def test_weights_out_of_reach_are_said_to_be():
    torch.manual_seed(0)
    net, x = nn.Sequential(weight_norm(nn.Linear(8, 8)), nn.Tanh(), nn.Linear(8, 2)), torch.randn(9, 8)
    theory = examine(net, lambda: net(x).square().mean()).diagnosis.theory
    assert theory.reasons == ("weights out of reach",)
