"""The derivative of every activation of torch's, in place or not, against what autograd passes on."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from undertow.examination import examine
from undertow.record import Role

KINDS = {
    "celu": lambda z, inplace: functional.celu(z, 1.5, inplace),
    "elu": lambda z, inplace: functional.elu(z, 0.7, inplace),
    "leaky_relu": lambda z, inplace: functional.leaky_relu(z, 0.2, inplace),
    "selu": functional.selu,
    "relu": functional.relu,
    "relu6": functional.relu6,
    "silu": functional.silu,
    "mish": functional.mish,
    "hardswish": functional.hardswish,
    "hardsigmoid": functional.hardsigmoid,
    "hardtanh": lambda z, inplace: functional.hardtanh(z, -0.5, 0.7, inplace),
    "clamp": lambda z, inplace: z.clamp_(-0.5, 0.7) if inplace else z.clamp(-0.5, 0.7),
    "clamp at 0": lambda z, inplace: z.clamp_(min=0) if inplace else z.clamp_min(0),
    "threshold": lambda z, inplace: functional.threshold(z, 0.1, 0.0, inplace),
    "rrelu": lambda z, inplace: functional.rrelu(z, training=True, inplace=inplace),
    "rrelu in evaluation": lambda z, inplace: functional.rrelu(z, training=False, inplace=inplace),
    "tanh": lambda z, inplace: z.tanh_() if inplace else z.tanh(),
    "sigmoid": lambda z, inplace: z.sigmoid_() if inplace else z.sigmoid(),
}
ONLY_APART = {
    "softshrink": lambda z: functional.softshrink(z, 0.3),
    "hardshrink": lambda z: functional.hardshrink(z, 0.3),
    "glu": functional.glu,
    "glu of other units": lambda z: functional.glu(z, 1),
    "gelu": functional.gelu,
    "softplus": lambda z: functional.softplus(z, 2.0),
    "logsigmoid": functional.logsigmoid,
}
EVERY = [
    *(pytest.param(lambda z, f=f, i=i: f(z, i), id=f"{name}{'_' * i}") for name, f in KINDS.items() for i in (0, 1)),
    *(pytest.param(f, id=name) for name, f in ONLY_APART.items()),
]


class Net(nn.Module):
    def __init__(self, phi, dtype):
        super().__init__()
        self.phi, self.below, self.above = phi, nn.Linear(6, 8, dtype=dtype), nn.LazyLinear(3, dtype=dtype)

    def forward(self, x):
        return self.above(self.phi(self.below(x)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("phi", EVERY)
def test_the_derivative_explains_the_whole_factor(phi, dtype):
    torch.manual_seed(0)
    net, x = Net(phi, dtype), torch.randn(5, 6, dtype=dtype) * 2
    net(x)
    report = examine(net, lambda: net(x).square().mean())
    site = next(site for site in report.run.sites if site.role is Role.ACTIVATION)
    reading = report.run.reading(site.index)
    passed = reading.grad_input / reading.grad_output
    assert reading.derivative_rms * reading.alignment_phi == pytest.approx(passed, rel=1e-5)
    assert reading.derivative_rms > 0


@pytest.mark.parametrize("rows", [(20,), (5, 4)])
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("kind", [nn.ReLU, nn.ReLU6, nn.ELU, nn.CELU, nn.SELU, nn.SiLU, nn.Hardswish, nn.LeakyReLU])
def test_modules_are_activations_in_place_and_on_positions_too(kind, inplace, rows):
    """Autograd notes what is written over a view as a copy of slices, whatever it was."""
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(6, 8), kind(inplace=inplace), nn.Linear(8, 3)), torch.randn(*rows, 6)
    report = examine(net, lambda: net(x).square().mean())
    layers = [(site.module, site.role.value) for site in report.run.sites if site.module]
    assert layers == [("2", "weight"), ("1", "activation"), ("0", "weight")]
    apart = nn.Sequential(net[0], kind(), net[2])
    plain = examine(apart, lambda: apart(x).square().mean())
    for gain, same in zip(report.gains, plain.gains, strict=True):
        assert gain.factors == pytest.approx(dict(same.factors), rel=1e-5)


@pytest.mark.parametrize("learned", [1, 8])
def test_prelu(learned):
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(6, 8), nn.PReLU(learned, init=-0.4), nn.Linear(8, 2)), torch.randn(5, 6)
    report = examine(net, lambda: net(x).square().mean())
    reading = report.run.reading(next(site.index for site in report.run.sites if site.role is Role.ACTIVATION))
    z = net[0](x)
    slopes = torch.where(z > 0, 1.0, -0.4)
    assert reading.derivative_rms == pytest.approx(slopes.square().mean().sqrt().item(), rel=1e-5)
    assert all(gain.factors["unattributed"] == pytest.approx(1, rel=1e-4) for gain in report.gains)
    assert reading.dead == 0


@pytest.mark.parametrize(
    ("phi", "off"),
    [(functional.hardshrink, 0.0), (functional.softshrink, 0.0), (functional.celu, -20.0), (functional.elu, -20.0)],
)
def test_units_that_are_off_are_counted(phi, off):
    net, x = nn.Sequential(nn.Linear(6, 8)), torch.randn(30, 6)
    with torch.no_grad():
        net[0].weight.mul_(0.01)
        net[0].bias.copy_(torch.tensor([off] * 6 + [9.0] * 2))
    run = examine(net, lambda: phi(net(x)).square().mean()).run
    dead = run.column("dead")[next(site.index for site in run.sites if site.role is Role.ACTIVATION)]
    assert dead == 0.75
