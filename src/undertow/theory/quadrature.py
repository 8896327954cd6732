"""Averages over a Gaussian that stay accurate where the activation bends.

Gauss-Hermite quadrature is wrong at a kink: with an odd number of nodes one of them sits on it, and
E[φ'²] of a ReLU comes out .464 instead of .5 at 301 nodes. Here the line is cut at zero and at every kink,
and each piece gets its own Gauss-Legendre rule, in panels that halve towards the cuts.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Function = Callable[[Array], Array]

REACH = 10.0
"""Standard deviations integrated over: what lies beyond has probability 1.5e-23."""

COARSE = (1.5, 3.0, 4.5, 6.0, 8.0, REACH)
NODES = 12
BEND = 0.5
"""How finely an activation may bend on its own scale and still be resolved: a panel's width in z."""

LEVELS = 5
"""Halvings of the panels towards every cut at least: enough for a bend 20 times as sharp as the sigmoid's at q = 1."""

CHUNK = 2**20


def expect(function: Function, q: ArrayLike, kinks: tuple[float, ...] = ()) -> Array:
    """E[f(z)] for z ~ N(0, q), elementwise over ``q``.

    Args:
        function: f, elementwise on arrays; smooth between its kinks, and varying no faster than over about 1.
        q: variances, any shape; 0 is the limit from above.
        kinks: where f or its derivative jumps (zero is cut at always).

    Returns:
        the averages, in the shape of ``q``; inf where they overflow.

    Example:
        >>> expect(np.square, [0.5, 2.0]).round(12).tolist()
        [0.5, 2.0]
        >>> float(expect(lambda z: z > 0, 1.0).round(12))
        0.5
    """
    return expect_weighted(lambda z, _u: function(z), q, kinks)


def expect_weighted(function: Callable[[Array, Array], Array], q: ArrayLike, kinks: tuple[float, ...] = ()) -> Array:
    """E[f(√q u, u)] for u ~ N(0, 1): as `expect`, where the average also weighs by u itself.

    Of several functions at once, [functions, ...], the averages are [functions, the shape of ``q``].

    Example:
        >>> float(expect_weighted(lambda z, u: z * u, 4.0).round(12))  # E[√q u²]
        2.0
    """
    variances = np.asarray(q, dtype=np.float64)
    flat = np.sqrt(np.maximum(variances.ravel(), np.finfo(np.float64).tiny))
    out = np.empty(0)
    for rows in _chunks(flat):
        root = flat[rows]
        u, weight = rule(root, kinks)
        with np.errstate(over="ignore", invalid="ignore"):  # a function may outgrow floats: its average is inf
            values = np.asarray(function(root[:, None] * u, u), np.float64)
            average = np.einsum("...n,...n->...", values, weight)
        if not out.size:
            out = np.empty((*average.shape[:-1], flat.size))
        out[..., rows] = np.where(np.isnan(average), np.inf, average)
    return out.reshape((*out.shape[:-1], *variances.shape))


def rule(root: Array, kinks: tuple[float, ...] = (), finest: float = np.inf) -> tuple[Array, Array]:
    """Nodes u and weights for averages over N(0, 1), cut where √q u meets zero or a kink.

    Args:
        root: √q, [n] (the standard deviations of the pre-activations).
        kinks: in units of z = √q u.
        finest: a width in u to be resolved around the cuts, besides the activation's own.

    Returns:
        u and weights, each [n, nodes] (or [1, nodes] where all rows share them).

    Example:
        >>> u, weight = rule(np.array([1.0]))
        >>> float((weight * u**4).sum().round(12))
        3.0
    """
    width = min(finest, BEND / float(root.max()))
    elsewhere = np.array([kink for kink in kinks if kink])
    if not elsewhere.size:
        return _panels_cached(_levels(width))
    return graded_rule(elsewhere / root[:, None], width)


def graded_rule(centres: Array, width: float) -> tuple[Array, Array]:
    """Nodes u and weights for averages over N(0, 1), in panels that halve towards zero and every centre.

    Args:
        centres: where to cut, [rows, cuts]; beyond `REACH` they do nothing.
        width: of the finest panels, in u.

    Returns:
        u and weights, each [rows, nodes].

    Example:
        >>> u, weight = graded_rule(np.array([[0.3]]), width=0.5)
        >>> round(float(weight[u > 0.3].sum()), 12)  # P(u > 0.3)
        0.382088577811
    """
    offsets = _graded(_levels(width))
    around = centres[:, :, None] + offsets[np.abs(offsets) <= COARSE[0]]
    fixed = np.broadcast_to(offsets, (len(centres), offsets.size))
    breaks = np.concatenate([fixed, np.clip(around, -REACH, REACH).reshape(len(centres), -1)], axis=1)
    return _panels(np.sort(breaks, axis=1))


def _levels(width: float) -> int:
    return max(LEVELS, int(np.ceil(np.log2(COARSE[0] / width))))


def _graded(levels: int) -> Array:
    fine = COARSE[0] * 2.0 ** -np.arange(levels, 0, -1)
    half = np.concatenate([fine, COARSE])
    return np.concatenate([-half[::-1], [0.0], half])


@lru_cache(maxsize=64)
def _panels_cached(levels: int) -> tuple[Array, Array]:
    return _panels(_graded(levels)[None, :])


@lru_cache(maxsize=8)
def gauss_legendre(n: int) -> tuple[Array, Array]:
    """Nodes and weights of the n-point Gauss-Legendre rule on [-1, 1], each [n]; computed once.

    Example:
        >>> x, weight = gauss_legendre(3)
        >>> float((weight * x**4).sum().round(12))
        0.4
    """
    x, weight = np.polynomial.legendre.leggauss(n)
    return x, weight


def _panels(breaks: Array) -> tuple[Array, Array]:
    x, weight = gauss_legendre(NODES)
    left, half = breaks[:, :-1, None], np.diff(breaks, axis=1)[:, :, None] / 2
    u = (left + half * (x + 1)).reshape(len(breaks), -1)
    density = np.exp(-0.5 * u * u) / np.sqrt(2 * np.pi)
    return u, (half * weight).reshape(len(breaks), -1) * density


def _chunks(roots: Array) -> list[NDArray[np.intp]]:
    """Rows to do together: alike in scale, so that small q don't pay for the fine panels of large ones."""
    if roots.size < 2:
        return [np.arange(roots.size)]
    if roots.size <= CHUNK // 512 and roots.max() < 4:  # as nearly always: all of one octave
        return [np.arange(roots.size)]
    order = np.argsort(roots)
    octaves = np.floor(np.log2(np.maximum(roots[order], 1.0)) / 2)
    cuts = np.flatnonzero(np.diff(octaves)) + 1
    size = CHUNK // 512
    return [part[i : i + size] for part in np.split(order, cuts) for i in range(0, part.size, size)]
