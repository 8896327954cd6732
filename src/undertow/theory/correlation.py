"""How alike two inputs stay on their way through a random network: the correlation map and its depth scales.

    c → (σ_w² E[φ(u_1) φ(u_2)] + σ_b²) / q*,   u_1, u_2 ~ N(0, q*) with correlation c

Poole et al. 2016; Schoenholz et al. 2017. Averages over the pair are taken in the sum and the
difference of u_1 and u_2, where the integrand is even and its kinks are straight lines.
"""

import numpy as np
from numpy.typing import NDArray

from undertow.activations import Activation
from undertow.theory.fixedpoint import check_keep, check_variances, q_star, slope_moment, value_moment
from undertow.theory.fixedpoint import value_moment_slope as variance_slope
from undertow.theory.functions import ActivationLike, Value, as_activation
from undertow.theory.quadrature import BEND, expect, graded_rule, rule

Array = NDArray[np.float64]

ROUNDS = 200
AT_REST = 1e-12
NEAREST = 1e-6
"""Correlations within this of 1 are not told apart from 1 by the quadrature."""

ROWS = 64


def value_covariance(activation: ActivationLike, q: float, c: float) -> float:
    """E[φ(u_1) φ(u_2)] for u_1, u_2 ~ N(0, q) with correlation c.

    Args:
        activation: name, `Activation` or elementwise NumPy function.
        q: variance of both.
        c: correlation, in [-1, 1].

    Example:
        >>> round(value_covariance("relu", q=1.0, c=0.0) * 2 * np.pi, 9)  # Cho & Saul 2009
        1.0
    """
    phi = as_activation(activation)
    return _pair_average(phi, phi.value, q, c)


def slope_covariance(activation: ActivationLike, q: float, c: float) -> float:
    """E[φ'(u_1) φ'(u_2)], likewise.

    Example:
        >>> round(slope_covariance("relu", q=1.0, c=0.5) * 3, 9)  # (π - arccos c) / 2π
        1.0
    """
    phi = as_activation(activation)
    return _pair_average(phi, phi.derivative, q, c)


def _pair_average(phi: Activation, function: Value, q: float, c: float) -> float:
    check_variances(q=q)
    if not -1 <= c <= 1:
        raise ValueError(f"a correlation lies in [-1, 1], got {c}")
    root, along, across = np.sqrt(max(q, np.finfo(float).tiny)), np.sqrt((1 + c) / 2), np.sqrt((1 - c) / 2)
    if min(along, across) == 0:
        return _perfectly_correlated(phi, function, root, sign=1.0 if across == 0 else -1.0)
    cuts = _cuts(phi)
    meetings = tuple({(one + other) / 2 / along for one in cuts for other in cuts})
    s, s_weight = (each[0] for each in rule(np.array([root]), meetings, finest=across / along))
    rows = [slice(i, i + ROWS) for i in range(0, s.size, ROWS)]
    return sum(float(s_weight[r] @ _inner(phi, function, root, along, across, s[r])) for r in rows)


def _cuts(phi: Activation) -> tuple[float, ...]:
    return tuple({0.0, *phi.kinks})


def _inner(phi: Activation, function: Value, root: float, along: float, across: float, s: Array) -> Array:
    """The average over the difference t for each sum s, cut where either argument meets a kink."""
    cuts, centre, reach = np.array(_cuts(phi)), root * along * s[:, None], root * across
    edges = np.concatenate([cuts - centre, centre - cuts], axis=1) / reach
    t, t_weight = graded_rule(edges, BEND / reach)
    product = np.asarray(function(centre + reach * t)) * function(centre - reach * t)
    return np.asarray(np.einsum("sn,sn->s", product, t_weight))


def _perfectly_correlated(phi: Activation, function: Value, root: float, sign: float) -> float:
    both = (*phi.kinks, *(-kink for kink in phi.kinks))
    return float(expect(lambda z: np.asarray(function(z)) * function(sign * z), root**2, both))


def c_map(
    activation: ActivationLike, weight_var: float, bias_var: float, c: float, *, q: float, keep: float = 1.0
) -> float:
    """The correlation of two inputs' pre-activations one layer on, when it is c now and both variances are q.

    Args:
        activation: name, `Activation` or elementwise NumPy function.
        weight_var: σ_w² = n_in Var W.
        bias_var: σ_b² = Var b.
        c: the correlation now.
        q: the variance of both, normally q*; positive.
        keep: dropout's keep-probability; the two inputs get masks of their own.

    Source:
        Poole et al. 2016; with dropout Schoenholz et al. 2017.

    Example:
        >>> round(c_map("relu", weight_var=2.0, bias_var=0.0, c=0.0, q=1.0), 6)  # 1/π
        0.31831
    """
    check_keep(keep)
    total = weight_var / keep * float(value_moment(activation, q)) + bias_var
    return (weight_var * value_covariance(activation, q, c) + bias_var) / total


def c_star(
    activation: ActivationLike, weight_var: float, bias_var: float = 0.0, *, q0: float = 1.0, keep: float = 1.0
) -> float:
    """The correlation that any two inputs tend to: 1 in the ordered phase, less in the chaotic phase.

    The map is convex and increasing on [0, 1], so Newton's method from 0 climbs to its first fixed point. Where
    q* = 0 the signal itself dies out, and the answer is 1.

    Args:
        activation: name, `Activation` or elementwise NumPy function.
        weight_var: σ_w² = n_in Var W.
        bias_var: σ_b² = Var b.
        q0: variance in the first layer, which decides between several q*.
        keep: dropout's keep-probability; below 1 no two inputs stay alike.

    Raises:
        NoFixedPoint: there is no q*.

    Source:
        Poole et al. 2016; Schoenholz et al. 2017.

    Example:
        >>> c_star("tanh", weight_var=1.2, bias_var=0.3)
        1.0
        >>> round(c_star("tanh", weight_var=4.0, bias_var=0.3), 4)
        0.5754
    """
    phi = as_activation(activation)
    q = q_star(phi, weight_var, bias_var, q0=q0, keep=keep)
    if q == 0 or (keep == 1 and weight_var * float(slope_moment(phi, q)) <= 1 + NEAREST):
        return 1.0
    c = 0.0
    for _ in range(ROUNDS):
        gap = c_map(phi, weight_var, bias_var, c, q=q, keep=keep) - c
        slope = weight_var * slope_covariance(phi, q, c) - 1
        if gap <= AT_REST or slope >= 0:
            break
        c = min(c - gap / slope, 1.0)
    return c


def xi_q(
    activation: ActivationLike, weight_var: float, bias_var: float = 0.0, *, q0: float = 1.0, keep: float = 1.0
) -> float:
    """ξ_q: the layers over which the variance forgets where it started, by a factor e; inf at a critical point.

    Args and errors: as `c_star`.

    Source:
        Schoenholz et al. 2017: ξ_q = -1 / ln(χ_1 + σ_w² E[φ φ'']).

    Example:
        >>> round(xi_q("tanh", weight_var=1.5, bias_var=0.05), 2)
        1.68
    """
    phi = as_activation(activation)
    q = q_star(phi, weight_var, bias_var, q0=q0, keep=keep)
    return depth_scale(abs(weight_var / keep * float(variance_slope(phi, q))))


def xi_c(
    activation: ActivationLike, weight_var: float, bias_var: float = 0.0, *, q0: float = 1.0, keep: float = 1.0
) -> float:
    """ξ_c: the layers over which two inputs' correlation comes e times closer to c*; inf at a critical point.

    Args and errors: as `c_star`.

    Source:
        Schoenholz et al. 2017: ξ_c = -1 / ln(σ_w² E[φ'(u_1) φ'(u_2)]) at c*.

    Example:
        >>> round(xi_c("tanh", weight_var=1.5, bias_var=0.05), 2)
        15.79
    """
    phi = as_activation(activation)
    q = q_star(phi, weight_var, bias_var, q0=q0, keep=keep)
    c = c_star(phi, weight_var, bias_var, q0=q0, keep=keep)
    return depth_scale(weight_var * (slope_covariance(phi, q, c) if c < 1 else float(slope_moment(phi, q))))


def depth_scale(rate: float) -> float:
    """-1 / ln(rate): over how many layers a quantity multiplied by ``rate`` each falls e-fold; negative: it grows.

    Example:
        >>> depth_scale(1.0), depth_scale(0.0), round(depth_scale(0.5), 3), round(depth_scale(2.0), 3)
        (inf, 0.0, 1.443, -1.443)
    """
    if rate == 0:
        return 0.0
    return float("inf") if abs(rate - 1) < AT_REST else float(-1 / np.log(rate))
