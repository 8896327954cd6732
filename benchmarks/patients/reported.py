"""Trainings as people reported them when they didn't work, written anew, each beside what mended it."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.optim import SGD, Adagrad, Adam, AdamW

from patients import networks
from patients.reported_networks import (
    Coded,
    Critic,
    Digit,
    Fusion,
    Missed,
    Padded,
    Peptide,
    Rooted,
    Staying,
    Towers,
    Turned,
    adversaries,
    both_sights,
    close,
    coded,
    fooled,
    matched,
    padded,
    peptides,
    pictured,
    purchases,
    rooted,
    stacked,
)
from patients.ward import (
    Data,
    accuracy,
    curve,
    digits,
    explained,
    images,
    mlp,
    rebuilding,
    rebuilt,
    rows,
    squared,
    standardised,
    table,
    trained,
)

Case = tuple[str, str, str, Any, Any]


def cases() -> Iterator[Case]:
    """All of them."""
    yield from outputs()
    yield from losses()
    yield from data()
    yield from networks_reported()
    yield from steps()


def _digits(net: Any = None, data: Any = None, **how: Any) -> Any:
    return partial(trained, net or mlp(64, 32, 10), data or digits(), **how)


def outputs() -> Iterator[Case]:
    """What stands behind the last layer, or within."""
    well = _digits()
    yield "MLP", "D", "digits, ReLU behind the logits", _digits(mlp(64, 32, 10, end=nn.ReLU), lr=0.3), well
    yield (
        "MLP",
        "D",
        "digits, softmax over the batch",
        _digits(mlp(64, 32, 10, end=partial(nn.Softmax, 0)), lr=0.01),
        well,
    )
    yield "MLP", "C", "digits, softmax between layers", _digits(mlp(64, 32, 32, 10, act=partial(nn.Softmax, 1))), well
    ill = two(standardised(table("breast_cancer")))
    binary = partial(trained, data=ill, score=partial(_right, data=ill))
    good = partial(binary, mlp(30, 16, 1, end=nn.Sigmoid), loss=_bce, optimizer=Adam, lr=3e-3)
    one = partial(binary, mlp(30, 16, 1, end=partial(nn.Softmax, 1)), loss=_bce, optimizer=Adam, lr=3e-3)
    yield "MLP", "D", "cancer, softmax over one output", one, good
    yield "MLP", "D", "cancer, cross entropy of one output", partial(binary, mlp(30, 16, 1), loss=_one, lr=0.05), good
    raw = partial(binary, mlp(30, 16, 1, end=nn.ReLU), loss=_bce_clamped, optimizer=SGD, lr=0.1)
    yield "MLP", "D", "cancer, ReLU before binary cross entropy", raw, good
    wave = curve(0.0, 3.0)
    fit = partial(trained, data=wave, loss=squared, score=partial(explained, data=wave), optimizer=Adam, lr=1e-2)
    soft = partial(fit, mlp(3, 32, 1, end=partial(nn.Softmax, 1)))
    yield "MLP", "D", "curve behind a softmax", soft, partial(fit, mlp(3, 32, 1))
    yield "MLP", "D", "curve behind a tanh", partial(fit, mlp(3, 32, 1, end=nn.Tanh)), partial(fit, mlp(3, 32, 1))


def losses() -> Iterator[Case]:
    """The loss itself."""
    well = _digits()
    yield "MLP", "A", "digits, sum of the loss", _digits(loss=_summed, lr=0.3), well
    yield "MLP", "D", "digits, squared error of a sigmoid", _digits(
        mlp(64, 32, 10, end=nn.Sigmoid), loss=_one_hot, lr=0.1), well  # fmt: skip
    yield "MLP", "D", "digits, log of a softmax, by hand", _digits(
        mlp(64, 32, 10, end=partial(nn.Softmax, 1)), digits(300.0), loss=_by_hand, lr=0.1), well  # fmt: skip
    root = partial(trained, data=rooted(), score=partial(close, data=rooted()), optimizer=Adam, lr=1e-2)
    yield "MLP", "D", "distances, root of zero", partial(root, Rooted, loss=_distance(0.0)), partial(
        root, Rooted, loss=_distance(1e-8))  # fmt: skip
    rare = _rare()
    unequal = partial(trained, data=rare, score=partial(_balanced, data=rare), lr=0.01, momentum=0.9, steps=150)
    weighted = partial(unequal, mlp(64, 32, 2), loss=_weighted)
    yield "MLP", "D", "digits, one class in thirty", partial(unequal, mlp(64, 32, 2)), weighted


def data() -> Iterator[Case]:
    """What the network is shown."""
    well = _digits()
    holes = digits().changed(x=_holes)
    yield "MLP", "C", "digits with missing numbers", _digits(data=holes), well
    pixels = digits(255.0)
    yield "CNN", "C", "images of 0 to 255", _digits(networks.cnn(3), images(255.0)), _digits(networks.cnn(3), images())
    coded_ = partial(trained, mlp(64, 24, 64), loss=rebuilding, optimizer=SGD, lr=0.1)
    yield (
        "autoencoder", "C", "digits of 0 to 255", partial(coded_, pixels, score=partial(rebuilt, data=pixels)),
        partial(coded_, standardised(digits()), score=partial(rebuilt, data=standardised(digits())), momentum=0.9),
    )  # fmt: skip
    ages = _diabetes()
    told = partial(trained, mlp(10, 24, 1), loss=squared, steps=300)
    unit = standardised(ages).changed(y=lambda y: (y - 152) / 77)
    yield (
        "MLP", "D", "diabetes, plain SGD", partial(told, ages, score=partial(explained, data=ages), lr=0.01),
        partial(told, unit, score=partial(explained, data=unit), optimizer=Adam, lr=3e-3),
    )  # fmt: skip
    quartic = _quartic()
    power = partial(trained, stacked, loss=squared, optimizer=Adam, lr=1e-3, steps=500)
    small = standardised(quartic).changed(y=lambda y: (y - quartic.y.mean()) / quartic.y.std())
    yield (
        "MLP", "D", "x to the fourth of -100 to 100", partial(power, quartic, score=partial(explained, data=quartic)),
        partial(power, small, score=partial(explained, data=small), ),
    )  # fmt: skip


def networks_reported() -> Iterator[Case]:
    """Networks that aren't what they look like."""
    told = partial(trained, data=rows(), optimizer=Adam, lr=1e-2, steps=200)
    yield "RNN", "C", "rows, batch taken for time", partial(told, partial(Turned, "forgotten")), partial(
        told, partial(Turned, "right"))  # fmt: skip
    yield "RNN", "C", "rows, batch and time mixed by reshape", partial(told, partial(Turned, "reshaped")), partial(
        told, partial(Turned, "right"))  # fmt: skip
    yield "transformer", "C", "rows, batch taken for time", partial(told, partial(Turned, "forgotten", True)), partial(
        told, partial(Turned, "right", True))  # fmt: skip
    words = padded(120)
    read = partial(trained, data=words, loss=_last, score=partial(_last_right, data=words), optimizer=Adam, lr=5e-3)
    yield "RNN", "B", "words, padded LSTM", partial(read, partial(Padded, False), steps=300), partial(
        read, partial(Padded, True), steps=300)  # fmt: skip
    yield "RNN", "D", "peptides, LSTM behind a ReLU", *_peptides()
    yield "RNN", "C", "rows, cells in a plain list", partial(told, partial(Digit, list)), partial(
        told, partial(Digit, nn.ModuleList))  # fmt: skip
    both = partial(trained, data=both_sights(), optimizer=AdamW, lr=3e-3, steps=300)
    yield "MLP", "B", "two inputs, gate of zeros", partial(both, partial(Fusion, True)), partial(
        both, partial(Fusion, False))  # fmt: skip
    deep = partial(networks.cnn, 6)
    still = partial(trained, data=images(), lr=0.05, momentum=0.9)
    yield "CNN", "A", "images, batch norm never in training mode", partial(still, partial(Staying, deep(norm=True))), (
        partial(still, deep(norm=True)))  # fmt: skip
    yield "CNN", "A", "images, loss in evaluation mode", partial(still, deep(norm=True), loss=_evaluated), partial(
        still, deep(norm=True))  # fmt: skip
    bought = partial(trained, Towers, purchases(), loss=matched, score=partial(pictured, data=purchases()), batch=64)
    kept = {"initial_accumulator_value": 0.1}
    yield "embeddings", "A", "towers, Adagrad", partial(bought, optimizer=Adagrad, lr=0.05, **kept, steps=250), partial(
        bought, optimizer=Adam, lr=1e-2, steps=250)  # fmt: skip
    book = partial(trained, data=digits(), loss=coded, score=partial(_decoded, data=digits()), optimizer=Adam, lr=3e-3)
    yield "autoencoder", "B", "digits, codes that nobody uses", partial(book, partial(Coded, 3.0), steps=400), partial(
        book, partial(Coded, 0.0), steps=400)  # fmt: skip
    ring = partial(trained, data=adversaries(), loss=fooled, score=partial(networks.likeness, target=adversaries().x),
                   optimizer=Adam, lr=3e-3, betas=(0.5, 0.9), steps=400)  # fmt: skip
    yield "GAN", "D", "ring, generator cut off", partial(ring, partial(Critic, True)), partial(
        ring, partial(Critic, False))  # fmt: skip


def steps() -> Iterator[Case]:
    """Step, decay, precision."""
    well = _digits()
    flat = partial(trained, data=images(), optimizer=Adam, lr=1e-3, steps=200)
    yield "CNN", "A", "images, Adam with decay 0.5", partial(flat, networks.cnn(4), weight_decay=0.5), partial(
        flat, networks.cnn(4))  # fmt: skip
    half = digits().changed(x=torch.Tensor.half)
    yield "MLP", "A", "digits in half precision, Adam", _digits(
        partial(_halved, mlp(64, 32, 10)), half, optimizer=Adam, lr=1e-3), _digits(optimizer=Adam, lr=3e-3)  # fmt: skip
    yield "MLP", "A", "digits, float16 without scaling", _digits(loss=_faint, rest={"autocast": torch.float16}), well
    quick = {"scheduler": partial(torch.optim.lr_scheduler.LinearLR, start_factor=1.0, end_factor=0.0, total_iters=12)}
    yield "MLP", "A", "digits, schedule over after 12 steps", _digits(lr=0.02, rest=quick), well
    yield "MLP", "A", "digits, only the head's parameters", _digits(
        mlp(64, 4, 32, 10), of=lambda net: net[-1].parameters(), lr=0.002), _digits(mlp(64, 4, 32, 10))  # fmt: skip
    yield "MLP", "A", "digits, frozen below", _digits(Missed, lr=0.05, momentum=0.9), _digits(mlp(64, 3, 32, 10))
    yield "transformer", "A", "rows, attention under AdamW at 0.1", partial(
        trained, partial(networks.Transformer, 3), rows(), optimizer=AdamW, lr=0.1, steps=200), partial(
        trained, partial(networks.Transformer, 3), rows(), optimizer=AdamW, lr=3e-3, steps=200)  # fmt: skip
    yield "MLP", "A", "cancer, SGD at 1e-5 on sums", *_small_rate()


def _small_rate() -> tuple[Any, Any]:
    data = standardised(table("breast_cancer"))
    return partial(trained, mlp(30, 16, 2), data, lr=1e-5), partial(trained, mlp(30, 16, 2), data, lr=0.05)


def _summed(net: nn.Module, batch: Any) -> torch.Tensor:
    return functional.cross_entropy(net(batch[0]), batch[1], reduction="sum")


def _one_hot(net: nn.Module, batch: Any) -> torch.Tensor:
    return functional.mse_loss(net(batch[0]), functional.one_hot(batch[1], 10).float())


def _by_hand(net: nn.Module, batch: Any) -> torch.Tensor:
    return -(torch.log(net(batch[0])) * functional.one_hot(batch[1], 10)).sum(1).mean()


def _bce(net: nn.Module, batch: Any) -> torch.Tensor:
    return functional.binary_cross_entropy(net(batch[0]), batch[1])


def _bce_clamped(net: nn.Module, batch: Any) -> torch.Tensor:
    return functional.binary_cross_entropy(net(batch[0]).clamp(1e-7, 1 - 1e-7), batch[1])


def _one(net: nn.Module, batch: Any) -> torch.Tensor:
    return functional.cross_entropy(net(batch[0]), batch[1])


def _right(net: nn.Module, data: Data) -> float:
    made = net(data.held_x)
    threshold = 0.0 if float(made.min()) < 0 else 0.5
    return float(((made > threshold) == (data.held_y > 0.5)).float().mean())


def two(data: Data) -> Data:
    """Targets of zeros and ones as a column."""
    return data.changed(y=lambda y: y.float()[:, None])


def _distance(inside: float) -> Any:
    def loss(net: nn.Module, batch: Any) -> torch.Tensor:
        apart = (net(batch[0]) - net(batch[1])).square().sum(1)
        return (torch.sqrt(apart + inside) - batch[2]).square().mean()

    return loss


def _rare() -> Data:
    whole = digits()
    rare = whole.changed(y=lambda y: (y == 8).long())
    kept = torch.ones(len(rare.y), dtype=torch.bool)
    places = (rare.y == 1).nonzero()[:, 0]
    kept[places[len(places) // 3 :]] = False
    return Data(rare.x[kept], rare.y[kept], rare.held_x, rare.held_y)


def _balanced(net: nn.Module, data: Data) -> float:
    right = (net(data.held_x).argmax(1) == data.held_y).float()
    return float((right[data.held_y == 1].mean() + right[data.held_y == 0].mean()) / 2)


def _weighted(net: nn.Module, batch: Any) -> torch.Tensor:
    return functional.cross_entropy(net(batch[0]), batch[1], weight=torch.tensor([1.0, 30.0]))


def _holes(x: torch.Tensor) -> torch.Tensor:
    holes = torch.rand(x.shape, generator=torch.Generator().manual_seed(6)) < 0.01
    return x.masked_fill(holes, float("nan"))


def _diabetes() -> Data:
    from sklearn import datasets

    loaded = datasets.load_diabetes(scaled=False)
    x = torch.tensor(loaded.data, dtype=torch.float32)
    y = torch.tensor(loaded.target, dtype=torch.float32)[:, None]
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return Data(x[order[:300]], y[order[:300]], x[order[300:]], y[order[300:]])


def _quartic() -> Data:
    x = torch.arange(-100, 100, 0.25)[:, None]
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x = x[order]
    return Data(x[:600], x[:600] ** 4, x[600:], x[600:] ** 4)


def _last(net: nn.Module, batch: Any) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(net(batch[0]), batch[1])


def _last_right(net: nn.Module, data: Data) -> float:
    return float(((net(data.held_x) > 0) == (data.held_y > 0.5)).float().mean())


def _peptides() -> tuple[Any, Any]:
    data = peptides()
    how = partial(trained, data=data, loss=squared, score=partial(explained, data=data), optimizer=Adam, lr=1e-3)
    return partial(how, partial(Peptide, True), steps=250), partial(how, partial(Peptide, False), steps=250)


def _evaluated(net: nn.Module, batch: Any) -> torch.Tensor:
    net.eval()
    return functional.cross_entropy(net(batch[0]), batch[1])


def _decoded(net: nn.Module, data: Data) -> float:
    made = net(data.held_x)[0]
    return 1 - float((made - data.held_x).square().mean() / (data.held_x - data.held_x.mean(0)).square().mean())


def _halved(make: Any) -> nn.Module:
    return make().half()  # type: ignore[no-any-return]


def _faint(net: nn.Module, batch: Any) -> torch.Tensor:
    return 1e-6 * functional.cross_entropy(net(batch[0]), batch[1])


__all__ = ["accuracy", "cases"]
