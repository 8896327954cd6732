"""Initializers against their formulas: large draws, a fixed seed, and tolerances of five standard errors."""

import math
import re

import numpy as np
import pytest
from scipy import stats

from undertow.lab import Ensemble, Initializer
from undertow.lab.initializers import BIASES, SPARSE_INPUTS, WEIGHTS, initializer

N_OUT, N_IN = 300, 500  # unequal, so that no formula can mistake one for the other
SIGMAS = 5


def drawn(weights: str, n_out: int = N_OUT, n_in: int = N_IN, seed: int = 0, **options: object) -> tuple:
    return Initializer(weights, **options).draw(np.random.default_rng(seed), n_out, n_in)


def assert_moments(sample: np.ndarray, variance: float, kurtosis: float) -> None:
    """Mean 0 and the variance said; the standard error of a variance comes from the distribution's kurtosis."""
    n = sample.size
    assert abs(sample.mean()) < SIGMAS * math.sqrt(variance / n)
    assert abs(sample.var() - variance) < SIGMAS * variance * math.sqrt((kurtosis - 1) / n)


def assert_distribution(sample: np.ndarray, expected: object) -> None:
    assert stats.kstest(sample.ravel(), expected.cdf).pvalue > 1e-6


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("default", 1 / N_IN),  # Nielsen, chapter 3
        ("large", 1.0),  # Nielsen, chapter 1
        ("glorot_normal", 2 / (N_IN + N_OUT)),  # Glorot & Bengio 2010, eq. 12
        ("he", 2 / N_IN),  # He et al. 2015, eq. 10
        ("lecun", 1 / N_IN),  # LeCun et al. 1998, eq. 16
    ],
)
def test_normal(name: str, variance: float) -> None:
    w, _ = drawn(name)
    assert_moments(w, variance, kurtosis=3.0)
    assert_distribution(w, stats.norm(scale=math.sqrt(variance)))


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("standard", 1 / math.sqrt(N_IN)),  # Glorot & Bengio 2010, eq. 1
        ("glorot_uniform", math.sqrt(6) / math.sqrt(N_IN + N_OUT)),  # and eq. 16
    ],
)
def test_uniform(name: str, bound: float) -> None:
    w, _ = drawn(name)
    assert_moments(w, bound**2 / 3, kurtosis=1.8)
    assert_distribution(w, stats.uniform(-bound, 2 * bound))
    assert 0.999 * bound < np.abs(w).max() <= bound


@pytest.mark.parametrize(("n_out", "n_in"), [(7, 7), (7, 12), (12, 7), (1, 5), (5, 1), (1, 1)])
def test_orthogonal(n_out: int, n_in: int) -> None:
    """Whichever are fewer, rows or columns, are orthonormal."""
    w, _ = drawn("orthogonal", n_out, n_in)
    assert w.shape == (n_out, n_in)
    gram = w @ w.T if n_out <= n_in else w.T @ w
    np.testing.assert_allclose(gram, np.eye(min(n_out, n_in)), atol=1e-14)


def test_orthogonal_prefers_no_direction() -> None:
    """Entries of a uniformly distributed 3 x 3 rotation have mean 0 and variance 1/3; LAPACK's bare Q does not."""
    generator = np.random.default_rng(1)
    several = np.stack([Initializer("orthogonal").draw(generator, 3, 3)[0] for _ in range(2000)])
    assert (np.abs(several.mean(0)) < SIGMAS * math.sqrt(1 / 3 / 2000)).all()
    assert np.linalg.det(several).min() < 0 < np.linalg.det(several).max()


@pytest.mark.parametrize("n_in", [1, 7, SPARSE_INPUTS, SPARSE_INPUTS + 1, N_IN])
def test_sparse_units_listen_to_fifteen_inputs(n_in: int) -> None:
    w, b = drawn("sparse", N_OUT, n_in)
    assert ((w != 0).sum(1) == min(n_in, 15)).all()
    assert not b.any()


def test_sparse_chooses_its_inputs_without_preference() -> None:
    n_out, n_in = 4000, 40
    w, _ = drawn("sparse", n_out, n_in)
    p = SPARSE_INPUTS / n_in
    assert (np.abs((w != 0).sum(0) - n_out * p) < SIGMAS * math.sqrt(n_out * p * (1 - p))).all()
    assert_moments(w[w != 0], 1.0, kurtosis=3.0)
    assert_distribution(w[w != 0], stats.norm())


def test_sutskevers_tanh_recipe() -> None:
    """Sutskever et al. 2013, section 3.1: for tanh the sparse weights times 0.25, and biases of 0.5."""
    w, b = drawn("sparse", scale=0.25, biases="constant", bias_scale=0.5)
    assert_moments(w[w != 0], 1 / 16, kurtosis=3.0)
    assert (b == 0.5).all()


def test_constant() -> None:
    w, b = drawn("constant", 2, 3, scale=-0.5, biases="constant", bias_scale=2.0)
    assert w.tolist() == [[-0.5] * 3] * 2
    assert b.tolist() == [2.0] * 2


@pytest.mark.parametrize("name", WEIGHTS)
def test_scales_multiply(name: str) -> None:
    """The same draws, times the scale: nothing else may depend on it."""
    w, b = drawn(name, 6, 20, biases="normal")
    scaled_w, scaled_b = drawn(name, 6, 20, scale=3.0, biases="normal", bias_scale=-2.0)
    assert np.array_equal(scaled_w, 3.0 * w)
    assert np.array_equal(scaled_b, -2.0 * b)


def test_biases() -> None:
    n = 200_000
    b = {name: drawn("constant", n, 9, biases=name)[1] for name in BIASES}
    assert_moments(b["normal"], 1.0, kurtosis=3.0)
    assert_distribution(b["normal"][:100_000], stats.norm())
    assert_moments(b["uniform"], 1 / 27, kurtosis=1.8)  # U(+-1/3): torch's nn.Linear, n_in = 9
    assert_distribution(b["uniform"][:100_000], stats.uniform(-1 / 3, 2 / 3))
    assert (b["zero"] == 0).all()
    assert (b["constant"] == 1).all()


@pytest.mark.parametrize("name", WEIGHTS)
def test_biases_that_go_with_the_weights(name: str) -> None:
    """N(0, 1) with the book's two initializers, 0 with everybody else's."""
    _, b = drawn(name, 1000, 3)
    if name in ("default", "large"):
        assert_moments(b, 1.0, kurtosis=3.0)
    else:
        assert not b.any()


def test_weights_and_biases_are_separate_draws() -> None:
    w, b = drawn("large", 2000, 1)
    assert abs(np.corrcoef(w[:, 0], b)[0, 1]) < SIGMAS / math.sqrt(2000)


def test_a_function_of_ones_own() -> None:
    ramp = Initializer(lambda _g, n_out, n_in: np.arange(n_out * n_in, dtype=float).reshape(n_out, n_in), scale=2.0)
    nets = Ensemble([2, 3], members=2, initializer=ramp)
    assert nets.layers[0].w.tolist() == [[[0.0, 2.0], [4.0, 6.0], [8.0, 10.0]]] * 2
    assert not nets.layers[0].b.any()


def test_an_ensemble_draws_member_by_member() -> None:
    """Member i from the generator of (seed, i), layer by layer: numbers that anybody can draw again with NumPy."""
    nets = Ensemble([4, 3, 2], members=3, seed=8, initializer="he")
    for i in range(3):
        generator = np.random.default_rng(np.random.SeedSequence(8, spawn_key=(i,)))
        for layer, (n_out, n_in) in zip(nets.layers, [(3, 4), (2, 3)], strict=True):
            w = generator.normal(0, math.sqrt(2 / n_in), (n_out, n_in))
            np.testing.assert_array_equal(layer.w[i], w.astype(np.float32))


def test_a_recipe_passes_through() -> None:
    recipe = Initializer("he", scale=2.0)
    assert initializer(recipe) is recipe
    assert initializer("he") == Initializer("he")


@pytest.mark.parametrize(
    ("wrong", "choices"),
    [({"weights": "xavier"}, WEIGHTS), ({"weights": "he", "biases": "ones"}, BIASES), ({"biases": ""}, BIASES)],
)
def test_a_name_that_there_is_not(wrong: dict[str, str], choices: dict) -> None:
    name = list(wrong.values())[-1]
    with pytest.raises(ValueError, match=re.escape(f"named {name!r}; there are: {', '.join(choices)}")):
        Initializer(**wrong)
