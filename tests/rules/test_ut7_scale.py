"""UT706: inputs and targets out of scale, their standardised twins, and sizes that are nobody's trouble."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from rules.fitting import (  # noqa: F401
    Examples,
    alarms,
    test_fires,
    test_stays_silent,
)
from undertow import examine
from undertow.examination.forward_facts import ForwardFacts

EXAMPLES = Examples()
fires, silent = EXAMPLES.fires, EXAMPLES.silent


def data(n=64, features=8):
    g = torch.Generator().manual_seed(7)
    x = torch.randn(n, features, generator=g)
    return x, torch.tanh(x[:, :1]) * x[:, 1:2] + x[:, 2:3]


def fitted(of_x=lambda x: x, of_y=lambda y: y, optimizer=torch.optim.Adam, lr=1e-3, **options):
    """A network of three layers for regression."""
    torch.manual_seed(0)
    act, first, loss = options.get("act", nn.ReLU), options.get("first", ()), options.get("loss", functional.mse_loss)
    model = nn.Sequential(nn.Linear(8, 32), *first, act(), nn.Linear(32, 32), act(), nn.Linear(32, 1))
    x, y = data()
    x, y = of_x(x), of_y(y)
    return model, lambda: loss(model(x), y), optimizer(model.parameters(), lr)


SGD = {"optimizer": torch.optim.SGD, "lr": 0.01}


def uneven(x, wide):
    return torch.cat([wide * x[:, :4], x[:, 4:]], 1)


for options in ({}, SGD, {"act": nn.Tanh}):
    fires("UT706")(lambda options=options: fitted(of_y=lambda y: 200 * y, **options))
    fires("UT706")(lambda options=options: fitted(of_y=lambda y: 1e6 * y + 3e6, **options))
    fires("UT706")(lambda options=options: fitted(lambda x: x + 30, **options))
    fires("UT706")(lambda options=options: fitted(lambda x: 0.05 * x + 0.9, **options))
    fires("UT706")(lambda options=options: fitted(lambda x: 0.01 * x, **options))
    fires("UT706")(lambda options=options: fitted(lambda x: uneven(x, 100), **options))
    silent("UT706")(lambda options=options: fitted(**options))
    silent("UT706")(lambda options=options: fitted(lambda x: 3 * x + 1, lambda y: 5 * y, **options))
fires("UT706")(lambda: fitted(of_y=lambda y: 200 * y, loss=functional.l1_loss))
fires("UT706")(lambda: fitted(of_y=lambda y: 200 * y, loss=lambda o, t: (t - o).square().mean()))
fires("UT706")(lambda: fitted(of_y=lambda y: 0.01 * y))
fires("UT706")(lambda: fitted(lambda x: 200 * x))
fires("UT706")(lambda: fitted(lambda x: 100 * x, **SGD))
silent("UT706")(lambda: fitted(lambda x: 100 * x + 300, first=(nn.BatchNorm1d(32),)))
silent("UT706")(lambda: fitted(lambda x: 100 * x, act=nn.Tanh))
fires("UT706")(lambda: fitted(lambda x: 100 * x, act=nn.Tanh, **SGD))
fires("UT706")(lambda: fitted(lambda x: 100 * x + 100, act=nn.Sigmoid, **SGD))


def chosen(times=1.0, optimizer=torch.optim.SGD, lr=0.1, how="targets"):
    """A classifier whose targets sum to more than 1, or a policy whose rewards are as large, or a sum over examples."""
    torch.manual_seed(0)
    model, (x, _) = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 4)), data()
    y = x[:, :4].argmax(1)
    losses = {
        "targets": lambda z: -(times * functional.one_hot(y, 4) * z.log_softmax(1)).sum(1).mean(),
        "rewards": lambda z: -(times * torch.distributions.Categorical(logits=z).log_prob(y)).mean(),
        "sum": lambda z: functional.cross_entropy(z, y, reduction="sum" if times > 1 else "mean"),
        "truths": lambda z: times * functional.binary_cross_entropy_with_logits(z, functional.one_hot(y, 4).float()),
    }
    return model, lambda: losses[how](model(x)), optimizer(model.parameters(), lr)


for how in ("targets", "rewards", "sum", "truths"):
    fires("UT706")(lambda how=how: chosen(1000.0, how=how))
    silent("UT706")(lambda how=how: chosen(how=how))
    silent("UT706")(lambda how=how: chosen(1000.0, torch.optim.Adam, 1e-3, how))
    silent("UT706")(lambda how=how: chosen(1000.0, torch.optim.SGD, 1e-6, how))


def started(times, **options):
    """The last layer starts so many times as large as torch has it."""
    model, loss, optimizer = fitted(**options)
    with torch.no_grad():
        model[-1].weight.mul_(times)
    return model, loss, optimizer


for options in ({}, SGD):
    fires("UT706")(lambda options=options: started(200, **options))
    silent("UT706")(lambda options=options: started(5, **options))


class Placed(nn.Module):
    """Tokens with positions of some size added."""

    def __init__(self, size, words=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.places, self.words = nn.Embedding(20, 16), size * torch.randn(7, 16), words

    def forward(self, x):
        return self.table(x) * self.words + self.places


def placed(*sizes):
    return lambda: classified(Placed(*sizes), torch.randint(0, 20, (16, 7)))


fires("UT706")(placed(60.0))
fires("UT706")(placed(1.0, 0.02))
silent("UT706")(placed(1.0))
silent("UT706")(placed(0.02))


class Settled(nn.Module):
    """Steps towards a fixed point are made without gradient, and the last one with it: its input is no data."""

    def __init__(self):
        super().__init__()
        self.step = nn.Linear(16, 16)
        nn.init.constant_(self.step.bias, 3.0)
        nn.init.normal_(self.step.weight, 0.0, 0.01)

    def forward(self, x):
        state = torch.zeros_like(x)
        with torch.no_grad():
            for _ in range(3):
                state = self.step(state) + 0.01 * x
        return self.step(state) + x


@silent("UT706")
def settled():
    torch.manual_seed(0)
    model, x, y = nn.Sequential(Settled(), nn.Linear(16, 4)), torch.randn(32, 16), torch.randint(0, 4, (32,))
    return model, lambda: functional.cross_entropy(model(x), y), torch.optim.Adam(model.parameters(), 1e-3)


@silent("UT706")
def output_of_the_targets_size():
    model, _, optimizer = fitted()
    x, y = data()
    return model, lambda: functional.mse_loss(500 * model(x), 200 * y), optimizer


class Named(nn.Module):
    """Classifies what is looked up in a table, or images."""

    def __init__(self, stem):
        super().__init__()
        self.stem, self.head = stem, nn.Linear(16, 4)

    def forward(self, x):
        return self.head(torch.relu(self.stem(x)).flatten(2).mean(2) if x.dim() > 2 else self.stem(x).mean(1))


def classified(stem, x, **options):
    torch.manual_seed(0)
    model, y = Named(stem), torch.randint(0, 4, (len(x),))
    optimizer = options.get("optimizer", torch.optim.Adam)
    return model, lambda: functional.cross_entropy(model(x), y), optimizer(model.parameters(), options.get("lr", 1e-3))


def images(scale, offset=0.0):
    return scale * torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(3)) + offset


def convolution(*more):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3), *more)


fires("UT706")(lambda: classified(convolution(), images(255), optimizer=torch.optim.SGD, lr=0.01))
fires("UT706")(lambda: classified(convolution(), images(1 / 255)))
silent("UT706")(lambda: classified(convolution(), images(1)))
silent("UT706")(lambda: classified(convolution(), images(2, -1)))
silent("UT706")(lambda: classified(convolution(), images(255)))  # Adam doesn't mind
silent("UT706")(lambda: classified(convolution(nn.BatchNorm2d(16)), images(255), optimizer=torch.optim.SGD, lr=0.01))
silent("UT706")(lambda: classified(nn.Embedding(30_000, 16), torch.randint(0, 30_000, (16, 7))))


def counts(n=64, words=8):
    return torch.poisson(torch.tensor([20.0, 3, 1, 0.5, 0.2, 0.1, 0.1, 0.05]).expand(n, words))


silent("UT706")(lambda: fitted(lambda x: counts(len(x))))
silent("UT706")(lambda: fitted(lambda x: functional.one_hot(x.abs().argmax(1), 8).float()))

CASES = EXAMPLES.by_code


def test_an_error_is_what_can_not_be_learned():
    severities = [
        next(str(f.severity) for f in examine(*fitted(of_y=lambda y, t=t: t * y)).findings if f.code == "UT706")
        for t in (100.0, 1e6)
    ]
    assert severities == ["warning", "error"]


def test_outputs_that_a_dead_head_holds_far_off_are_left_to_what_cuts_it():
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(8, 1), nn.ReLU()), torch.randn(64, 8)
    nn.init.constant_(net[0].bias, -9.0)
    found = alarms(lambda: (net, lambda: functional.mse_loss((net(x) + 1e-6).log(), x[:, :1]), None))
    assert "UT109" in found
    assert "UT706" not in found


@pytest.mark.parametrize("width", [8, 7, 16])
def test_images_whose_first_column_is_empty_are_of_usual_scale(width):
    images = torch.rand(1024 // width, 1, 8 * 8, width, generator=torch.Generator().manual_seed(0))
    images[..., 0] = 0.0  # every so manyth pixel is in this column where the step between them divides the width
    with ForwardFacts() as seen:
        loss = nn.Conv2d(1, 2, 3)(images).mean()
    assert seen.of(loss)["data"][0]["spread"] == pytest.approx(images.std().item(), rel=0.05)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.inside, self.out = nn.Linear(32, 32), nn.Linear(32, 32)
        nn.init.kaiming_normal_(self.inside.weight)
        nn.init.kaiming_normal_(self.out.weight)

    def forward(self, x):
        return x + self.out(torch.relu(self.inside(x)))


@fires("UT706")
def summed():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), *(Block() for _ in range(8)), nn.Linear(32, 1))
    x, y = data()
    return model, lambda: functional.mse_loss(model(x), y), torch.optim.Adam(model.parameters(), 1e-3)


def test_outputs_that_branches_add_up_to_are_mended_in_the_branches():
    model, loss, optimizer = summed()
    found = next(each for each in examine(model, loss, optimizer).findings if each.code == "UT706")
    before = float(loss().detach())
    exec(found.snippet, {"model": model, "torch": torch, "nn": nn})  # noqa: S102  # it is what we tell to type
    assert "model[9]" not in found.snippet
    assert float(loss().detach()) < before / 10


def criticised(of_real):
    """A critic that tells data from what a generator makes at first: all alike, and far from zero."""
    torch.manual_seed(0)
    critic, (x, _) = nn.Sequential(nn.Linear(8, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1)), data()
    fake = 0.5 + 0.01 * x.flip(0)
    optimizer = torch.optim.RMSprop(critic.parameters(), 1e-3)
    return critic, lambda: critic(fake).mean() - critic(of_real(x)).mean(), optimizer


silent("UT706")(lambda: criticised(lambda x: x))
fires("UT706")(lambda: criticised(lambda x: 0.5 + 0.01 * x))
