"""Singular values of long products, to high relative accuracy, and of operators known by their products."""

import mpmath
import numpy as np
import pytest
from scipy import special

from undertow.theory import product, singular


def exact_log10(factors):
    with mpmath.workdps(350):
        total = None
        for factor in factors:
            matrix = mpmath.matrix((np.diag(factor) if factor.ndim == 1 else factor).tolist())
            total = matrix if total is None else total * matrix
        values = mpmath.svd_r(total, compute_uv=False)
        return np.array([float(mpmath.log10(value)) for value in values])


@pytest.mark.parametrize(("n", "depth", "scale"), [(5, 4, 1.0), (6, 30, 1.0), (5, 12, 12.0)])
def test_every_singular_value_is_right_however_small(n, depth, scale):
    rng = np.random.default_rng(n)
    factors = []
    for _ in range(depth):
        z = scale * rng.standard_normal(n)
        factors += [special.expit(z) * special.expit(-z), rng.standard_normal((n, n))]
    exact = exact_log10(factors)
    found = singular.product_svd(factors)
    np.testing.assert_allclose(found.log10, exact, atol=1e-11)  # 1e-11 of a decade: 11 digits
    assert found.log10_condition == pytest.approx(exact[0] - exact[-1], abs=1e-10)
    np.testing.assert_allclose(found.left.T @ found.left, np.eye(n), atol=1e-12)
    np.testing.assert_allclose(found.right.T @ found.right, np.eye(n), atol=1e-12)


def test_products_beyond_float64s_range_are_kept_in_logarithms():
    found = singular.product_svd([np.full(4, 1e-200)] * 3)
    np.testing.assert_allclose(found.log10, -600)
    assert found.values.tolist() == [0, 0, 0, 0]
    assert found.log10_condition == pytest.approx(0)


def test_what_is_290_decades_below_the_largest_counts_as_zero():
    found = singular.product_svd([np.array([1.0, 1e-200]), np.eye(2), np.array([1.0, 1e-200])])
    assert (found.log10.tolist(), found.zeros, found.log10_condition) == ([0.0], 1, np.inf)


@pytest.mark.parametrize(
    "factors", [[], [np.ones((2, 3)), np.ones((2, 3))], [np.array([[np.nan]])], [np.ones((2, 2, 2))]]
)
def test_products_that_cannot_be_are_refused(factors):
    with pytest.raises(ValueError, match="factor"):
        singular.product_svd(factors)


def big_operator(seed=0, n=150, scale=1.0):
    rng = np.random.default_rng(seed)
    a = scale * rng.standard_normal((n, n)) * np.logspace(0, -3, n)
    return a, singular.linear_operator((n, n), lambda x: a @ x, lambda y: a.T @ y)


@pytest.mark.parametrize("scale", [1.0, 1e-170, 1e150])
def test_lanczos_finds_the_largest_singular_values_within_its_bound(scale):
    a, operator = big_operator(scale=scale)
    exact = np.linalg.svd(a, compute_uv=False)
    found = singular.largest(operator, k=5)
    np.testing.assert_allclose(found.values, exact[:5], rtol=1e-10)
    assert (np.abs(found.values - exact[:5]) <= found.error + 1e-14 * exact[0]).all()
    np.testing.assert_allclose(found.right.T @ found.right, np.eye(5), atol=1e-8)
    assert found.error.max() < 1e-8 * exact[0]


def test_the_residual_bound_grows_with_a_wrong_operator():
    a, _ = big_operator(n=20)
    wrong = singular.linear_operator((20, 20), lambda x: a @ x, lambda y: 1.1 * a.T @ y)
    assert singular.largest(wrong, k=1).error[0] > 0.01


def test_an_operator_of_zeros_has_zeros():
    operator = singular.linear_operator((100, 80), lambda _x: np.zeros(100), lambda _y: np.zeros(80))
    assert singular.largest(operator, k=3).values.tolist() == [0, 0, 0]
    assert product.operator_gains(operator) == product.Gains(0.0, 0.0)


def test_the_frobenius_norm_is_within_its_error():
    misses = []
    for seed in range(20):
        a, operator = big_operator(seed)
        norm, error = singular.frobenius(operator, samples=60, seed=seed)
        misses.append((norm - np.linalg.norm(a)) / error)
    assert np.abs(misses).max() < 4
    assert 0.5 < np.std(misses) < 1.6
