"""How large one factor w φ'(z) of a chain's gradient can be, and how often it is.

The book argues that σ' <= 1/4 and weights from N(0, 1) have |w| < 1, so |w σ'(z)| < 1/4. Here are the exact
probabilities, by quadrature, and the region that its problem on large weights asks for: the interval of a on which
|w σ'(w a + b)| >= 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from undertow.activations import Activation
from undertow.theory.functions import ActivationLike, as_activation
from undertow.theory.quadrature import gauss_legendre

Array = NDArray[np.float64]

RANGE = 40.0
"""|φ'| is looked at for |z| up to here; a level set that reaches it is taken to go on for ever."""

PROBE = np.linspace(-RANGE, RANGE, 16001)

WEIGHT_NODES = 32
WEIGHTS_REACH = 9.0
"""Standard deviations of w integrated over."""


@dataclass(frozen=True)
class Interval:
    """The activations a on which |w φ'(w a + b)| stays at or above a threshold.

    Attributes:
        low: the lower end (-inf if open).
        high: the upper end (inf if open).
    """

    low: float
    high: float

    @property
    def width(self) -> float:
        """high - low."""
        return self.high - self.low


def superlevel(activation: ActivationLike, level: float) -> list[Interval]:
    """Find the intervals of z where |φ'(z)| >= level, from left to right.

    Args:
        activation: name, `Activation` or elementwise NumPy function.
        level: a positive number.

    Raises:
        ValueError: the level isn't positive.

    Example:
        >>> [(round(i.low, 4), round(i.high, 4)) for i in superlevel("tanh", 0.5)]
        [(-0.8814, 0.8814)]
        >>> superlevel("relu", 0.5)
        [Interval(low=0.0, high=inf)]
        >>> superlevel("sigmoid", 0.3)
        []
    """
    if not level > 0:
        raise ValueError(f"the level must be positive, got {level}")
    phi = as_activation(activation)
    z, slope = _profile(phi)
    inside = slope >= level
    # Runs of True: a start has False (or the edge) before it, an end has it behind.
    starts = np.flatnonzero(inside & ~np.append(False, inside[:-1]))
    ends = np.flatnonzero(inside & ~np.append(inside[1:], False))
    return [_exact_ends(phi, z, int(i), int(j), level) for i, j in zip(starts, ends, strict=True)]


@lru_cache(maxsize=64)
def _profile(phi: Activation) -> tuple[Array, Array]:
    z = np.unique(np.concatenate([PROBE, *_either_side(phi), [steepest(phi)[0]]]))
    return z, np.abs(np.asarray(phi.derivative(z), dtype=np.float64))


def _either_side(phi: Activation) -> list[list[float]]:
    # The slope jumps at a kink: probed just before and just after, both of its values are seen.
    return [[np.nextafter(kink, -np.inf), np.nextafter(kink, np.inf)] for kink in phi.kinks]


def steepest(activation: ActivationLike) -> tuple[float, float]:
    """The z at which |φ'| is largest, and |φ'| there; where many are equal, the one nearest to zero.

    Example:
        >>> steepest("sigmoid")
        (0.0, 0.25)
        >>> z, slope = steepest("gelu")
        >>> round(z, 6), round(slope, 6)
        (1.414214, 1.128904)
    """
    return _steepest(as_activation(activation))


@lru_cache(maxsize=64)
def _steepest(phi: Activation) -> tuple[float, float]:
    slope = np.abs(np.asarray(phi.derivative(PROBE), dtype=np.float64))
    best = np.flatnonzero(slope >= slope.max() * (1 - 1e-12))
    start = float(PROBE[best[np.abs(PROBE[best]).argmin()]])
    found = optimize.minimize_scalar(
        lambda z: -float(np.abs(phi.derivative(z))), bounds=(start - 0.01, start + 0.01), method="bounded"
    )
    return (float(found.x), -float(found.fun)) if -found.fun > slope.max() else (start, float(slope.max()))


def _exact_ends(phi: Activation, z: Array, first: int, last: int, level: float) -> Interval:
    def excess(at: float) -> float:
        return float(np.abs(phi.derivative(at))) - level

    low, high = -np.inf, np.inf
    if first > 0:
        low = _crossing(excess, float(z[first - 1]), float(z[first]))
    if last < len(z) - 1:
        high = _crossing(excess, float(z[last]), float(z[last + 1]))
    return Interval(low, high)


def _crossing(excess: Callable[[float], float], left: float, right: float) -> float:
    if excess(left) == 0 or excess(right) == 0:
        return left if excess(left) == 0 else right
    return round(float(optimize.brentq(excess, left, right, xtol=1e-15)), 14) + 0.0


def large_factor_interval(
    w: float, b: float = 0.0, activation: ActivationLike = "sigmoid", threshold: float = 1.0
) -> Interval | None:
    """The interval of a on which |w φ'(w a + b)| >= threshold; None where there is no such a.

    Where there are several intervals it is the widest. For the sigmoid it exists from |w| = 4 on, and its width
    is `sigmoid_interval_width`.

    Args:
        w: the weight.
        b: the bias.
        activation: name, `Activation` or elementwise NumPy function.
        threshold: 1 for a factor that doesn't shrink the gradient.

    Source:
        The problem at the end of the book's section on the unstable gradient.

    Example:
        >>> found = large_factor_interval(w=6.89415, b=-3.447)
        >>> round(found.low, 3), round(found.high, 3), round(found.width, 6)
        (0.276, 0.724, 0.447743)
        >>> large_factor_interval(w=3.9) is None
        True
    """
    if w == 0:
        return None
    found = superlevel(activation, threshold / abs(w))
    if not found:
        return None
    widest = max(found, key=lambda each: each.width)
    ends = sorted(((widest.low - b) / w, (widest.high - b) / w))
    return Interval(*ends)


def sigmoid_interval_width(w: float) -> float:
    """(2/|w|) ln(|w| (1 + √(1 - 4/|w|)) / 2 - 1): the width of the interval on which |w σ'(w a + b)| >= 1.

    It is 0 below |w| = 4 and doesn't depend on b.

    Source:
        The problem at the end of the book's section on the unstable gradient, part 2.

    Example:
        >>> round(sigmoid_interval_width(100.0), 4), sigmoid_interval_width(4.0)
        (0.0917, 0.0)
    """
    size = abs(w)
    if size <= 4:
        return 0.0
    return float(2 / size * np.log(size * (1 + np.sqrt(1 - 4 / size)) / 2 - 1))


def widest_interval(activation: ActivationLike = "sigmoid", threshold: float = 1.0) -> tuple[float, float]:
    """The |w| at which the interval of a with |w φ'(w a + b)| >= threshold is widest, and that width.

    Args:
        activation: name, `Activation` or elementwise NumPy function.
        threshold: as in `large_factor_interval`.

    Returns:
        (|w|, width); width is inf where φ' doesn't fall off, as with ReLU, and |w| then the least that has it.

    Example:
        >>> w, width = widest_interval("sigmoid")
        >>> round(w, 3), round(width, 6)
        (6.894, 0.447743)
        >>> widest_interval("relu")
        (1.0, inf)
    """
    phi = as_activation(activation)
    least = threshold / steepest(phi)[1]

    def width(log_w: float) -> float:
        found = large_factor_interval(float(np.exp(log_w)), 0.0, phi, threshold)
        return found.width if found else 0.0

    sizes = np.log(least) + np.linspace(0, np.log(1000), 200)
    widths = np.array([width(each) for each in sizes])
    if np.isinf(widths).any():
        return _least_unbounded(phi, threshold), np.inf
    around = sizes[max(widths.argmax() - 1, 0)], sizes[min(widths.argmax() + 1, 199)]
    best = optimize.minimize_scalar(lambda s: -width(s), bounds=around, method="bounded", options={"xatol": 1e-9})
    return float(np.exp(best.x)), -float(best.fun)


def _least_unbounded(phi: Activation, threshold: float) -> float:
    """The |w| from which on the interval never ends: threshold over the slope that φ keeps far out."""
    far = np.abs(np.asarray(phi.derivative(np.array([-RANGE, RANGE])), dtype=np.float64))
    return threshold / float(far.max())


def probability_below(
    threshold: float = 0.25,
    activation: ActivationLike = "sigmoid",
    weight_std: float = 1.0,
    bias_std: float = 1.0,
    a: tuple[float, float] = (0.0, 1.0),
) -> float:
    """P(|w φ'(w a + b)| < threshold) for w ~ N(0, σ_w²), b ~ N(0, σ_b²) and a uniform; by quadrature.

    Given w, the z at which the factor is too small form intervals, and the probability that z = w a + b falls into
    one is an integral of the normal distribution function; what is left is one integral over w.

    Args:
        threshold: 1/4 is the book's; 1 asks for factors that don't shrink the gradient.
        activation: name, `Activation` or elementwise NumPy function.
        weight_std: σ_w, positive.
        bias_std: σ_b, positive.
        a: the ends of the interval that the previous activation is uniform on.

    Raises:
        ValueError: a standard deviation that isn't positive.

    Source:
        The book's claim that "the terms will usually satisfy |w_j σ'(z_j)| < 1/4".

    Example:
        >>> round(probability_below(0.25), 3)
        0.815
        >>> round((1 - probability_below(1.0)) * 1e6)
        6
        >>> round(probability_below(1.0, "linear"), 3)  # P(|w| < 1)
        0.683
    """
    if not (weight_std > 0 and bias_std > 0):
        raise ValueError(f"standard deviations must be positive, got {weight_std} and {bias_std}")
    phi = as_activation(activation)
    least = threshold / steepest(phi)[1]
    if least >= WEIGHTS_REACH * weight_std:
        return 1.0
    above = 0.0
    for w, density in _half_normal(threshold / _turning_levels(phi), least, weight_std):
        inside = [sum(_mean_probability(i, size, bias_std, a) for i in superlevel(phi, threshold / size)) for size in w]
        above += float(density @ np.array(inside))
    return 1.0 - above


def _turning_levels(phi: Activation) -> Array:
    """The levels at which the set {|φ'| >= level} changes its kind: extrema, both sides of kinks, far ends."""
    slope = _profile(phi)[1]
    inner = slope[1:-1]
    extreme = ((inner >= slope[:-2]) & (inner >= slope[2:])) | ((inner <= slope[:-2]) & (inner <= slope[2:]))
    levels = np.concatenate([inner[extreme], slope[[0, -1]], [steepest(phi)[1]]])
    return np.unique(np.round(levels[levels > 1e-6], 12))


def _half_normal(cuts: Array, least: float, std: float) -> list[tuple[Array, Array]]:
    """Nodes w > least, cut where given, with both signs' density; closest at the cuts, which are like square roots."""
    inside = cuts[(cuts > least) & (cuts < WEIGHTS_REACH * std)]
    edges = np.unique(np.concatenate([[least], inside, [max(least, std)], [WEIGHTS_REACH * std]]))
    x, weight = gauss_legendre(WEIGHT_NODES)
    pieces = []
    for left, right in pairwise(edges):
        w = left + (right - left) * np.sin(np.pi * (x + 1) / 4) ** 2
        density = 2 * np.exp(-0.5 * (w / std) ** 2) / (std * np.sqrt(2 * np.pi))
        pieces.append((w, density * weight * (right - left) * np.pi / 4 * np.sin(np.pi * (x + 1) / 2)))
    return pieces


def _mean_probability(z: Interval, w: float, std: float, a: tuple[float, float]) -> float:
    """P(w a + b in the interval), averaged over a and over the sign of w."""
    both = [_share_below(z.high, s * w, std, a) - _share_below(z.low, s * w, std, a) for s in (-1.0, 1.0)]
    return sum(both) / 2


def _share_below(level: float, w: float, std: float, a: tuple[float, float]) -> float:
    """∫ P(w a + b < level) da over the interval, divided by its length."""
    if np.isinf(level):
        return float(level > 0)
    if a[0] == a[1]:
        return float(special.ndtr((level - w * a[0]) / std))
    near, far = (level - w * a[0]) / std, (level - w * a[1]) / std
    return float((_ndtr_integral(near) - _ndtr_integral(far)) * std / (w * (a[1] - a[0])))


def _ndtr_integral(x: float) -> float:
    return float(x * special.ndtr(x) + np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi))
