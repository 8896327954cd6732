"""Which networks train, and with what gradient they set out."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from undertow.lab import Dataset
from undertow.studies.remedies.design import ARCHITECTURES, RATES, STARTS, Amount, initializer
from undertow.studies.remedies.stack import Descent, Stack, drawn
from undertow.studies.tasks import Tick

Array = NDArray[np.float64]


def train(
    data: Dataset, tick: Tick, /, *, activation: str, architecture: str, optimizer: str, amount: Amount, seed: int
) -> Array:
    """Validation accuracy after the updates, [depths, starts, learning rates]."""
    rates = RATES[optimizer]
    found = []
    for depth in amount.depths:
        stack = _stack(data, activation, architecture, depth, len(rates), amount, seed)
        descent = Descent(stack, optimizer, torch.tensor(rates).repeat(len(STARTS)))
        n = len(data.train)
        for t in range(amount.updates):
            chosen = torch.arange(t * amount.batch, (t + 1) * amount.batch) % n
            descent.step(data.train.x[chosen], data.train.y[chosen])
        accuracy = stack.accuracy(data.validation.x[: amount.judged], data.validation.y[: amount.judged])
        found.append(accuracy.view(len(STARTS), len(rates)).numpy())
        tick(1)
    return np.stack(found)


def start(data: Dataset, tick: Tick, /, *, activation: str, amount: Amount, seed: int) -> dict[str, dict[str, Any]]:
    """||dC/db^l|| of every hidden layer before training, {architecture: {depth: [starts, hidden layers]}}."""
    found: dict[str, dict[str, Any]] = {}
    for architecture in ARCHITECTURES:
        found[architecture] = {}
        for depth in amount.depths:
            stack = _stack(data, activation, architecture, depth, 1, amount, seed)
            x, y = data.train.x[: amount.judged], data.train.y[: amount.judged]
            found[architecture][str(depth)] = stack.learning_speed(x, y).numpy()
        tick(1)
    return found


def _stack(
    data: Dataset, activation: str, architecture: str, depth: int, each: int, amount: Amount, seed: int
) -> Stack:
    """``each`` networks from every start, those of a start alike."""
    recipes = [initializer(name, activation) for name in STARTS for _ in range(each)]
    weights = drawn(recipes, data.n_inputs, amount.width, depth, data.n_classes, seed)
    return Stack(weights, activation, architecture)
