"""More broken trainings that were written before anybody had tried the doctor on them: images, tokens, series, graphs.

Few of them are stacks of linear layers: that kind the clinic had enough of.
"""

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from patients.blind_networks import (
    Deep,
    Dropped,
    Forecast,
    Normed,
    Players,
    Recurrent,
    Stacked,
    Summing,
    Tokens,
    Transferred,
    Variational,
    keras_like,
)
from patients.unseen import Split, adam, classes, digits, images, loader, sgd
from patients.ward import Patient, in_pairs
from undertow.training import Training


def blind() -> Iterator[Patient]:
    """All of them."""
    return in_pairs("blind", (
        ("CNN", "C", evaluated_norms), ("CNN", "C", convolved_sigmoids), ("CNN", "A", frozen_features),
        ("CNN", "B", ten_convolutions), ("CNN", "A", pixels_and_rate), ("transformer", "C", twelve_post_norms),
        ("transformer", "D", masks_turned_round), ("transformer", "C", no_places),
        ("transformer", "A", rate_of_a_third),
        ("RNN", "B", exploding_recurrence), ("RNN", "D", series_of_hundreds), ("VAE", "D", collapsed),
        ("GAN", "D", sigmoid_of_the_critic), ("GNN", "C", summed_neighbours),
    ))  # fmt: skip


def _pixels(broken: bool) -> Split:
    x, y, u, v = images()
    return (x * 255, y, u * 255, v) if broken else (x, y, u, v)


def evaluated_norms(broken: bool) -> Training:
    """Evaluation mode while it is trained, on pixels as they come."""

    def loss(net: nn.Module, batch: Any) -> Tensor:
        net.train(not broken)
        return functional.cross_entropy(net(batch[0]), batch[1])

    return classes(_pixels(broken), Normed, sgd(0.01, 0.9), loss=loss, steps=200)


def convolved_sigmoids(broken: bool) -> Training:
    """A sigmoid behind every layer, under plain SGD."""
    act = nn.Sigmoid if broken else nn.ReLU
    return classes(images(), lambda: keras_like(act), sgd(0.01) if broken else adam(3e-3), size=32, steps=300)


def frozen_features(broken: bool) -> Training:
    """Features that nobody has trained before are frozen, as in transfer learning."""

    def make(net: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(filter(lambda p: p.requires_grad, net.parameters()), lr=1e-2)

    return classes(images(), lambda: Transferred(broken), make, size=32, steps=400)


def ten_convolutions(broken: bool) -> Training:
    """All weights N(0, 0.01), as it was once usual."""
    start = partial(nn.init.normal_, std=0.01) if broken else partial(nn.init.kaiming_normal_, nonlinearity="relu")
    return classes(images(), lambda: Deep(start), sgd(0.01, 0.9) if broken else adam(2e-3), size=32, steps=250)


def pixels_and_rate(broken: bool) -> Training:
    """Pixels as they come, and Adam's learning rate a hundred times its usual one."""

    def loss(net: nn.Module, batch: Any) -> Tensor:
        return functional.nll_loss(net(batch[0]), batch[1])

    return classes(_pixels(broken), Dropped, adam(0.1 if broken else 3e-3), size=32, loss=loss, steps=300)


def _rows() -> Split:
    x, y, u, v = digits()
    return x.view(-1, 8, 8), y, u.view(-1, 8, 8), v


def twelve_post_norms(broken: bool) -> Training:
    """Twelve blocks of one's own with the norm behind the sum, and no warm-up."""
    return classes(_rows(), lambda: Stacked(12, not broken), adam(4e-3 if broken else 1e-3), size=32, steps=200)


def rate_of_a_third(broken: bool) -> Training:
    """A learning rate as for SGD."""
    return classes(_rows(), lambda: Stacked(2, True), adam(0.3 if broken else 2e-3), size=32, steps=250)


@cache
def tokens(task: str) -> Split:
    """Sequences of tokens: which group has most, or which of two comes first."""
    draws = torch.Generator().manual_seed(8)
    many, length = 1400, 12
    x = torch.randint(4, 24, (many, length), generator=draws)
    if task == "order":
        y = torch.randint(2, (many,), generator=draws)
        places = torch.rand(many, length, generator=draws).argsort(1)[:, :2].sort(1).values
        every = torch.arange(many)
        x[every, places[:, 0]], x[every, places[:, 1]] = 1 + y, 2 - y
    else:
        y = torch.randint(4, (many,), generator=draws)
        own = torch.rand(many, length, generator=draws) < 0.45
        x = torch.where(own, 4 + 5 * y[:, None] + x % 5, x)
        long = torch.randint(5, length + 1, (many, 1), generator=draws)
        x = x.masked_fill(torch.arange(length) >= long, 0) if task == "padded" else x
    return x[:1000], y[:1000], x[1000:], y[1000:]


def masks_turned_round(broken: bool) -> Training:
    """The mask hides the tokens and shows the padding."""
    model = partial(Tokens, 4, deviation=0.3, turned=broken)
    return classes(tokens("padded"), model, adam(2e-3), size=32, steps=250)


def no_places(broken: bool) -> Training:
    """The order of tokens matters, and nothing tells their places."""
    return classes(
        tokens("order"), partial(Tokens, 2, deviation=0.3, places=not broken), adam(2e-3), size=32, steps=300
    )


@cache
def first_symbol() -> Split:
    """Noise in which only the first step tells the class, of three."""
    draws = torch.Generator().manual_seed(5)
    y = torch.randint(3, (1000,), generator=draws)
    x = 0.2 * torch.randn(1000, 25, 3, generator=draws)
    x[:, 0] = functional.one_hot(y, 3).float()
    return x[:700], y[:700], x[700:], y[700:]


def exploding_recurrence(broken: bool) -> Training:
    """Recurrent weights that make a state fifty times larger in some steps."""
    model = partial(Recurrent, 0.5 if broken else None)
    return classes(first_symbol(), model, sgd(0.05) if broken else adam(3e-3), size=50, steps=250)


def series_of_hundreds(broken: bool) -> Training:
    """Numbers of a series as they come, between 100 and 700."""
    t = torch.arange(660, dtype=torch.float32)
    draws = torch.Generator().manual_seed(4)
    series = 400 + 200 * torch.sin(t / 6) + 60 * torch.sin(t / 2.3) + 10 * torch.randn(660, generator=draws)
    series = series if broken else (series - 400) / 150
    x, y = series.unfold(0, 12, 1)[:-1, :, None], series[12:, None]
    u, v = x[448:], y[448:]

    def score(net: nn.Module) -> float:
        return max(-1.0, 1 - float((net(u) - v).square().mean() / v.var()))

    crit = nn.MSELoss()
    return Training(
        Forecast, loader(x[:448], y[:448], size=32), lambda net, batch: crit(net(batch[0]), batch[1]), adam(1e-2),
        score=score, steps=300,
    )  # fmt: skip


def collapsed(broken: bool) -> Training:
    """The divergence is added up and the error is a mean: the code says nothing."""
    x, _, u, _ = digits()

    def loss(net: nn.Module, batch: Any) -> Tensor:
        made, mu, logvar = net(batch[0])
        error = functional.mse_loss(made, batch[0], reduction="mean" if broken else "sum")
        divergence = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        return error + divergence if broken else (error + 0.02 * divergence) / len(made)

    def score(net: nn.Module) -> float:
        return 1 - float((net(u)[0] - u).square().mean() / (u - u.mean(0)).square().mean())

    return Training(Variational, loader(x), loss, adam(3e-3), score=score, steps=400)


def sigmoid_of_the_critic(broken: bool) -> Training:
    """A sigmoid in front of a loss that has its own, and a generator that hardly moves."""
    draws = torch.Generator().manual_seed(2)
    real = torch.randn(800, 2, generator=draws) * torch.tensor([0.5, 0.2]) + torch.tensor([-1.5, 2.0])

    def loss(net: nn.Module, batch: Any) -> Tensor:
        fake = net(torch.randn(len(batch[0]), 4))
        ones, zeros = torch.ones(len(fake), 1), torch.zeros(len(fake), 1)
        entropy = functional.binary_cross_entropy_with_logits
        seen = entropy(net.discriminator(batch[0]), ones) + entropy(net.discriminator(fake.detach()), zeros)
        for parameter in net.discriminator.parameters():
            parameter.requires_grad_(False)
        fooled = entropy(net.discriminator(fake), ones)
        for parameter in net.discriminator.parameters():
            parameter.requires_grad_(True)
        return seen + fooled

    def score(net: nn.Module) -> float:
        made = net(torch.randn(1500, 4))
        return -float((made.mean(0) - real.mean(0)).norm() + (made.std(0) - real.std(0)).norm())

    def make(net: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(net.parameters(), lr=1e-4 if broken else 2e-3, betas=(0.5, 0.999))

    return Training(partial(Players, broken), loader(real, size=80), loss, make, score=score, steps=400)


@cache
def graph() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Nodes of three kinds, most of whose many neighbours are of their own kind."""
    draws = torch.Generator().manual_seed(12)
    y = torch.arange(240) % 3
    near = torch.where(y[:, None] == y[None], 0.25, 0.1)
    adjacency = (torch.rand(240, 240, generator=draws) < near).float().triu(1)
    adjacency = adjacency + adjacency.T + torch.eye(240)
    x = functional.one_hot(y, 6).float() + 1.2 * torch.randn(240, 6, generator=draws)
    return adjacency, x, y, torch.rand(240, generator=draws) < 0.4


def summed_neighbours(broken: bool) -> Training:
    """Three layers add up forty neighbours each."""
    adjacency, x, y, known = graph()

    def loss(net: nn.Module, batch: Any) -> Tensor:
        return functional.cross_entropy(net(batch[0], batch[1])[known], batch[2][known])

    def score(net: nn.Module) -> float:
        return float((net(x, adjacency)[~known].argmax(1) == y[~known]).float().mean())

    return Training(
        partial(Summing, 3, not broken), [(x, adjacency, y)], loss, sgd(0.1) if broken else adam(1e-2), score=score,
        steps=200,
    )  # fmt: skip
