"""Readings of each layer from a mini-batch's signals: its learning speed, and the factors it is made of.

The speed of layer l is the norm of δ^l averaged over examples (BP3). It splits, exactly, into how large the
examples' own δ are and how much of them survives the averaging:

    ||mean δ^l|| = rms ||δ^l|| x coherence^l

and what comes back from one layer to the one before splits into what the weights do and what the activation does:

    ||δ^l|| / ||δ^{l+1}|| = (||w||_F / sqrt(n_out) x alignment_w) x (rms φ' x alignment_φ)

where norms run over all examples at once. The alignments compare what the layer did to this gradient with what it
does to one that points nowhere in particular; they are worked out from the gradient received, w and z, never as what
is left over.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertow.lab.layers import LayerPass
from undertow.lab.networks import Networks

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SpeedFactors:
    """Learning speeds of an ensemble's hidden layers, and their factors; every array is [members, hidden layers].

    Attributes:
        speed: ||dC/db^l||, C averaged over the examples.
        per_example: root mean square over examples of ||δ^l||.
        coherence: speed / per_example: how much of the examples' gradients survives their average.
        weights: ||w^{l+1}||_F / sqrt(n_out), what the weights do to a gradient that points nowhere in particular.
        alignment_w: what they did to this one, relative to that.
        activation: root mean square of φ'(z^l).
        alignment_phi: what multiplying by φ' did to this gradient, relative to that.
        received: root mean square over examples of ||δ^{l+1}||.

    Example:
        >>> nets = Networks([4, 3, 3, 2], members=2, dtype=torch.float64)
        >>> s = split(nets, torch.rand(9, 4), torch.arange(9) % 2)
        >>> factors = s.weights * s.alignment_w * s.activation * s.alignment_phi
        >>> bool(np.allclose(s.received * factors * s.coherence, s.speed))
        True
    """

    speed: Array
    per_example: Array
    coherence: Array
    weights: Array
    alignment_w: Array
    activation: Array
    alignment_phi: Array
    received: Array

    @property
    def gain(self) -> Array:
        """rms ||δ^l|| / rms ||δ^{l+1}||, as measured."""
        return self.per_example / self.received


def split(nets: Networks, x: Tensor, y: Tensor) -> SpeedFactors:
    """SpeedFactors the learning speeds of all hidden layers for the examples x [m, n_in], y."""
    signals = nets.backpropagate(*nets.examples(x, y))
    columns = [_factors(nets, l, signals) for l in range(len(signals) - 1)]
    return SpeedFactors(*(np.stack([c[f.name] for c in columns], -1) for f in fields(SpeedFactors)))


def per_example_speed(at: LayerPass) -> Tensor:
    """Return the mean over examples of ||δ||, [members]: the speed as it would be if no two examples cancelled."""
    return at.delta.double().norm(dim=-1).mean(1).to(at.delta.dtype)


def speed(at: LayerPass) -> Tensor:
    """||mean over examples of δ||, [members]: the book's learning speed (BP3)."""
    return at.delta.mean(1).double().norm(dim=-1).to(at.delta.dtype)  # float32 squares vanish below 1e-23


def share_of_progress(nets: Networks, x: Tensor, y: Tensor, decay: float = 0.0) -> Tensor:
    """Return each layer's part of the first-order change of C in one step of gradient descent, [members, layers].

    -<g, dw> of the layer over the sum of all layers', with dw = -(g + decay * w): it sums to 1 and doesn't depend on
    the learning rate, on a layer's width, or on the scale of the loss. NaN where a step would not lower C at all.

    Example:
        >>> nets = Networks([4, 3, 2], members=2)
        >>> share = share_of_progress(nets, torch.rand(9, 4), torch.arange(9) % 2)
        >>> torch.allclose(share.sum(-1), torch.ones(2, dtype=share.dtype))
        True
    """
    signals = nets.backpropagate(*nets.examples(x, y))
    progress = []
    for layer, at in zip(nets.layers, signals, strict=True):
        gradient = layer.zeros()
        at.add_gradient_to(gradient, step=1.0)
        g = gradient.w.double()
        progress.append((g * (g + decay * layer.w)).sum((1, 2)) + gradient.b.double().square().sum((1, 2)))
    whole = torch.stack(progress, -1)
    total = whole.sum(-1, keepdim=True)
    return torch.where(total > 0, whole / total, torch.nan)


def _factors(nets: Networks, l: int, signals: list[LayerPass]) -> dict[str, Array]:
    at, above, w = signals[l], signals[l + 1], nets.layers[l + 1].w
    g = torch.bmm(above.delta, w)
    derivative = nets.kernels[l].derivative(at.z, at.a)
    weights = _size(w) / w.shape[1] ** 0.5
    activation = _rms(derivative.flatten(1))
    m = at.m**0.5
    numbers = {
        "speed": speed(at),
        "per_example": _size(at.delta) / m,
        "coherence": speed(at) * m / _size(at.delta),
        "weights": weights,
        "alignment_w": _size(g) / (weights * _size(above.delta)),
        "activation": activation,
        "alignment_phi": _size(derivative * g) / (activation * _size(g)),
        "received": _size(above.delta) / m,
    }
    return {name: value.double().cpu().numpy() for name, value in numbers.items()}


def _size(t: Tensor) -> Tensor:
    return t.flatten(1).double().norm(dim=1)


def _rms(t: Tensor) -> Tensor:
    return t.square().mean(1).sqrt()
