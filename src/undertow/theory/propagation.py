"""Signal and gradient layer by layer, from the input on, and how far networks of finite width stray from it.

    q^(l+1) = σ_w² E[φ(√q^l u)²] + σ_b²,    E||δ^l||² = χ^l E||δ^(l+1)||²,    χ^l = σ_w² E[φ'(√q^l u)²]

where σ_w² belongs to the weights from l to l+1. No fixed point is needed, and the layers may differ.

Spread at finite width. Given the layer above, ||δ^l||² is an average of n independent terms φ'(z_i)² g_i² with
g_i normal, of relative variance κ = 3 E[φ'^4] / E[φ'²]² - 1; that alone gives Var ln||δ^1||² = Σ κ_l / n_l, which
is 5 Σ 1/n_l for ReLU (Hanin & Nica 2020, "Products of many large random matrices and gradients in deep neural
networks"). The variance of the pre-activations strays too: q^(l+1) by a term of variance B/n, B = σ_w⁴ Var φ²,
covarying with the former by C/n, C = σ_w² Cov(φ², φ'²) / E[φ'²]; it is passed on by λ = ∂q^(l+1)/∂q^l and moves
ln χ by α = d ln E[φ'²]/dq in every layer. Adding up what the noise of each layer does to all gains after it gives
Σ (κ + 2 H C + H² B) / n with H_l = α_(l+1) + λ_(l+1) H_(l+1) (our own derivation, to first order in 1/n; held to
simulated networks by a test).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from undertow.activations import Activation
from undertow.theory.fixedpoint import check_keep, check_variances, slope_moment, value_moment, value_moment_slope
from undertow.theory.functions import ActivationLike, as_activation
from undertow.theory.quadrature import expect, expect_weighted

Array = NDArray[np.float64]

OVERFLOW = 1e76
"""The variance at which pre-activations leave float32's range."""

FLAT = 1e-6
"""Below this variance an activation is taken as straight: derivatives by q are formed here instead of at zero."""


@dataclass(frozen=True)
class Layer:
    """A fully-connected layer, z = W a + b then φ(z), by its statistics.

    Attributes:
        activation: φ: name, `Activation` or elementwise NumPy function.
        weight_var: n_in Var W; of given weights, ||W||_F² / n_out.
        bias_var: Var b; of given biases, their mean square.
        width: n_out; inf for the mean-field limit.
        keep: keep-probability of dropout after φ.
    """

    activation: ActivationLike
    weight_var: float
    bias_var: float = 0.0
    width: float = np.inf
    keep: float = 1.0

    def __post_init__(self) -> None:
        check_variances(weight_var=self.weight_var, bias_var=self.bias_var)
        check_keep(self.keep)
        if not self.width >= 1:
            raise ValueError(f"a layer has at least one unit, got width={self.width}")

    @classmethod
    def of(cls, activation: ActivationLike, weights: ArrayLike, biases: ArrayLike = 0.0, keep: float = 1.0) -> "Layer":
        """The layer that has these weights [n_out, n_in] and biases [n_out].

        Example:
            >>> Layer.of("relu", np.ones((4, 2)), np.full(4, 0.5))
            Layer(activation='relu', weight_var=2.0, bias_var=0.25, width=4, keep=1.0)
        """
        w, b = np.asarray(weights, dtype=np.float64), np.asarray(biases, dtype=np.float64)
        if w.ndim != 2:
            raise ValueError(f"weights must be [n_out, n_in], got {list(w.shape)}")
        return cls(activation, float(np.square(w).sum() / len(w)), float(np.square(b).mean()), len(w), keep)


@dataclass(frozen=True)
class Prediction:
    """Theory's expectation of a network before training, layers 1 to L.

    Attributes:
        q: variance of the pre-activations, [L].
        chi: E||δ^l||² / E||δ^(l+1)||² for l = 1 ... L-1, [L-1].
        decades: log10 of √(E||δ^l||² / E||δ^L||²), [L]; 0 in the last layer.
        spread: standard deviation over random networks of log10(||δ^l|| / ||δ^L||), [L]; 0 at infinite width.
        gain_spread: standard deviation of log10(||δ^l|| / ||δ^(l+1)||), [L-1].
    """

    q: Array
    chi: Array
    decades: Array
    spread: Array
    gain_spread: Array

    @property
    def typical(self) -> Array:
        """Mean of log10(||δ^l|| / ||δ^L||) over random networks: below ``decades`` by half the log-variance, [L]."""
        return self.decades - np.log(10) * self.spread**2


def predict(
    activation: ActivationLike,
    weight_var: float,
    bias_var: float = 0.0,
    *,
    depth: int,
    width: float = np.inf,
    mean_square: float = 1.0,
    keep: float = 1.0,
) -> Prediction:
    """Signal and gradient in a network of ``depth`` equal layers.

    Args:
        activation: name, `Activation` or elementwise NumPy function.
        weight_var: n_in Var W.
        bias_var: Var b.
        depth: L, layers.
        width: units a layer.
        mean_square: of the inputs x_i.
        keep: dropout's keep-probability.

    Raises:
        ValueError: a negative or non-finite variance, no layer.

    Example:
        >>> found = predict("relu", weight_var=2.0, depth=50, width=250)
        >>> round(float(found.decades[0]), 9) + 0.0, round(float(found.spread[0]), 3)
        (0.0, 0.215)
    """
    return propagate([Layer(activation, weight_var, bias_var, width, keep)] * depth, mean_square)


def propagate(layers: Sequence[Layer], mean_square: float = 1.0) -> Prediction:
    """Signal and gradient through the given layers.

    Args:
        layers: from the input to the output, at least one.
        mean_square: of the inputs x_i: q^1 = weight_var * mean_square + bias_var.

    Raises:
        ValueError: no layer, a negative variance, or a signal that overflows.

    Source:
        Poole et al. 2016; Schoenholz et al. 2017; spread: see the module.

    Example:
        >>> found = propagate([Layer("tanh", 1.0), Layer("tanh", 1.0), Layer("linear", 4.0)])
        >>> found.q.round(3).tolist(), found.chi.round(3).tolist()
        ([1.0, 0.394, 0.946], [0.464, 2.546])
    """
    check_variances(mean_square=mean_square)
    if not layers:
        raise ValueError("give at least one layer")
    q = _variances(layers, mean_square)
    noise = np.array([_noise(*pair, q[k]) for k, pair in enumerate(pairwise(layers))]).reshape(-1, 6)
    chi = noise[:, 0]
    with np.errstate(divide="ignore"):  # a gradient that is zero is -inf decades
        logs = np.log10(chi) / 2
    decades = np.append(np.cumsum(logs[::-1])[::-1], 0.0)
    to_decades = 1 / (2 * np.log(10))
    single, total = _log_variances(noise)
    to_decades = 1 / (2 * np.log(10))
    return Prediction(q, chi, decades, np.sqrt(np.append(total, 0.0)) * to_decades, np.sqrt(single) * to_decades)


def _variances(layers: Sequence[Layer], mean_square: float) -> Array:
    q = [layers[0].weight_var * mean_square + layers[0].bias_var]
    for layer, above in pairwise(layers):
        q.append(above.weight_var / layer.keep * float(value_moment(layer.activation, q[-1])) + above.bias_var)
        if not q[-1] < OVERFLOW:
            raise ValueError(
                f"the signal explodes: at layer {len(q)} its variance is {q[-1]:.3g}, which float32 can't hold; "
                "lower weight_var or look at fewer layers"
            )
    return np.array(q)


def _noise(layer: Layer, above: Layer, q: float) -> tuple[float, float, float, float, float, float]:
    """χ, λ, α, and the variances κ/n, C/n, B/n, of one layer (see the module)."""
    phi, w, keep = as_activation(layer.activation), above.weight_var, layer.keep
    value2, slope2 = float(value_moment(phi, q)), float(slope_moment(phi, q))
    value4, slope4, both = _fourth_moments(phi, q)
    bent = max(q, FLAT)
    passed = w / keep * float(value_moment_slope(phi, bent))
    if slope2 == 0:
        return 0.0, passed, 0.0, 0.0, 0.0, 0.0
    curvature = float(_slope_moment_slope(phi, bent)) / slope2
    kappa = 3 * slope4 / slope2**2 / keep - 1
    covariance = w / keep * (both / keep - value2 * slope2) / slope2
    variance = (w / keep) ** 2 * (value4 / keep - value2**2)
    n = layer.width
    return w / keep * slope2, passed, curvature, kappa / n, covariance / n, variance / n


def _fourth_moments(phi: Activation, q: float) -> tuple[float, float, float]:
    value4 = expect(lambda z: np.asarray(phi.value(z) ** 4, np.float64), q, phi.kinks)
    slope4 = expect(lambda z: np.asarray(phi.derivative(z) ** 4, np.float64), q, phi.kinks)
    both = expect(lambda z: np.asarray((phi.value(z) * phi.derivative(z)) ** 2, np.float64), q, phi.kinks)
    return float(value4), float(slope4), float(both)


def _slope_moment_slope(phi: Activation, q: float) -> float:
    """d E[φ'²] / dq, by the derivative of the Gaussian density: no φ'' needed."""
    weighted = expect_weighted(lambda z, u: np.square(np.asarray(phi.derivative(z))) * (u**2 - 1), q, phi.kinks)
    return float(weighted) / (2 * q)


def _log_variances(noise: Array) -> tuple[Array, Array]:
    """Var ln(||δ^l||² / ||δ^(l+1)||²) and Var ln(||δ^l||² / ||δ^L||²), for l = 1 ... L-1."""
    _, passed, curvature, kappa, covariance, variance = noise.T
    strayed, total = np.zeros(len(noise)), np.zeros(len(noise))
    for k in range(1, len(noise)):
        strayed[k] = passed[k - 1] ** 2 * strayed[k - 1] + variance[k - 1]
    ahead = own = 0.0
    for k in range(len(noise) - 1, -1, -1):
        own += kappa[k] + 2 * ahead * covariance[k] + ahead**2 * variance[k]
        ahead = curvature[k] + passed[k] * ahead
        total[k] = own + ahead**2 * strayed[k]
    return kappa + curvature**2 * strayed, total
