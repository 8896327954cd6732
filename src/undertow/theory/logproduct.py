"""How the product of a random chain's factors w_j φ'(z_j) is distributed, for every depth.

With w ~ N(0, σ_w²) and b ~ N(0, σ_b²) the chain's activations a_j are a Markov chain, and the logarithm of the
product is a sum along it. Its mean and variance follow from a recursion over depth, exact up to quadrature:

    m_(k+1)(a) = E[f + m_k(a')],   s_(k+1)(a) = E[f² + 2 f m_k(a') + s_k(a')],   f = ln|w φ'(z)|, z = w a + b, a' = φ(z)

(our own derivation; no source states it for this chain).
"""

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from undertow.activations import Activation
from undertow.theory.functions import ActivationLike, as_activation
from undertow.theory.quadrature import gauss_legendre, rule

Array = NDArray[np.float64]

DEGREE = 16
"""Of the polynomials in a that stand for m_k and s_k: they are smooth."""

FINEST = 1e-3
_FIT = np.linalg.inv(chebyshev.chebvander(chebyshev.chebpts1(DEGREE + 1), DEGREE))
"""Values at the states -> coefficients of the polynomial through them."""


@dataclass(frozen=True)
class LogProduct:
    """ln|Π w_j φ'(z_j)| over 1, 2, ... factors.

    The sum is skewed to the left: large products are far rarer than a normal law with this mean and spread says.

    Attributes:
        mean: E ln|product|, [depth].
        std: its standard deviation over random chains, [depth].
    """

    mean: Array
    std: Array

    @property
    def typical_factor(self) -> float:
        """The geometric mean of one factor deep inside the chain: each layer multiplies by about this."""
        return float(np.exp(self.mean[-1] - self.mean[-2])) if len(self.mean) > 1 else float(np.exp(self.mean[0]))


def log_product(
    depth: int,
    activation: ActivationLike = "sigmoid",
    weight_std: float = 1.0,
    bias_std: float = 1.0,
    a: tuple[float, float] = (0.0, 1.0),
) -> LogProduct:
    """Mean and standard deviation of ln|Π w_j φ'(z_j)| over random chains, for 1 to ``depth`` factors.

    Args:
        depth: the largest number of factors.
        activation: a bounded, increasing one: sigmoid, tanh, softsign, erf, or a function of that kind.
        weight_std: σ_w, positive.
        bias_std: σ_b, positive.
        a: the ends of the interval on which the chain's input is uniform.

    Raises:
        ValueError: standard deviations that aren't positive; an activation that is unbounded, or whose derivative
            is zero somewhere (then the mean logarithm is -inf, or not covered).

    Example:
        >>> found = log_product(depth=10)
        >>> round(found.typical_factor, 3)
        0.1
        >>> [round(float(ln), 2) for ln in (found.mean[0], found.mean[9], found.std[9])]
        [-2.31, -23.08, 3.54]
    """
    phi = as_activation(activation)
    if not (weight_std > 0 and bias_std > 0):
        raise ValueError(f"standard deviations must be positive, got {weight_std} and {bias_std}")
    ends = _range(phi)
    states = chebyshev.chebpts1(DEGREE + 1)
    first, second, carry, cross = _step(phi, _from_unit(states, ends), weight_std, bias_std, ends)
    start = _uniform_average(a, ends)
    mean, square = np.zeros(DEGREE + 1), np.zeros(DEGREE + 1)
    means, variances = [], []
    for _ in range(depth):
        mean, square = first + carry @ mean, second + 2 * cross @ mean + carry @ square
        means.append(start @ mean)
        variances.append(start @ square - means[-1] ** 2)
    return LogProduct(np.array(means), np.sqrt(np.array(variances)))


def _range(phi: Activation) -> tuple[float, float]:
    far, probe = np.asarray(phi.value(np.array([-1e6, 1e6]))), np.linspace(-40, 40, 801)
    if np.abs(far).max() > 1e3 or (np.asarray(phi.derivative(probe[300:501])) <= 0).any():
        raise ValueError(
            f"log_product needs a bounded, increasing activation such as sigmoid or tanh; {phi.name} is not"
        )
    return float(far.min()), float(far.max())


def _step(
    phi: Activation, states: Array, weight_std: float, bias_std: float, ends: tuple[float, float]
) -> tuple[Array, Array, Array, Array]:
    """E[f], E[f²] at every state, and the matrices that carry m_k(a') and f m_k(a') back one step."""
    u, u_weight = (each[0] for each in rule(np.ones(1), finest=FINEST))  # ln|w| is singular at 0
    v, v_weight = (each[0] for each in rule(np.ones(1)))
    weight = np.outer(u_weight, v_weight).ravel()
    first, second, carry, cross = [], [], [], []
    for state in states:
        z = (weight_std * state * u[:, None] + bias_std * v).ravel()
        f = np.repeat(np.log(np.abs(weight_std * u)), len(v)) + _log_slope(phi, z)
        basis = _basis(np.asarray(phi.value(z)), ends)
        first.append(weight @ f)
        second.append(weight @ f**2)
        carry.append(basis.T @ weight)
        cross.append(basis.T @ (weight * f))
    return np.array(first), np.array(second), np.array(carry) @ _FIT, np.array(cross) @ _FIT


def _log_slope(phi: Activation, z: Array) -> Array:
    return np.log(np.maximum(np.asarray(phi.derivative(z)), np.finfo(np.float64).tiny))


def _basis(a: Array, ends: tuple[float, float]) -> Array:
    return np.asarray(chebyshev.chebvander(2 * (a - ends[0]) / (ends[1] - ends[0]) - 1, DEGREE))


def _from_unit(x: Array, ends: tuple[float, float]) -> Array:
    return ends[0] + (ends[1] - ends[0]) * (x + 1) / 2


def _uniform_average(a: tuple[float, float], ends: tuple[float, float]) -> Array:
    x, weight = gauss_legendre(DEGREE + 1)
    return np.asarray((weight / 2) @ _basis(_from_unit(x, a), ends) @ _FIT)
