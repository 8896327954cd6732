"""The singular values of a whole random network's Jacobian: typical, spread, and largest.

J = D^L W^L ... D^1 W^1 with D = diag φ'(z) at the fixed point. In the limit of wide layers the squared singular values
have, by free probability, a mean, a variance and an upper edge that need only the distribution of φ'² (Pennington,
Schoenholz & Ganguli 2017, "Resurrecting the sigmoid in deep learning through dynamical isometry"; 2018, "The
emergence of spectral universality in deep networks"). Orthogonal weights take away the weights' own share of the
spread.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from undertow.activations import Activation
from undertow.theory.fixedpoint import check_variances, q_star, slope_moment
from undertow.theory.functions import ActivationLike, as_activation
from undertow.theory.quadrature import expect, rule
from undertow.theory.simulation import Weights

Array = NDArray[np.float64]

FLAT = 1e-12
"""A relative variance of φ'² below this is the quadrature's rounding."""


@dataclass(frozen=True)
class JacobianSpectrum:
    """The squared singular values of the Jacobian, in the limit of infinite width.

    Attributes:
        mean: their mean, χ_1^L: the typical squared gain.
        variance: their variance; 0 is dynamical isometry.
        largest: the largest, squared spectral norm: the worst-case squared gain.
    """

    mean: float
    variance: float
    largest: float


def jacobian_spectrum(
    activation: ActivationLike,
    weight_var: float,
    bias_var: float = 0.0,
    *,
    depth: int,
    weights: Weights = "gaussian",
    q: float | None = None,
) -> JacobianSpectrum:
    """Mean, variance and upper edge of the squared singular values of a deep network's Jacobian.

    Args:
        activation: name, `Activation` or elementwise NumPy function.
        weight_var: σ_w²: n_in Var W, or the squared scale of the orthogonal matrices.
        bias_var: Var b.
        depth: L, layers.
        weights: ``"gaussian"`` or ``"orthogonal"``.
        q: variance of the pre-activations, the same in all layers; None: q*.

    Raises:
        NoFixedPoint: ``q`` isn't given and there is no q*.
        ValueError: no layer, a negative variance.

    Source:
        Mean and variance: Pennington et al. 2017: with μ_k = E[φ'^2k] and s_1 = -1 for Gaussian, 0 for
        orthogonal weights, (σ_w² μ_1)^L and (σ_w² μ_1)^2L L (μ_2/μ_1² - 1 - s_1). Upper edge: the branch point of the
        product's moment generating function, through the S-transforms (2018).

    Example:
        >>> found = jacobian_spectrum("linear", 1.0, depth=4)
        >>> found.mean, found.variance, round(found.largest, 6)  # (L + 1)^(L + 1) / L^L
        (1.0, 4.0, 12.207031)
        >>> found = jacobian_spectrum("linear", 1.0, depth=4, weights="orthogonal")
        >>> found.mean, found.variance, round(found.largest, 9)
        (1.0, 0.0, 1.0)
    """
    phi = as_activation(activation)
    if depth < 1:
        raise ValueError(f"a network has at least one layer, got depth={depth}")
    if q is None:
        q = q_star(phi, weight_var, bias_var)
    check_variances(weight_var=weight_var, bias_var=bias_var, q=q)
    slope2 = float(slope_moment(phi, q))
    slope4 = float(expect(lambda z: np.asarray(phi.derivative(z) ** 4, np.float64), q, phi.kinks))
    mean = (weight_var * slope2) ** depth
    own_share = 1.0 if weights == "gaussian" else 0.0
    kurtosis = slope4 / slope2**2 - 1 if slope2 else 0.0
    variance = mean**2 * depth * ((kurtosis if kurtosis > FLAT else 0.0) + own_share)
    return JacobianSpectrum(mean, variance, _upper_edge(phi, q, weight_var, depth, weights))


def _upper_edge(phi: Activation, q: float, weight_var: float, depth: int, weights: Weights) -> float:
    """The least value, over x above φ'², of the inverse moment generating function (1+m)/m (S_D S_W)^-L at m(x).

    m = E[φ'²/(x - φ'²)] and 1/S_D = m x/(1+m); 1/S_W = σ_w² (1+m) for Gaussian and σ_w² for orthogonal weights.
    """
    u, weight = (each[0] for each in rule(np.array([np.sqrt(max(q, 1e-300))]), phi.kinks))
    squares = np.asarray(phi.derivative(np.sqrt(q) * u), np.float64) ** 2
    top = float(squares.max())
    if weight_var == 0 or top == 0:
        return 0.0

    def log_edge(log_excess: float) -> float:
        above = top * np.exp(log_excess)
        m = float(weight @ (squares / (top - squares + above)))
        per_layer = np.log(weight_var * (top + above) * m) - (0.0 if weights == "gaussian" else np.log1p(m))
        return float(np.log1p(m) - np.log(m) + depth * per_layer)

    # In the logarithm of the excess, as the minimum lies anywhere between rounding and far away.
    grid = np.linspace(-35, 20, 221)
    best = grid[int(np.argmin([log_edge(each) for each in grid]))]
    found = optimize.minimize_scalar(log_edge, bounds=(best - 0.5, best + 0.5), method="bounded")
    return float(np.exp(found.fun))
