"""The cost over two weights, one of each layer: where is it flat?

Every point of the surface is a member of one ensemble: a network with one tanh unit and one sigmoid output, whose
cross-entropy is the log-likelihood of two classes.
"""

from typing import Any

import numpy as np
import torch

from undertow.lab import Dataset, Ensemble
from undertow.studies.experiments import Tick

REACH, POINTS = 6.0, 61
EXAMPLES = 100
FLAT = 0.01
"""A place is flat where the gradient is under this share of the cost's greatest gradient on the surface."""


def surfaces(_data: Dataset, tick: Tick, /, *, seed: int) -> dict[str, Any]:
    """Both costs and their gradients over the plane of w^1 and w^2.

    Returns:
        w: the values of both weights, [points]; for "log-likelihood" and "quadratic": cost and gradient (its norm),
        [points of w^2, points of w^1], and flat, the share of the plane that is flat.
    """
    w = np.linspace(-REACH, REACH, POINTS)
    x, y = _examples(seed)
    found: dict[str, Any] = {"w": w}
    for name, cost in (("log-likelihood", "cross-entropy"), ("quadratic", "quadratic")):
        nets = _plane(w, cost)
        value = nets.loss(x, y).double().numpy().reshape(POINTS, POINTS)
        gradient = _gradient(nets, x, y).reshape(POINTS, POINTS)
        flat = float(np.mean(gradient < FLAT * gradient.max()))
        found[name] = {"cost": value, "gradient": gradient, "flat": flat}
        tick(1)
    return found


def _examples(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One number each, and a class that its sign tells with one in five mistaken."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((EXAMPLES, 1))
    y = (x > 0) ^ (generator.random((EXAMPLES, 1)) < 0.2)
    return torch.from_numpy(x), torch.from_numpy(y.astype(float))


def _plane(w: np.ndarray[Any, Any], cost: str) -> Ensemble:
    nets = Ensemble([1, 1, 1], len(w) ** 2, activation="tanh", cost=cost, initializer="constant", dtype=torch.float64)
    second, first = (torch.from_numpy(each.ravel().copy())[:, None, None] for each in np.meshgrid(w, w, indexing="ij"))
    nets.layers[0].w.copy_(first)
    nets.layers[1].w.copy_(second)
    return nets


def _gradient(nets: Ensemble, x: torch.Tensor, y: torch.Tensor) -> np.ndarray[Any, Any]:
    into = [layer.zeros() for layer in nets.layers]
    for at, layer in zip(nets.backpropagate(*nets.examples(x, y)), into, strict=True):
        at.add_gradient_to(layer, step=1.0)
    norm: np.ndarray[Any, Any] = torch.hypot(*(layer.w.flatten() for layer in into)).numpy()
    return norm
