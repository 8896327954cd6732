"""Trainings with nothing wrong, and those that nothing can mend."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Adam, AdamW

from patients import ward
from patients.blind import blind
from patients.broken import _graph, _ring
from patients.networks import Adversaries, Sequence, Transformer, cnn
from patients.reported import cases
from patients.ward import (
    Patient,
    circles,
    classed,
    curve,
    digits,
    explained,
    images,
    mlp,
    rebuilding,
    rebuilt,
    remembered,
    rows,
    squared,
    standardised,
    table,
    trained,
)


def healthy() -> Iterator[Patient]:
    """Trainings that learn."""
    adam = {"optimizer": Adam, "lr": 3e-3}
    for family, name, make in (
        ("MLP", "digits, ReLU, SGD", partial(trained, mlp(64, 32, 10), digits())),
        ("MLP", "digits, tanh x2, Adam", partial(trained, mlp(64, 32, 32, 10, act=nn.Tanh), digits(), **adam)),
        ("MLP", "wine, standardised", partial(trained, mlp(13, 16, 3), standardised(table("wine")))),
        ("MLP", "iris, logistic", partial(trained, mlp(4, 3), standardised(table("iris")), lr=0.1, momentum=0.9)),
        ("MLP", "cancer, AdamW", partial(
            trained, mlp(30, 16, 2), standardised(table("breast_cancer")), optimizer=AdamW, lr=3e-3)),
        ("MLP", "circles", partial(trained, mlp(2, 24, 24, 2), circles(), optimizer=Adam, lr=1e-2)),
        ("MLP", "curve", partial(
            trained, mlp(3, 48, 1), curve(), loss=squared, score=partial(explained, data=curve()), optimizer=Adam,
            lr=1e-2, steps=400)),
        ("MLP", "digits, batch norm, dropout", partial(
            trained, mlp(64, 48, 48, 10, norm=True, drop=0.1), digits(), **adam)),
        ("CNN", "images", partial(trained, cnn(), images())),
        ("CNN", "images, batch norm", partial(trained, cnn(4, norm=True), images(), **adam)),
        ("RNN", "rows, GRU", partial(trained, lambda: Sequence(nn.GRU, 8, 10), rows(), optimizer=Adam, lr=1e-2)),
        ("RNN", "first of 6 steps, LSTM", partial(
            trained, lambda: Sequence(nn.LSTM, 4, 4), remembered(6), optimizer=Adam, lr=1e-2)),
        ("transformer", "rows, pre-norm", partial(trained, partial(Transformer, 2), rows(), **adam)),
        ("autoencoder", "digits", partial(
            trained, mlp(64, 24, 64), digits(), loss=rebuilding, score=partial(rebuilt, data=digits()),
            optimizer=Adam, lr=1e-2, steps=400)),
        ("GNN", "graph", partial(_graph(), optimizer=Adam, lr=1e-2)),
        ("GAN", "ring", partial(_ring(Adversaries), lr=3e-3)),
    ):  # fmt: skip
        yield Patient(name, family, "healthy", make)

    yield from _mended()


MENDED = (
    "curve behind a softmax", "distances, root of zero", "diabetes, plain SGD", "rows, batch and time mixed by reshape",
    "two inputs, gate of zeros", "images, loss in evaluation mode", "towers, Adagrad", "digits, codes that nobody uses",
    "ring, generator cut off", "words, padded LSTM", "rows, attention under AdamW at 0.1", "blind, masks turned round",
    "blind, no places", "blind, collapsed",
)  # fmt: skip
"""Reported and blind trainings whose mended forms are healthy ones of kinds that the others aren't."""


def _mended() -> Iterator[Patient]:
    for family, _, name, _, mended in cases():
        if name in MENDED:
            yield Patient(f"{name}: mended", family, "healthy", mended)
    for patient in blind():
        if patient.name in MENDED and patient.mended is not None:
            yield Patient(f"{patient.name}: mended", patient.family, "healthy", patient.mended)


def hopeless() -> Iterator[Patient]:
    """Trainings that nothing can mend."""
    data = digits()
    draws = torch.Generator().manual_seed(5)
    guessed = ward.Data(data.x, torch.randint(10, data.y.shape, generator=draws), data.held_x, data.held_y)
    alike = ward.Data(data.x, torch.zeros_like(data.y), data.held_x, data.held_y)
    blank = data.changed(x=torch.zeros_like)
    wave = curve()
    mixed = ward.Data(wave.x, wave.y[torch.randperm(600, generator=draws)], wave.held_x, wave.held_y)
    for name, make in (
        ("digits, random labels", partial(trained, mlp(64, 32, 10), guessed)),
        ("digits, labels all alike", partial(trained, mlp(64, 32, 10), alike)),
        ("digits, inputs zero", partial(trained, mlp(64, 32, 10), blank)),
        ("digits, loss with its sign flipped", partial(trained, mlp(64, 32, 10), data, loss=_flipped)),
        ("curve, targets mixed up", partial(
            trained, mlp(3, 32, 1), mixed, loss=squared, score=partial(explained, data=mixed))),
    ):  # fmt: skip
        yield Patient(name, "MLP", "hopeless", make)


def _flipped(net: nn.Module, batch: Any) -> torch.Tensor:
    return -classed(net, batch)
