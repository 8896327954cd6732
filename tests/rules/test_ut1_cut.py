"""UT109: gradients that one operation makes zero of."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from rules.fitting import (  # noqa: F401
    Attends,
    Examples,
    Func,
    Sequence,
    alarms,
    classified,
    cross_entropy_of,
    mlp,
    regressed,
    sequences,
    test_fires,
    test_fires_in_a_watched_run,
    test_stays_silent,
    test_stays_silent_in_a_watched_run,
)

EXAMPLES = Examples()
fires, silent = EXAMPLES.fires, EXAMPLES.silent


class Gate(nn.Module):
    """x + gate(y) * y, where the gate ends in zeros."""

    def __init__(self, first_zero, act=nn.ReLU, bias=False):
        super().__init__()
        torch.manual_seed(0)
        self.mix = nn.Linear(6, 6)
        self.gate = nn.Sequential(nn.Linear(6, 6, bias=bias), act(), nn.Linear(6, 6, bias=bias), nn.Tanh())
        self.head = nn.Linear(6, 4)
        for layer in (self.gate[2], *([self.gate[0]] if first_zero else [])):
            for p in layer.parameters():
                nn.init.zeros_(p)

    def forward(self, x):
        y = self.mix(x)
        return self.head(x + self.gate(y) * y)


fires("UT109")(lambda: cross_entropy_of(Gate(True)))
fires("UT109")(lambda: cross_entropy_of(Gate(True, nn.Tanh)))
fires("UT109")(lambda: cross_entropy_of(Gate(True, bias=True)))
silent("UT109")(lambda: cross_entropy_of(Gate(False)))
silent("UT109")(lambda: cross_entropy_of(Gate(False, bias=True)))


class LowRank(nn.Module):
    def __init__(self, both_zero, merged=False, n=6):
        super().__init__()
        torch.manual_seed(0)
        self.base, self.head, self.merged = nn.Linear(n, n), nn.Linear(n, 4), merged
        self.base.requires_grad_(False)
        self.a, self.b = nn.Parameter(torch.randn(2, n)), nn.Parameter(torch.zeros(n, 2))
        if both_zero:
            nn.init.zeros_(self.a)

    def forward(self, x):
        if self.merged:
            return self.head(torch.relu(functional.linear(x, self.base.weight + self.b @ self.a)))
        return self.head(torch.relu(self.base(x) + x @ self.a.T @ self.b.T))


for merged in (False, True):
    fires("UT109")(lambda merged=merged: cross_entropy_of(LowRank(True, merged)))
    silent("UT109")(lambda merged=merged: cross_entropy_of(LowRank(False, merged)))


class ScaledBranch(nn.Module):
    """x + scale * branch(x), the scale and the branch's last layer zero or not."""

    def __init__(self, scale, last):
        super().__init__()
        torch.manual_seed(0)
        self.branch, self.head = mlp(6, 6), nn.Linear(6, 4)
        self.scale = nn.Parameter(torch.full((6,), scale))
        if last == 0:
            nn.init.zeros_(self.branch[-1].weight)
            nn.init.zeros_(self.branch[-1].bias)

    def forward(self, x):
        return self.head(x + self.scale * self.branch(x))


fires("UT109")(lambda: cross_entropy_of(ScaledBranch(0.0, 0)))
silent("UT109")(lambda: cross_entropy_of(ScaledBranch(0.0, 1)))
silent("UT109")(lambda: cross_entropy_of(ScaledBranch(1.0, 0)))


def cut_by(after, n_out=4):
    return cross_entropy_of(Func(mlp(n_out=n_out), after))


fires("UT109")(lambda: cut_by(lambda z: z.clamp(50, 60)))
fires("UT109")(lambda: cut_by(torch.round))
fires("UT109")(lambda: cut_by(torch.sign))


class Rounded(nn.Module):
    """Weights that are rounded before they are multiplied; ``through``: the gradient passes straight through that."""

    def __init__(self, through):
        super().__init__()
        torch.manual_seed(0)
        self.weight, self.through = nn.Parameter(torch.randn(4, 6)), through

    def forward(self, x):
        rounded = self.weight.round()
        return x @ (self.weight + (rounded - self.weight).detach() if self.through else rounded).T


fires("UT109")(lambda: cross_entropy_of(nn.Sequential(Rounded(False), nn.ReLU(), nn.Linear(4, 4))))
silent("UT109")(lambda: cross_entropy_of(nn.Sequential(Rounded(True), nn.ReLU(), nn.Linear(4, 4))))
silent("UT109")(lambda: cross_entropy_of(nn.Sequential(nn.Linear(6, 4, bias=False)), x=torch.zeros(12, 6)))


class Hooked(nn.Module):
    """A hook on what the head is given."""

    def __init__(self, factor):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head, self.factor = nn.Linear(6, 5), nn.Linear(5, 4), factor

    def forward(self, x):
        z = torch.tanh(self.body(x))
        if z.requires_grad:
            z.register_hook(lambda gradient: self.factor * gradient)
        return self.head(z)


fires("UT109")(lambda: cross_entropy_of(Hooked(0.0)))
silent("UT109")(lambda: cross_entropy_of(Hooked(0.5)))
fires("UT109")(lambda: cut_by(lambda z: torch.relu(z - 50)))
fires("UT109")(lambda: cut_by(lambda z: functional.relu6(z + 50)))
fires("UT109")(lambda: cut_by(lambda z: torch.sigmoid(z + 300)))
fires("UT109")(lambda: classified(lambda z: z, nn.CrossEntropyLoss(), n_out=1, labels=lambda y: y * 0))
fires("UT109")(lambda: cross_entropy_of(nn.Sequential(nn.Linear(6, 1), nn.LayerNorm(1), nn.Linear(1, 4))))
fires("UT109")(lambda: regressed(functional.mse_loss, (12, 1), after=lambda z: functional.relu(z - 100)))
silent("UT109")(lambda: cut_by(torch.relu))
silent("UT109")(lambda: cut_by(lambda z: z + (z.round() - z).detach()))


class ZeroHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = mlp()
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)

    def forward(self, x):
        return self.net(x)


silent("UT109")(lambda: cross_entropy_of(ZeroHead()))


class ZeroQueries(Attends):
    def __init__(self):
        super().__init__()
        nn.init.zeros_(self.q.weight)
        nn.init.zeros_(self.q.bias)


silent("UT109")(lambda: sequences(ZeroQueries()))


class DeadInputs(nn.Module):
    """One of two inputs is always zero: its layer without bias gets no gradient, and that's the data's doing."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.head = nn.Linear(6, 6), nn.Linear(6, 6, bias=False), nn.Linear(6, 4)

    def forward(self, x):
        return self.head(torch.tanh(self.a(x) + self.b(torch.zeros_like(x))))


silent("UT109")(lambda: cross_entropy_of(DeadInputs()))
silent("UT109")(lambda: sequences(Sequence(nn.LSTM, after=lambda h: h[:, -1], batch_first=True), steps=1))

CASES = EXAMPLES.by_code


@pytest.mark.parametrize(("norm", "told"), [(nn.InstanceNorm2d(6), True), (nn.BatchNorm2d(6), False)])
def test_a_mean_over_what_a_normalisation_made_is_told_though_rounding_leaves_something(norm, told):
    torch.manual_seed(0)
    pooled = nn.Sequential(nn.Conv2d(1, 6, 3), norm, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
    x, y = torch.randn(12, 1, 9, 9), torch.arange(12) % 3
    assert ("UT109" in alarms(lambda: (pooled, lambda: functional.cross_entropy(pooled(x), y), None))) is told


class Experts(nn.Module):
    """Two layers put together, of which one is looked at; or all, by weights that are zero for one of them."""

    def __init__(self, chosen, zero=False):
        super().__init__()
        torch.manual_seed(0)
        self.parts, self.chosen = nn.ModuleList(nn.Linear(6, 6) for _ in range(2)), chosen
        self.head = nn.Linear(6 if chosen else 12, 4)
        if zero:
            nn.init.zeros_(self.head.weight[:, 6:])

    def forward(self, x):
        made = [part(x) for part in self.parts]
        return self.head(torch.stack(made, 1)[torch.arange(len(x)), 0] if self.chosen else torch.cat(made, 1))


silent("UT109")(lambda: cross_entropy_of(Experts(True)))
silent("UT109")(lambda: cross_entropy_of(Experts(False, zero=True)))


@silent("UT109")
def penalised():
    """A critic of leaky ReLUs with a gradient penalty: its biases cancel in a difference of means, slopes have none."""
    torch.manual_seed(0)
    critic, x = nn.Sequential(nn.Linear(4, 4), nn.LeakyReLU(0.2), nn.Linear(4, 1)), torch.ones(6, 4, requires_grad=True)

    def loss():
        (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
        return critic(x.detach() + 1e-3).mean() - critic(x).mean() + (slope.norm(dim=1) - 1).square().mean()

    return critic, loss


def solved(act, second=True):
    """An equation's residual, by a network's second derivative or its first."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 8), act(), nn.Linear(8, 8), act(), nn.Linear(8, 1))
    x = torch.linspace(0, 1, 16)[:, None].requires_grad_()

    def loss():
        (slope,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
        held = torch.autograd.grad(slope.sum(), x, create_graph=True)[0] if second else slope
        return (held + torch.sin(3 * x)).square().mean() + net(torch.zeros(2, 1)).square().mean()

    return net, loss, torch.optim.SGD(net.parameters(), 0.01)


fires("UT109")(lambda: solved(nn.ReLU))
silent("UT109")(lambda: solved(nn.Tanh))
silent("UT109")(lambda: solved(nn.ReLU, second=False))


def coded(draw, scored=False):
    """A latent code, drawn by what an encoder returns: its reconstruction, and its distance from a prior."""
    torch.manual_seed(0)
    net, x = nn.ModuleDict({"in": nn.Linear(6, 4), "out": nn.Linear(4, 6)}), torch.randn(12, 6)

    def loss():
        code = torch.distributions.Normal(net["in"](x), 0.5 + 0 * net["in"](x).exp())
        z = getattr(code, draw)()
        missed = (net["out"](z) - x).square().mean(1)
        own = (code.log_prob(z).sum(1) * missed.detach()).mean() if scored else code.mean.square().mean()
        return missed.mean() + own

    return net, loss, torch.optim.SGD(net.parameters(), 0.01)


fires("UT109")(lambda: coded("sample"))
silent("UT109")(lambda: coded("rsample"))
silent("UT109")(lambda: coded("sample", scored=True))
