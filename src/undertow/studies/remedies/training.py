"""Train networks, and measure the gradient they set out with."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from undertow.lab import Dataset
from undertow.studies.experiments import Tick
from undertow.studies.remedies.config import ARCHITECTURES, RATES, STARTS, RemediesConfig, initializer
from undertow.studies.remedies.stack import MemberDescent, Stack, drawn

Array = NDArray[np.float64]


def train(
    data: Dataset,
    tick: Tick,
    /,
    *,
    activation: str,
    architecture: str,
    optimizer: str,
    config: RemediesConfig,
    seed: int,
) -> Array:
    """Validation accuracy after the updates, [depths, starts, learning rates]."""
    rates = RATES[optimizer]
    found = []
    for depth in config.depths:
        stack = _stack(data, activation, architecture, depth, len(rates), config, seed)
        descent = MemberDescent(stack, optimizer, torch.tensor(rates).repeat(len(STARTS)))
        n = len(data.train)
        for t in range(config.updates):
            chosen = torch.arange(t * config.batch, (t + 1) * config.batch) % n
            descent.step(data.train.x[chosen], data.train.y[chosen])
        accuracy = stack.accuracy(data.validation.x[: config.judged], data.validation.y[: config.judged])
        found.append(accuracy.view(len(STARTS), len(rates)).numpy())
        tick(1)
    return np.stack(found)


def start(
    data: Dataset, tick: Tick, /, *, activation: str, config: RemediesConfig, seed: int
) -> dict[str, dict[str, Any]]:
    """||dC/db^l|| of every hidden layer before training, {architecture: {depth: [starts, hidden layers]}}."""
    found: dict[str, dict[str, Any]] = {}
    for architecture in ARCHITECTURES:
        found[architecture] = {}
        for depth in config.depths:
            stack = _stack(data, activation, architecture, depth, 1, config, seed)
            x, y = data.train.x[: config.judged], data.train.y[: config.judged]
            found[architecture][str(depth)] = stack.learning_speed(x, y).numpy()
        tick(1)
    return found


def _stack(
    data: Dataset, activation: str, architecture: str, depth: int, each: int, config: RemediesConfig, seed: int
) -> Stack:
    """``each`` networks from every start, those of a start alike."""
    recipes = [initializer(name, activation) for name in STARTS for _ in range(each)]
    weights = drawn(recipes, data.n_inputs, config.width, depth, data.n_classes, seed)
    return Stack(weights, activation, architecture)
