"""Measure in a layer what the paper does: activations, what comes back to it, its weights' gradients, its Jacobian."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertow.activations import SATURATED_BELOW, activation
from undertow.lab import Ensemble
from undertow.lab.layers import LayerPass

Array = NDArray[np.float64]

RANGE = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "softsign": (-1.0, 1.0)}
END = 1 / 40
"""For tanh and the sigmoid this end of the range is where φ' falls below a tenth of its largest; not for softsign."""

JACOBIANS = 4
"""Examples whose Jacobians are decomposed."""


def measures(nets: Ensemble, x: Tensor, y: Tensor) -> dict[str, Array]:
    """Everything at once, each [members, hidden layers]; ``singular`` has a column less.

    mean, sd: of the activations over units and examples.
    ended: share of units, over examples, within a fortieth of their range from an end of it.
    saturated: share of units, over examples, where φ' is under a tenth of its largest value.
    delta: root mean square of dC/dz of single examples.
    weight_gradient: root mean square of dC/dw of single examples.
    singular: mean singular value of the Jacobian from one hidden layer's z to the next one's.

    Example:
        >>> nets = Ensemble([4, 5, 5, 3], members=2, activation="tanh", cost="log-likelihood")
        >>> found = measures(nets, torch.rand(6, 4), torch.arange(6) % 3)
        >>> found["sd"].shape, found["singular"].shape
        ((2, 2), (2, 1))
    """
    signals = nets.backpropagate(*nets.examples(x, y))
    hidden = range(len(nets.layers) - 1)
    columns = {
        "mean": [signals[l].a.mean((1, 2)) for l in hidden],
        "sd": [signals[l].a.flatten(1).std(1) for l in hidden],
        "ended": [_ended(nets.activations[l], signals[l].a) for l in hidden],
        "saturated": [_saturated(nets, l, signals[l]) for l in hidden],
        "delta": [_rms(signals[l].delta) for l in hidden],
        "weight_gradient": [_weight_gradient(signals[l]) for l in hidden],
        "singular": [jacobian_singular_values(nets, l, signals[l]).mean((1, 2)) for l in list(hidden)[:-1]],
    }
    return {name: torch.stack(column, -1).double().cpu().numpy() for name, column in columns.items()}


def jacobian_singular_values(nets: Ensemble, l: int, at: LayerPass) -> Tensor:
    """Singular values of dz^{l+2}/dz^{l+1} = w diag φ' (l from 0), [members, examples, width]."""
    slopes = nets.kernels[l].derivative(at.z, at.a)[:, :JACOBIANS]
    return torch.linalg.svdvals(nets.layers[l + 1].w[:, None] * slopes[:, :, None, :])


def samples(signals: Sequence[LayerPass], count: int, generator: np.random.Generator) -> dict[str, Array]:
    """Single activations, dC/dz and dC/dw of the first member, each [hidden layers, count]."""
    drawn: dict[str, list[Array]] = {"activation": [], "delta": [], "weight_gradient": []}
    for at in signals[:-1]:
        m, n_out = at.a.shape[1:]
        example, unit = generator.integers(m, size=count), generator.integers(n_out, size=count)
        delta = at.delta[0].double().numpy()[example, unit]
        inputs = (at.input if at.input.ndim == 2 else at.input[0]).double().numpy()
        drawn["activation"].append(at.a[0].double().numpy()[example, unit])
        drawn["delta"].append(delta)
        drawn["weight_gradient"].append(delta * inputs[example, generator.integers(inputs.shape[1], size=count)])
    return {name: np.stack(each) for name, each in drawn.items()}


def _ended(name: str, a: Tensor) -> Tensor:
    low, high = RANGE[name]
    return ((a - (low + high) / 2).abs() > (0.5 - END) * (high - low)).double().mean((1, 2))


def _saturated(nets: Ensemble, l: int, at: LayerPass) -> Tensor:
    limit = SATURATED_BELOW * activation(nets.activations[l]).peak
    return (nets.kernels[l].derivative(at.z, at.a).abs() < limit).double().mean((1, 2))


def _weight_gradient(at: LayerPass) -> Tensor:
    """Return the rms of δ_i a_j: its mean square is that of δ times that of a, example by example."""
    return (at.delta.double().square().mean(-1) * at.input.double().square().mean(-1)).mean(-1).sqrt()


def _rms(t: Tensor) -> Tensor:
    return t.double().square().mean((1, 2)).sqrt()
