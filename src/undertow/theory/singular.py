"""Singular values of long products of matrices, and of operators that are only known by what they do.

Multiplying a deep network's factors out and taking the SVD leaves nothing of singular values below 1e-16 of the
largest. Here the product is kept as Q D T, with Q orthogonal, D a diagonal that may span hundreds of decades and
T well-conditioned, and D T goes to LAPACK's one-sided Jacobi SVD (``dgejsv``), which is accurate to the last digits for
every singular value of such a matrix (Drmač & Veselić 2008, "New fast and accurate Jacobi SVD algorithm"; the
Q D T form: Loh et al. 1989, "Stable matrix-multiplication algorithms for low-temperature numerical simulations of
fermions").
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.linalg import lapack
from scipy.sparse.linalg import LinearOperator, svds

Array = NDArray[np.float64]

DECADES = 290.0
"""Singular values further than this below the largest are reported as zero."""

MILD = 3.0
"""A diagonal factor spanning fewer decades than this is multiplied on without a QR of its own."""

DENSE = 64
"""Operators with a side up to this are written out and treated exactly."""

_GEJSV = {"joba": 0, "jobu": 0, "jobv": 0, "jobr": 0, "jobt": 0, "jobp": 0}
"""LAPACK's C, U, V, N, N, N: well-conditioned but for its columns' scales, vectors wanted, full range kept."""


@dataclass(frozen=True)
class ProductSVD:
    """The singular value decomposition of a product, in logarithms.

    Attributes:
        log10: log10 of the singular values, falling, [r]; those that are exactly zero are left out.
        left: left singular vectors, [m, r].
        right: right singular vectors, [n, r].
        zeros: how many singular values are zero (or more than 290 decades below the largest).
    """

    log10: Array
    left: Array
    right: Array
    zeros: int

    @property
    def values(self) -> Array:
        """The singular values with the zeros, [min(m, n)]; those outside float64's range become 0 or inf."""
        with np.errstate(over="ignore", under="ignore"):  # that is what log10 is for
            return np.append(10.0**self.log10, np.zeros(self.zeros))

    @property
    def log10_condition(self) -> float:
        """log10 of the condition number, largest over smallest; inf if any singular value is zero."""
        return float("inf") if self.zeros or not self.log10.size else float(self.log10[0] - self.log10[-1])


def product_svd(factors: Sequence[Array]) -> ProductSVD:
    """The SVD of F_1 F_2 ... F_k, with every singular value to high relative accuracy.

    Args:
        factors: matrices, or vectors for diagonal ones, from left to right. A diagonal's exact zeros (dead ReLUs)
            take their singular values out exactly.

    Raises:
        ValueError: no factor, shapes that don't chain, or entries that aren't finite.

    Example:
        >>> tiny = product_svd([np.array([1e-99, 1.0]), np.eye(2), np.array([1e-99, 1.0])])
        >>> tiny.log10.round(9).tolist(), round(tiny.log10_condition, 9)
        ([0.0, -198.0], 198.0)
    """
    *_, last = _accumulated(factors)
    return last.svd()


def product_svds(factors: Sequence[Array], every: int = 1) -> Iterator[ProductSVD]:
    """The SVDs of F_k, F_(k-1) F_k, ..., F_1 ... F_k: how the spectrum spreads as the product grows leftwards.

    Args:
        factors: as `product_svd`.
        every: yield only each so many-th, from F_k on.

    Raises:
        ValueError: as `product_svd`.

    Example:
        >>> [round(float(each.log10_condition), 9) for each in product_svds([np.diag([1.0, 10.0])] * 3)]
        [1.0, 2.0, 3.0]
    """
    for each in islice(_accumulated(factors), 0, None, every):
        yield each.svd()


@dataclass(frozen=True)
class _Graded:
    """The product so far, Q 10^log10 T, on the rows that aren't exactly zero; Q orthogonal up to a mild diagonal."""

    q: Array
    log10: Array
    t: Array
    rows: NDArray[np.intp]
    height: int

    def svd(self) -> ProductSVD:
        width = self.t.shape[1]
        smaller = min(self.height, width)
        if not self.log10.size:
            return ProductSVD(np.empty(0), np.empty((self.height, 0)), np.empty((width, 0)), smaller)
        if not np.allclose(np.linalg.norm(self.q, axis=0), 1):
            return _graded(self.q, self, self.rows, self.height).svd()
        top = float(self.log10.max())
        values, right, inner = _jacobi_svd(self.t.T * 10.0 ** (self.log10 - top))
        left = np.zeros((self.height, values.size))
        left[self.rows] = self.q @ inner
        return ProductSVD(np.log10(values) + top, left, right, smaller - values.size)

    def times(self, factor: Array) -> "_Graded":
        """factor · self."""
        if factor.ndim == 1:
            kept = np.flatnonzero(factor[self.rows])
            rows, scale = self.rows[kept], factor[self.rows[kept]]
            if rows.size == len(self.q) and np.ptp(np.log10(np.abs(scale))) < MILD:
                peak = np.abs(scale).max()
                return replace(self, q=(scale / peak)[:, None] * self.q, log10=self.log10 + np.log10(peak))
            return _graded(scale[:, None] * self.q[kept], self, rows, self.height, pivoting=True)
        return _graded(factor[:, self.rows] @ self.q, self, np.arange(len(factor)), len(factor))


def _accumulated(factors: Sequence[Array]) -> Iterator[_Graded]:
    checked = [np.asarray(factor, dtype=np.float64) for factor in factors]
    _check(checked)
    width = checked[-1].shape[-1]
    product = _Graded(np.eye(width), np.zeros(width), np.eye(width), np.arange(width), width)
    for factor in reversed(checked):
        product = product.times(factor)
        yield product


def _graded(q: Array, before: _Graded, rows: NDArray[np.intp], height: int, pivoting: bool = False) -> _Graded:
    """Q D T of (q · D_before) T_before, by QR; what falls off the end of the scale is dropped.

    Sorting the columns once is several times faster than pivoting and as good (Bai et al. 2011, "Stable solutions of
    linear systems involving long chain of matrix multiplications"), but not for rows of very different size: those
    need pivoting, and the large rows first (Cox & Higham 1998, "Stability of Householder QR factorization for weighted
    least squares problems").
    """
    if not q.size or not before.log10.size:
        return _Graded(np.empty((rows.size, 0)), np.empty(0), np.empty((0, before.t.shape[1])), rows, height)
    scaled = q * 10.0 ** (before.log10 - before.log10.max())
    peak = np.abs(scaled).max() or 1.0
    top, scaled = before.log10.max() + np.log10(peak), scaled / peak
    order = np.argsort(-np.abs(scaled).max(axis=1), kind="stable")
    columns = np.argsort(-np.linalg.norm(scaled, axis=0), kind="stable")
    found = linalg.qr(scaled[order][:, columns], mode="economic", pivoting=pivoting, check_finite=False)
    columns, r = columns[found[2]] if pivoting else columns, found[1]
    orthogonal = np.empty_like(found[0])
    orthogonal[order] = found[0]
    size = np.abs(np.diag(r))
    kept = size > max(size.max() * 10.0**-DECADES, np.finfo(np.float64).tiny)
    t = (r[kept] / size[kept, None]) @ before.t[columns]
    return _Graded(orthogonal[:, kept], np.log10(size[kept]) + top, t, rows, height)


def _jacobi_svd(matrix: Array) -> tuple[Array, Array, Array]:
    """Singular values and vectors, u and v, of a matrix that is well-conditioned but for its columns' scales."""
    values, u, v, work, _, info = lapack.dgejsv(matrix, **_GEJSV)
    if info != 0:
        raise np.linalg.LinAlgError(f"the Jacobi SVD failed (dgejsv returned {info})")
    return values * (work[0] / work[1]), u, v


def _check(factors: Sequence[Array]) -> None:
    if not factors:
        raise ValueError("a product needs at least one factor")
    for k, factor in enumerate(factors, start=1):
        if factor.ndim not in (1, 2) or not np.isfinite(factor).all():
            raise ValueError(f"factor {k} must be a finite matrix, or a vector for a diagonal one; got {factor.shape}")
        if k > 1 and factors[k - 2].shape[-1] != len(factor):
            raise ValueError(f"factor {k - 1} of shape {factors[k - 2].shape} can't multiply factor {k} {factor.shape}")


@dataclass(frozen=True)
class Triplets:
    """The largest singular values of an operator, with their vectors and how far they may be off.

    Attributes:
        values: singular values, falling, [k].
        left: left singular vectors, [m, k].
        right: right singular vectors, [n, k].
        error: within this of every value there is a singular value of the operator, [k].
    """

    values: Array
    left: Array
    right: Array
    error: Array


def linear_operator(
    shape: tuple[int, int], forward: Callable[[Array], Array], transposed: Callable[[Array], Array]
) -> LinearOperator:
    """A matrix A [m, n] known only by its products: for a model's Jacobian these are jvp and vjp.

    Args:
        shape: (m, n).
        forward: x [n] -> A x [m].
        transposed: y [m] -> A^T y [n].

    Example:
        >>> a = np.arange(6.0).reshape(2, 3)
        >>> linear_operator((2, 3), lambda x: a @ x, lambda y: a.T @ y).rmatvec(np.array([1.0, 0.0])).tolist()
        [0.0, 1.0, 2.0]
    """
    return LinearOperator(
        shape,
        matvec=lambda x: np.asarray(forward(np.ravel(x)), dtype=np.float64),
        rmatvec=lambda y: np.asarray(transposed(np.ravel(y)), dtype=np.float64),
        dtype=np.float64,
    )


def largest(operator: LinearOperator, k: int = 6, seed: int = 0) -> Triplets:
    """The k largest singular values of an operator, by Lanczos (ARPACK); exactly where it is small.

    Args:
        operator: A [m, n], with matvec and rmatvec (`linear_operator`, `product.operator`).
        k: how many; all of them if the operator has fewer.
        seed: of Lanczos' starting vector.

    Returns:
        the triplets, with residual bounds: for a pair of unit vectors u, v the Jordan-Wielandt matrix
        [[0, A], [A^T, 0]] has an eigenvalue within √((||Av - σu||² + ||A^T u - σv||²) / 2) of σ.

    Example:
        >>> found = largest(linear_operator((3, 3), lambda x: [3, 2, 1] * x, lambda y: [3, 2, 1] * y), k=2)
        >>> found.values.round(9).tolist(), bool(found.error.max() < 1e-12)
        ([3.0, 2.0], True)
    """
    smaller = min(operator.shape)
    if smaller <= DENSE or k >= smaller:
        u, values, vt = np.linalg.svd(_dense(operator), full_matrices=False)
        u, values, vt = u[:, :k], values[:k], vt[:k]
    else:
        start = np.random.default_rng(seed).standard_normal(smaller)
        scale = _scale(operator, seed)
        if scale == 0:
            return Triplets(np.zeros(k), np.eye(operator.shape[0], k), np.eye(operator.shape[1], k), np.zeros(k))
        u, values, vt = svds(operator * (1 / scale), k=k, v0=start, solver="arpack")  # it squares: keep it in range
        order = np.argsort(values)[::-1]
        u, values, vt = u[:, order], values[order] * scale, vt[order]
    return Triplets(values, u, vt.T, _residuals(operator, u, values, vt.T))


def _dense(operator: LinearOperator) -> Array:
    m, n = operator.shape
    if n <= m:
        return np.stack([operator.matvec(each) for each in np.eye(n)], axis=1)
    return np.stack([operator.rmatvec(each) for each in np.eye(m)])


def _scale(operator: LinearOperator, seed: int) -> float:
    return frobenius(operator, samples=2, seed=seed)[0] / np.sqrt(min(operator.shape))


def _residuals(operator: LinearOperator, u: Array, values: Array, v: Array) -> Array:
    ahead = [linalg.norm(operator.matvec(v[:, i]) - values[i] * u[:, i]) for i in range(values.size)]
    back = [linalg.norm(operator.rmatvec(u[:, i]) - values[i] * v[:, i]) for i in range(values.size)]
    return np.asarray(np.hypot(ahead, back) / np.sqrt(2))


def frobenius(operator: LinearOperator, samples: int = 30, seed: int = 0) -> tuple[float, float]:
    """The Frobenius norm of an operator, √Σσ², from products with random vectors, and its standard error.

    Args:
        operator: A [m, n]; only products with A (or A^T, where that is the shorter side) are needed.
        samples: how many products, at least 2.
        seed: of the vectors.

    Source:
        Hutchinson 1990, "A stochastic estimator of the trace of the influence matrix": E||A g||² = ||A||_F² for
        signs g.

    Example:
        >>> norm, error = frobenius(linear_operator((3, 3), lambda x: 2 * x, lambda y: 2 * y))
        >>> round(norm, 9), error  # √(3 · 4); a diagonal matrix leaves no spread
        (3.464101615, 0.0)
    """
    if samples < 2:
        raise ValueError(f"an error needs at least 2 samples, got {samples}")
    generator = np.random.default_rng(seed)
    short = operator if operator.shape[1] <= operator.shape[0] else operator.T
    signs = generator.choice([-1.0, 1.0], (samples, short.shape[1]))
    norms = np.array([linalg.norm(short.matvec(each)) for each in signs])
    top = float(norms.max())
    if top == 0:
        return 0.0, 0.0
    squares = (norms / top) ** 2
    norm = float(np.sqrt(squares.mean()))
    return norm * float(top), float(squares.std(ddof=1) / np.sqrt(samples) / (2 * norm) * top)
