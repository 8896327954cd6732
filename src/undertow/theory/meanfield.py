"""Mean-field theory: signal and gradient in wide random networks, before anything is trained.

Pre-activations of variance q, q ← σ_w² E[φ(√q u)²] + σ_b², come to rest at q*. There each layer multiplies the
mean squared gradient by χ_1 = σ_w² E[φ'(√q* u)²]: below 1 it vanishes (the ordered phase), above 1 it explodes
(the chaotic phase). Poole et al. 2016; Schoenholz et al. 2017. Throughout ``weight_var`` is σ_w² = n_in Var W and
``bias_var`` is σ_b² = Var b.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from undertow.theory.correlation import (
    c_map,
    c_star,
    depth_scale,
    slope_covariance,
    value_covariance,
    xi_c,
    xi_q,
)
from undertow.theory.fixedpoint import (
    Q_MAX,
    NoFixedPoint,
    check_keep,
    check_variances,
    fixed_points,
    q_star,
    slope_moment,
    value_moment,
    value_moment_slope,
)
from undertow.theory.functions import ActivationLike, UnusableActivation, as_activation, from_function
from undertow.theory.propagation import Layer, Prediction, predict, propagate

__all__ = [
    "INITIALIZERS",
    "Layer",
    "NoFixedPoint",
    "Phase",
    "PhaseDiagram",
    "Prediction",
    "UnusableActivation",
    "c_map",
    "c_star",
    "chi",
    "critical_line",
    "from_function",
    "half_stable",
    "layer_gain",
    "phase",
    "phase_diagram",
    "predict",
    "propagate",
    "q_star",
    "slope_covariance",
    "slope_moment",
    "trainable_depth",
    "value_covariance",
    "value_moment",
    "xi_c",
    "xi_grad",
    "xi_q",
]

Array = NDArray[np.float64]
Phase = Literal["ordered", "chaotic", "critical"]

INITIALIZERS: dict[str, tuple[float, float]] = {
    "default": (1.0, 1.0),
    "standard": (1 / 3, 0.0),
    "lecun": (1.0, 0.0),
    "glorot_normal": (1.0, 0.0),
    "glorot_uniform": (1.0, 0.0),
    "orthogonal": (1.0, 0.0),
    "he": (2.0, 0.0),
}
"""weight_var and bias_var of the usual initializers at equal widths, by the lab's names; ``standard`` is torch's
default for nn.Linear but for its biases, of variance 1/(3 n_in)."""

TRAINABLE = 6.0
"""Networks train up to about 6 ξ_c layers: an empirical rule of Schoenholz et al. 2017."""

FLAT = 1e-12


def chi(
    activation: ActivationLike,
    weight_var: float,
    bias_var: float = 0.0,
    *,
    q: float | None = None,
    q0: float = 1.0,
    keep: float = 1.0,
) -> float:
    """χ_1: what one layer multiplies the squared norm of the gradient by, E||δ^l||² = χ_1 E||δ^(l+1)||².

    Layers may differ in width: as ``weight_var`` counts n_in Var W, the backward product sums over n_in units.

    Args:
        activation: name, `Activation` or elementwise NumPy function.
        weight_var: σ_w² = n_in Var W.
        bias_var: σ_b² = Var b.
        q: variance of this layer's pre-activations; None: the fixed point q*.
        q0: variance in the first layer, which decides between several fixed points.
        keep: dropout's keep-probability.

    Raises:
        NoFixedPoint: ``q`` isn't given and the variance grows without bound.
        ValueError: a negative or non-finite variance.

    Source:
        Schoenholz et al. 2017, "Deep information propagation".

    Example:
        >>> round(chi("sigmoid", weight_var=1.0, bias_var=1.0), 4)  # the chapter's networks
        0.042
        >>> chi("tanh", weight_var=1.0)
        1.0
    """
    phi = as_activation(activation)
    if q is None:
        q = q_star(phi, weight_var, bias_var, q0=q0, keep=keep)
    check_variances(weight_var=weight_var, bias_var=bias_var, q=q)
    check_keep(keep)
    found = float(weight_var / keep * slope_moment(phi, q))
    if not np.isfinite(found):
        raise ValueError(f"{phi.name} grows too fast: E[φ'²] overflows at q={q:g}")
    return found


def layer_gain(activation: ActivationLike, weight_var: float, bias_var: float = 0.0, q: float | None = None) -> float:
    """√χ_1: what one layer multiplies the gradient's norm by on its way back.

    Args and errors: as `chi`.

    Example:
        >>> round(1 / layer_gain("sigmoid", weight_var=1.0, bias_var=1.0), 2)  # each layer so much slower
        4.88
        >>> round(layer_gain("relu", weight_var=1 / 3), 3)  # torch's default nn.Linear
        0.408
    """
    return float(np.sqrt(chi(activation, weight_var, bias_var, q=q)))


def xi_grad(
    activation: ActivationLike, weight_var: float, bias_var: float = 0.0, *, q0: float = 1.0, keep: float = 1.0
) -> float:
    """ξ_∇ = -1 / ln χ_1: the layers over which the squared gradient falls e-fold; negative where it grows.

    The gradient's norm itself takes twice as many layers.

    Args and errors: as `chi`.

    Source:
        Schoenholz et al. 2017.

    Example:
        >>> round(xi_grad("sigmoid", weight_var=1.0, bias_var=1.0), 3)
        0.315
        >>> xi_grad("tanh", weight_var=1.0)
        inf
    """
    return depth_scale(chi(activation, weight_var, bias_var, q0=q0, keep=keep))


def trainable_depth(
    activation: ActivationLike, weight_var: float, bias_var: float = 0.0, *, q0: float = 1.0, keep: float = 1.0
) -> float:
    """The depth, in layers, up to which such a network can be expected to train: 6 ξ_c; inf at a critical point.

    An empirical rule for fully-connected networks under plain gradient descent, not a theorem.

    Args and errors: as `chi`.

    Source:
        Schoenholz et al. 2017, their experiments on MNIST and CIFAR-10.

    Example:
        >>> round(trainable_depth("tanh", weight_var=1.2, bias_var=0.05))
        36
    """
    return TRAINABLE * xi_c(activation, weight_var, bias_var, q0=q0, keep=keep)


def phase(
    activation: ActivationLike,
    weight_var: float,
    bias_var: float = 0.0,
    *,
    q0: float = 1.0,
    keep: float = 1.0,
    tolerance: float = 1e-3,
) -> Phase:
    """Tell whether gradients vanish with depth (ordered), explode (chaotic), or neither (critical).

    Args:
        activation: name, `Activation` or elementwise NumPy function.
        weight_var: σ_w² = n_in Var W.
        bias_var: σ_b² = Var b.
        q0: variance in the first layer.
        keep: dropout's keep-probability.
        tolerance: |ln χ_1| up to which a point counts as critical: 1e-3 is e-fold in a thousand layers.

    Raises:
        NoFixedPoint: the variance grows without bound; `phase_diagram` tells what the gradient does then.

    Source:
        Poole et al. 2016; Schoenholz et al. 2017.

    Example:
        >>> phase("tanh", 0.9), phase("tanh", 1.0), phase("tanh", 1.1)
        ('ordered', 'critical', 'chaotic')
    """
    rate = chi(activation, weight_var, bias_var, q0=q0, keep=keep)
    if rate > 0 and abs(np.log(rate)) <= tolerance:
        return "critical"
    return "ordered" if rate < 1 else "chaotic"


def critical_line(activation: ActivationLike, q: ArrayLike) -> tuple[Array, Array]:
    """The variances at which the network is critical with fixed point q: χ_1 = 1 and q* = q.

    σ_w² = 1 / E[φ'(√q u)²] and σ_b² = q - σ_w² E[φ(√q u)²]; NaN where that would be negative. The point is a
    fixed point, but for GELU and SiLU an unstable one below `half_stable`.

    Args:
        activation: name, `Activation` or elementwise NumPy function.
        q: values of q*, any shape; 0 is the limit from above.

    Returns:
        weight_var and bias_var, each in the shape of ``q``.

    Source:
        Hayou et al. 2019, "On the impact of the activation function on deep neural networks training".

    Example:
        >>> weight_var, bias_var = critical_line("tanh", [0.0, 0.5])
        >>> weight_var.round(3).tolist(), bias_var.round(4).tolist()
        ([1.0, 1.688], [0.0, 0.038])
        >>> critical_line("sigmoid", 40.0)[1].item()  # out of reach
        nan
    """
    phi, variances = as_activation(activation), np.asarray(q, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):  # a flat or overflowing φ has no such point: NaN
        weight_var = 1 / slope_moment(phi, variances)
        bias_var = variances - weight_var * value_moment(phi, variances)
    reachable = bias_var >= -FLAT * np.maximum(variances, FLAT)
    return np.where(reachable, weight_var, np.nan), np.where(reachable, np.maximum(bias_var, 0), np.nan)


def half_stable(activation: ActivationLike, upto: float = 1e3) -> float | None:
    """The q at which the critical line turns from unstable to stable: V'(q) = χ_1 = 1, so E[φ φ''] = 0.

    There it attracts from one side only, and a stable fixed point lies close by on the other: for GELU it attracts
    from above (what starts below goes to q* = 3.035), for SiLU from below (what starts above goes to 14.593).

    Args:
        activation: name, `Activation` or elementwise NumPy function.
        upto: the largest q looked at.

    Returns:
        q, or None where the line is stable throughout (tanh, erf) or there is none.

    Example:
        >>> round(half_stable("gelu"), 4), half_stable("tanh")
        (3.5616, None)
    """
    phi = as_activation(activation)

    def excess(q: ArrayLike) -> Array:
        return value_moment_slope(phi, q) - slope_moment(phi, q)

    grid = np.logspace(-3, np.log10(upto), 200)
    values = excess(grid)
    turns = np.flatnonzero((values[:-1] > FLAT) & (values[1:] < -FLAT))
    if not turns.size:
        return None
    first = int(turns[0])
    return float(optimize.brentq(lambda q: float(excess(q)), grid[first], grid[first + 1], xtol=1e-12))


@dataclass(frozen=True)
class PhaseDiagram:
    """q* and χ_1 over a grid of variances.

    Attributes:
        q: q*; inf where the variance grows without bound.
        chi: χ_1 at q*; where there is no q*, its limit for large q.
    """

    q: Array
    chi: Array


def phase_diagram(
    activation: ActivationLike, weight_var: ArrayLike, bias_var: ArrayLike, *, q0: float = 1.0, keep: float = 1.0
) -> PhaseDiagram:
    """q* and χ_1 for many variances at once: 100 x 100 points in about a second.

    Args:
        activation: name, `Activation` or elementwise NumPy function.
        weight_var: σ_w² = n_in Var W; broadcast against ``bias_var``.
        bias_var: σ_b² = Var b.
        q0: variance in the first layer.
        keep: dropout's keep-probability.

    Raises:
        ValueError: a negative or non-finite variance.

    Example:
        >>> diagram = phase_diagram("tanh", np.array([0.5, 1.0, 2.0]), np.array([[0.0], [0.1]]))
        >>> diagram.chi.round(2).tolist()
        [[0.5, 1.0, 1.11], [0.39, 0.69, 1.0]]
    """
    phi = as_activation(activation)
    w, b = np.broadcast_arrays(np.asarray(weight_var, dtype=np.float64), np.asarray(bias_var, dtype=np.float64))
    check_variances(weight_var=_worst(w), bias_var=_worst(b), q0=q0)
    check_keep(keep)
    q = fixed_points(phi, w.ravel() / keep, b.ravel(), q0).reshape(w.shape)
    slopes = slope_moment(phi, np.minimum(q, Q_MAX))
    return PhaseDiagram(q, np.where(w == 0, 0.0, w / keep * slopes))


def _worst(values: Array) -> float:
    """One value to check in place of all: the smallest, or one that isn't finite."""
    return float(values.min()) if np.isfinite(values).all() else float(values[~np.isfinite(values)][0])
