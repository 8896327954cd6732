"""UT502: tensors that nobody trains, and inputs whose gradient is asked for."""

import torch
from torch import nn
from torch.nn import functional

from rules.fitting import (  # noqa: F401
    Examples,
    adam,
    batch,
    cross_entropy_of,
    mlp,
    test_fires,
    test_stays_silent,
)

EXAMPLES = Examples()
fires, silent = EXAMPLES.fires, EXAMPLES.silent


class Listed(nn.Module):
    def __init__(self, keep=list, parts=2):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.head = nn.Linear(6, 6), nn.Linear(6, 4)
        self.parts = keep(nn.Linear(6, 6) for _ in range(parts))

    def forward(self, x):
        x = self.stem(x)
        for part in self.parts.values() if hasattr(self.parts, "values") else self.parts:
            x = torch.relu(part(x))
        return self.head(x)


fires("UT502")(lambda: cross_entropy_of(Listed()))
fires("UT502")(lambda: cross_entropy_of(Listed(tuple)))
fires("UT502")(lambda: cross_entropy_of(Listed(lambda parts: dict(enumerate(parts)))))
fires("UT502")(
    lambda: cross_entropy_of(Listed(lambda parts: {"deep": [list(parts)]})) if False else cross_entropy_of(Listed())
)
silent("UT502")(lambda: cross_entropy_of(Listed(nn.ModuleList)))


class Attribute(nn.Module):
    def __init__(self, made=False, registered=False, add=False, layer=False):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(6, 4)
        self.made, self.add, self.layer = made, add, layer
        w = torch.randn(6) if add else torch.randn(6, 6)
        self.w = nn.Parameter(w) if registered else w.requires_grad_()

    def forward(self, x):
        if self.layer:
            return self.head(torch.relu(nn.Linear(6, 6)(x)))
        w = torch.randn(6, 6, requires_grad=True) if self.made else self.w
        return self.head(x + w if self.add else torch.relu(x @ w))


fires("UT502")(lambda: cross_entropy_of(Attribute()))
fires("UT502")(lambda: cross_entropy_of(Attribute(made=True)))
fires("UT502")(lambda: cross_entropy_of(Attribute(add=True)))
fires("UT502")(lambda: cross_entropy_of(Attribute(layer=True)))
silent("UT502")(lambda: cross_entropy_of(Attribute(registered=True)))


@silent("UT502")
def held_by_the_optimizer():
    model = Attribute()
    return cross_entropy_of(model, optimizer=torch.optim.SGD([*model.parameters(), model.w], 0.1))


@silent("UT502")
def gradient_by_inputs():
    model, (x, y) = mlp(), batch()

    def loss():
        points = x.clone().requires_grad_()
        out = model(points)
        slope = torch.autograd.grad(out.sum(), points, create_graph=True)[0]
        return functional.cross_entropy(out, y) + (slope.norm(dim=1) - 1).square().mean()

    return model, loss, adam(model)


class Physics(nn.Module):
    """Keeps the points at which the derivative of its output is wanted."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.t, self.s = (
            mlp(2, 1, nn.Tanh),
            torch.rand(9, 1, requires_grad=True),
            torch.rand(9, 1).requires_grad_(),
        )

    def loss(self):
        u = self.net(torch.cat([self.t, self.s], 1))
        return (torch.autograd.grad(u.sum(), self.t, create_graph=True)[0] + u).square().mean()


@silent("UT502")
def physics():
    model = Physics()
    return model, model.loss, adam(model)


class FirstState(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.lstm, self.head = nn.LSTM(6, 5, batch_first=True), nn.Linear(5, 4)

    def forward(self, x):
        h = torch.zeros(1, x.shape[0], 5).requires_grad_()
        c = torch.zeros(1, x.shape[0], 5).requires_grad_()
        return self.head(self.lstm(x, (h, c))[0][:, -1])


@silent("UT502")
@silent("UT506")
def state_that_asks_for_gradient():
    return cross_entropy_of(FirstState(), x=torch.randn(12, 7, 6))


@silent("UT502")
@silent("UT507")
def adversary():
    generator, critic = mlp(), mlp(4, 1)
    x, _ = batch()
    return generator, lambda: functional.softplus(-critic(generator(x))).mean(), adam(generator)


CASES = EXAMPLES.by_code
