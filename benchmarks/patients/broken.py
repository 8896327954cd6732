"""Broken trainings of all levels, each beside its reference fix."""

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.optim import Adam, RMSprop
from torch.optim.lr_scheduler import ExponentialLR, StepLR

from patients import ward
from patients.networks import (
    Adversaries,
    Cut,
    Functional,
    Graph,
    Listed,
    Sequence,
    Transformer,
    adversarial,
    cnn,
    likeness,
    orthogonal,
    remembering,
)  # fmt: skip
from patients.reported import cases
from patients.ward import (
    Patient,
    circles,
    constant,
    curve,
    digits,
    explained,
    he,
    images,
    mlp,
    normal,
    rebuilding,
    rebuilt,
    remembered,
    rows,
    squared,
    standardised,
    table,
    trained,
)

DIGITS, IRIS, WINE, CANCER = (64, 32, 10), (4, 16, 3), (13, 16, 3), (30, 16, 2)


def patients() -> Iterator[Patient]:
    """All of them."""
    for family, level, name, broken, mended in [*steps(), *starts(), *architectures(), *objectives(), *cases()]:
        yield Patient(name, family, level, broken, mended)


def _digits(net: Any = None, data: Any = None, **how: Any) -> Any:
    return partial(trained, net or mlp(*DIGITS), data or digits(), **how)


def steps() -> Iterator[tuple[str, str, str, Any, Any]]:
    """Level A: the step."""
    well = _digits()
    yield "MLP", "A", "digits, SGD at 50", _digits(lr=50.0, momentum=0.9), well
    yield "MLP", "A", "digits, SGD at 2e-6", _digits(lr=2e-6, momentum=0.9), well
    yield "MLP", "A", "digits, Adam at 1", _digits(optimizer=Adam, lr=1.0), _digits(optimizer=Adam, lr=3e-3)
    wine = partial(trained, mlp(*WINE), standardised(table("wine")), optimizer=Adam)
    yield "MLP", "A", "wine, Adam at 1e-7", partial(wine, lr=1e-7), partial(wine, lr=3e-3)
    iris = partial(trained, mlp(*IRIS), standardised(table("iris")))
    yield "MLP", "A", "iris, weight decay 1", partial(iris, lr=0.05, momentum=0.9, weight_decay=1.0), iris
    yield "MLP", "A", "digits, another model's parameters", _digits(of=lambda _: mlp(*DIGITS)().parameters()), well
    yield (
        "MLP",
        "A",
        "digits, epsilon 1000",
        _digits(optimizer=Adam, lr=3e-3, eps=1e3),
        _digits(optimizer=Adam, lr=3e-3),
    )
    falling = {"scheduler": partial(StepLR, step_size=1, gamma=0.4)}
    yield "MLP", "A", "digits, rate falls each batch", _digits(rest=falling), well
    yield "MLP", "A", "digits, clipped at 1e-6", _digits(rest={"clip_grad_norm": 1e-6}), well
    yield "MLP", "A", "digits, sorted by class", *_in_order()
    yield "MLP", "A", "digits, momentum 0.9995", _digits(lr=0.05, momentum=0.9995), well
    yield "MLP", "A", "cancer, RMSprop at 3", *_cancer(optimizer=RMSprop, lr=3.0)
    yield "CNN", "A", "images, SGD at 10", _digits(cnn(), images(), lr=10.0, momentum=0.9), _digits(cnn(), images())
    slow = {"scheduler": partial(ExponentialLR, gamma=0.5)}
    yield "CNN", "A", "images, rate halves each batch", _digits(cnn(), images(), rest=slow), _digits(cnn(), images())
    line = partial(trained, partial(Transformer, 2), rows(), optimizer=Adam, steps=300)
    yield "transformer", "A", "rows, Adam at 0.3", partial(line, lr=0.3), partial(line, lr=3e-3)
    told = partial(trained, lambda: Sequence(nn.GRU, 8, 10), rows(), optimizer=Adam)
    yield "RNN", "A", "rows, GRU under Adam at 1e-6", partial(told, lr=1e-6), partial(told, lr=1e-2)
    coded = partial(trained, mlp(64, 12, 64), digits(), loss=rebuilding, score=partial(rebuilt, data=digits()))
    yield "autoencoder", "A", "digits, SGD at 1e-4", partial(coded, lr=1e-4), partial(coded, optimizer=Adam, lr=3e-3)
    graph = _graph()
    yield "GNN", "A", "graph, SGD at 300", partial(graph, lr=300.0), partial(graph, optimizer=Adam, lr=1e-2)
    ring = _ring(Adversaries)
    yield "GAN", "A", "ring, Adam at 1", partial(ring, lr=1.0), partial(ring, lr=3e-3)


def _in_order() -> tuple[Any, Any]:
    data = digits()
    order = data.y.argsort()
    ordered = ward.Data(data.x[order], data.y[order], data.held_x, data.held_y)
    return _digits(data=ordered, shuffled=False, lr=0.05, momentum=0.9), _digits()


def _cancer(**broken: Any) -> tuple[Any, Any]:
    how = partial(trained, mlp(*CANCER), standardised(table("breast_cancer")))
    return partial(how, **broken), how


@cache
def _neighbours() -> tuple[Any, Any, ward.Data]:
    """Return sums over neighbours and themselves, their means, and nodes of four classes with noisy features."""
    draws = torch.Generator().manual_seed(3)
    y = torch.arange(160) % 4
    chance = torch.where(y[:, None] == y[None], 0.15, 0.02)
    joined = (torch.rand(160, 160, generator=draws) < chance).float().triu(1)
    sums = joined + joined.T + torch.eye(160)
    x = functional.one_hot(y, 8).float() + 1.5 * torch.randn(160, 8, generator=draws)
    return sums, sums / sums.sum(1, keepdim=True), ward.Data(x, y, x, y)


def _on_half(net: nn.Module, batch: Any) -> torch.Tensor:
    return functional.cross_entropy(net(batch[0])[:80], batch[1][:80])


def _other_half(net: nn.Module, data: ward.Data) -> float:
    return float((net(data.held_x)[80:].argmax(1) == data.held_y[80:]).float().mean())


def _graph(depth: int = 2, act: Any = torch.relu, summed: bool = False, scale: float = 1.0) -> Any:
    sums, means, data = _neighbours()
    data = data.changed(x=lambda x: x * scale)
    net = partial(Graph, sums if summed else means, 8, depth, act)
    told = {"loss": _on_half, "score": partial(_other_half, data=data), "batch": 160, "shuffled": False, "steps": 150}
    return partial(trained, net, data, **told)


def _ring(net: Any, scale: float = 1.0) -> Any:
    draws = torch.Generator().manual_seed(4)
    points = scale * (0.3 * torch.randn(640, 2, generator=draws) + torch.tensor([2.0, -1.0]))
    how = trained(net, digits(), loss=adversarial, score=partial(likeness, target=points), steps=400)
    del how

    def make(**numbers: Any) -> Any:
        return trained(
            net, _Points(points), loss=adversarial, score=partial(likeness, target=points), optimizer=Adam, steps=400,
            betas=(0.5, 0.9), **numbers,
        )  # fmt: skip

    return make


class _Points:
    def __init__(self, points: torch.Tensor) -> None:
        self.points = points

    def passes(self, size: int, shuffled: bool) -> Any:
        """One pass."""
        del shuffled
        yield from self.points[torch.randperm(len(self.points))].split(size)


def starts() -> Iterator[tuple[str, str, str, Any, Any]]:
    """Level B: the start."""
    yield "MLP", "B", "digits, all weights zero", _digits(mlp(*DIGITS, start=constant(0.0))), _digits()
    yield "MLP", "B", "digits, all weights alike", _digits(mlp(64, 32, 32, 10, start=constant(0.3))), _digits()
    deep = (64, *[32] * 6, 10)
    wild = _digits(mlp(*deep, act=nn.Tanh, start=normal(2.0)), lr=0.02)
    yield "MLP", "B", "digits, tanh x6, N(0, 4)", wild, _digits(mlp(*deep, act=nn.Tanh), lr=0.2)
    faint = _digits(mlp(*[64, *[32] * 4, 10], act=nn.Tanh, start=normal(1e-3, 0.0)), lr=0.05)
    yield "MLP", "B", "digits, tanh x4, N(0, 1e-6)", faint, _digits(mlp(*[64, *[32] * 4, 10], act=nn.Tanh))
    stack = (64, *[32] * 12, 10)
    adam = {"optimizer": Adam, "lr": 2e-3}
    yield (
        "MLP",
        "B",
        "digits, ReLU x12 as torch starts it",
        _digits(mlp(*stack)),
        _digits(mlp(*stack, start=he), **adam),
    )
    loud = _digits(mlp(*[64, 32, 32, 32, 10], start=normal(1.5, 0.0)))
    yield "MLP", "B", "digits, ReLU x3, N(0, 2)", loud, _digits(mlp(*[64, 32, 32, 32, 10], start=he))
    dead = _digits(mlp(64, 32, 32, 10, start=normal(0.1, -4.0)), lr=0.01)
    yield "MLP", "B", "digits, biases -4", dead, _digits(mlp(64, 32, 32, 10))
    yield "CNN", "B", "images, N(0, 1)", _digits(cnn(4, start=normal(1.0, 0.0)), images()), _digits(cnn(4), images())
    yield "CNN", "B", "images, zeros", _digits(cnn(start=constant(0.0)), images()), _digits(cnn(), images())
    long = partial(trained, optimizer=Adam, lr=3e-3, data=remembered(30), steps=350)
    yield (
        "RNN", "B", "first of 30 steps, RNN", partial(long, lambda: Sequence(nn.RNN, 4, 4)),
        partial(long, lambda: orthogonal(Sequence(nn.RNN, 4, 4))),
    )  # fmt: skip
    yield (
        "RNN", "B", "first of 40 steps, LSTM", partial(long, lambda: Sequence(nn.LSTM, 4, 4), data=remembered(40)),
        partial(long, lambda: remembering(Sequence(nn.LSTM, 4, 4)), data=remembered(40)),
    )  # fmt: skip
    coded = {"loss": rebuilding, "score": partial(rebuilt, data=digits()), "optimizer": Adam, "lr": 3e-3}
    zero = mlp(64, 32, 12, 32, 64, start=constant(0.0))
    yield "autoencoder", "B", "digits, zeros", _digits(zero, **coded), _digits(mlp(64, 32, 12, 32, 64), **coded)


def architectures() -> Iterator[tuple[str, str, str, Any, Any]]:
    """Level C: the architecture."""
    deep = (64, *[32] * 7, 10)
    relu = _digits(mlp(*deep, start=he), lr=0.02, momentum=0.9)
    yield "MLP", "C", "digits, sigmoid x7", _digits(mlp(*deep, act=nn.Sigmoid)), relu
    yield "MLP", "C", "digits, torch.sigmoid x7", _digits(partial(Functional, 7, torch.sigmoid)), relu
    for name, sizes in (("wine", WINE), ("breast_cancer", CANCER)):
        raw = table(name)
        yield (
            "MLP",
            "C",
            f"{name} as it comes",
            partial(trained, mlp(*sizes), raw),
            partial(trained, mlp(*sizes), standardised(raw)),
        )
    yield "MLP", "C", "digits x 1000", _digits(data=digits(1000.0)), _digits()
    yield "MLP", "C", "digits / 10000", _digits(data=digits(1e-4)), _digits()
    drowned = _digits(mlp(64, 32, 32, 10, drop=0.97))
    yield "MLP", "C", "digits, dropout 0.97", drowned, _digits(mlp(64, 32, 32, 10, drop=0.1))
    plain = (64, *[32] * 25, 10)
    yield "MLP", "C", "digits, ReLU x25", _digits(mlp(*plain)), _digits(mlp(*plain, norm=True))
    bent = partial(trained, mlp(2, 16, 16, 2), circles(), optimizer=Adam, lr=1e-2)
    straight = partial(trained, mlp(2, 16, 16, 2, act=nn.Identity), circles(), optimizer=Adam, lr=1e-2)
    yield "MLP", "C", "circles without activations", straight, bent
    yield "MLP", "C", "digits, layers in a list", _digits(Listed, lr=0.05), _digits(partial(Listed, nn.ModuleList))
    sunk = _digits(cnn(6, act=nn.Sigmoid), images())
    yield "CNN", "C", "images, sigmoid x6", sunk, _digits(cnn(6, norm=True), images())
    yield "CNN", "C", "images x 1000", _digits(cnn(), images(1000.0)), _digits(cnn(), images())
    late = partial(trained, partial(Transformer, 8, first=False), rows(), optimizer=Adam, lr=1e-2, steps=250)
    early = partial(trained, partial(Transformer, 8), rows(), optimizer=Adam, lr=3e-3, steps=250)
    yield "transformer", "C", "rows, post-norm x8", late, early
    coded = {"loss": rebuilding, "score": partial(rebuilt, data=digits()), "optimizer": Adam, "lr": 3e-3}
    sizes = (64, 32, 32, 12, 32, 32, 64)
    yield (
        "autoencoder",
        "C",
        "digits, sigmoid x5",
        _digits(mlp(*sizes, act=nn.Sigmoid), **coded),
        _digits(mlp(*sizes), **coded),
    )
    yield (
        "GNN",
        "C",
        "graph, sigmoid x6",
        partial(_graph(6, torch.sigmoid), optimizer=Adam, lr=1e-2),
        partial(_graph(2), optimizer=Adam, lr=1e-2),
    )
    yield "GNN", "C", "graph x 3000", partial(_graph(scale=3000.0), lr=0.1), partial(_graph(), lr=0.1)


def objectives() -> Iterator[tuple[str, str, str, Any, Any]]:
    """Level D: the objective."""
    soft = partial(nn.Softmax, 1)
    yield "MLP", "D", "digits, softmax before cross entropy", _digits(mlp(*DIGITS, end=soft), lr=0.01), _digits()
    wave, flat = curve(), partial(trained, mlp(3, 32, 1))
    good = partial(flat, wave, loss=squared, score=partial(explained, data=wave))
    yield "MLP", "D", "curve behind a ReLU", *_curve(mlp(3, 32, 1, end=nn.ReLU), curve(-2.0))
    yield "MLP", "D", "curve of tens behind a sigmoid", *_curve(mlp(3, 32, 1, end=nn.Sigmoid), curve(50.0, 20.0))
    yield "MLP", "D", "curve of thousands", *_curve(mlp(3, 32, 1), curve(3000.0, 1000.0))
    yield "MLP", "D", "curve, [n, 1] against [n]", *_broadcast()
    yield "MLP", "D", "digits, no log_softmax before nll_loss", _digits(loss=_bare), _digits()
    yield "MLP", "D", "digits, cut behind the first layer", _digits(partial(Cut, True)), _digits(partial(Cut, False))
    yield (
        "CNN",
        "D",
        "images, softmax before cross entropy",
        _digits(cnn(end=soft), images(), lr=0.01),
        _digits(cnn(), images()),
    )
    data = standardised(digits())
    how = partial(trained, data=data, loss=rebuilding, score=partial(rebuilt, data=data), optimizer=Adam, lr=3e-3)
    boxed = partial(how, mlp(64, 24, 64, end=nn.ReLU))
    yield "autoencoder", "D", "digits rebuilt behind a ReLU", boxed, partial(how, mlp(64, 24, 64))
    twice = _ring(partial(Adversaries, end=nn.Sigmoid))
    yield "GAN", "D", "ring, judged by a sigmoid twice", partial(twice, lr=3e-3), partial(_ring(Adversaries), lr=3e-3)
    del good


def _curve(net: Any, data: ward.Data) -> tuple[Any, Any]:
    scale, shift = float(data.y.std()), float(data.y.mean())
    unit = data.changed(y=lambda y: (y - shift) / scale)
    broken = partial(trained, net, data, loss=squared, score=partial(explained, data=data))
    return broken, partial(trained, mlp(3, 32, 1), unit, loss=squared, score=partial(explained, data=unit))


def _broadcast() -> tuple[Any, Any]:
    data = curve()
    flat = data.changed(y=lambda y: y[:, 0])
    score = partial(explained, data=data)
    return (
        partial(trained, mlp(3, 32, 1), flat, loss=squared, score=score),
        partial(trained, mlp(3, 32, 1), data, loss=squared, score=score),
    )


def _bare(net: nn.Module, batch: Any) -> torch.Tensor:
    return functional.nll_loss(net(batch[0]), batch[1])
