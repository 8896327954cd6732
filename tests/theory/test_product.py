"""Eq. 124 against backpropagation, and the spectra of long products against exact arithmetic."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.theory import product, singular

ACTIVATIONS = {
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "gelu": torch.nn.functional.gelu,
    "softplus": torch.nn.functional.softplus,
}


def network(sizes, name, seed):
    """Weights, z, the gradient at the output, and autograd's gradients by every bias."""
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((m, n)) / np.sqrt(n) for n, m in pairwise(sizes)]
    a, target, z, biases = torch.tensor(rng.random(sizes[0])), torch.tensor(rng.random(sizes[-1])), [], []
    for w in weights:
        biases.append(torch.tensor(rng.standard_normal(len(w)), requires_grad=True))
        z.append(torch.tensor(w) @ a + biases[-1])
        a = ACTIVATIONS[name](z[-1])
    ((a - target) ** 2).sum().backward()
    grad_a = 2 * (a - target).detach().numpy()
    return weights, [each.detach().numpy() for each in z], grad_a, [b.grad.numpy() for b in biases]


sizes = st.lists(st.integers(1, 8), min_size=2, max_size=6)


@settings(deadline=None, max_examples=50)
@given(sizes, st.sampled_from(sorted(ACTIVATIONS)), st.integers(0, 10**6))
def test_the_product_equals_backpropagation(drawn, name, seed):
    weights, z, grad_a, by_autograd = network(drawn, name, seed)
    found = product.deltas(weights, z, grad_a, name)
    for layer, expected in enumerate(by_autograd, start=1):
        scale = max(np.abs(expected).max(), 1e-300)
        np.testing.assert_allclose(found[layer - 1], expected, rtol=1e-12, atol=1e-12 * scale)
        whole = product.jacobian(weights, z, name, layer) @ grad_a
        np.testing.assert_allclose(whole, expected, rtol=1e-12, atol=1e-12 * scale)
        matrix_free = product.operator(weights, z, name, layer).matvec(grad_a)
        np.testing.assert_allclose(matrix_free, expected, rtol=1e-12, atol=1e-12 * scale)


@settings(deadline=None, max_examples=30)
@given(sizes, st.integers(0, 10**6))
def test_the_operator_and_its_transpose_belong_together(drawn, seed):
    weights, z, _, _ = network(drawn, "sigmoid", seed)
    operator, dense = product.operator(weights, z), product.jacobian(weights, z)
    rounding = 1e-13 * np.abs(dense).max()
    np.testing.assert_allclose(operator @ np.eye(dense.shape[1]), dense, rtol=1e-12, atol=rounding)
    np.testing.assert_allclose(operator.T @ np.eye(dense.shape[0]), dense.T, rtol=1e-12, atol=rounding)


def test_batches_and_activations_per_layer():
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((4, 3)), rng.standard_normal((2, 4))]
    z, grad = [rng.standard_normal((5, 4)), rng.standard_normal((5, 2))], rng.standard_normal((5, 2))
    together = product.deltas(weights, z, grad, ["tanh", "linear"])
    for i in range(5):
        alone = product.deltas(weights, [each[i] for each in z], grad[i], ["tanh", "linear"])
        np.testing.assert_allclose(together[0][i], alone[0], rtol=1e-14)
    np.testing.assert_array_equal(together[1], grad)


def test_factors_are_named_as_in_eq_124():
    weights, z, _, _ = network([3, 4, 5, 2], "sigmoid", 0)
    names = [each.name for each in product.factors(weights, z)]
    assert names == ["Sigma'(z^1)", "(w^2)^T", "Sigma'(z^2)", "(w^3)^T", "Sigma'(z^3)"]
    assert [each.name for each in product.factors(weights, z, layer=2)] == names[2:]


def test_singular_values_of_the_factors_bound_those_of_the_product():
    weights, z, _, _ = network([6, 6, 6, 6], "sigmoid", 1)
    parts = product.factor_singular_values(weights, z)
    whole = product.spectrum(weights, z).values
    assert whole[0] <= np.prod([each.value[0] for each in parts]) * (1 + 1e-12)
    assert whole[-1] >= np.prod([each.value[-1] for each in parts]) * (1 - 1e-12)
    assert np.prod(whole) == pytest.approx(np.prod([np.prod(each.value) for each in parts]), rel=1e-10)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 7), min_size=2, max_size=5), st.integers(0, 10**6), st.floats(0, 0.9))
def test_the_svd_multiplies_back_and_dead_units_give_exact_zeros(drawn, seed, dead):
    rng = np.random.default_rng(seed)
    factors = []
    for m, n in pairwise(drawn):
        factors += [np.where(rng.random(m) < dead, 0.0, rng.uniform(0.1, 1, m)), rng.standard_normal((m, n))]
    dense = np.linalg.multi_dot([np.diag(f) if f.ndim == 1 else f for f in factors])
    found = singular.product_svd(factors)
    again = (found.left * 10.0**found.log10) @ found.right.T
    np.testing.assert_allclose(again, dense, atol=1e-12 * max(1, np.abs(dense).max()))
    alive = min([int((f != 0).sum()) for f in factors[::2]] + drawn)
    assert found.log10.size <= alive
    assert found.values.size == min(dense.shape)


def test_condition_grows_with_depth():
    rng = np.random.default_rng(0)
    weights, z = [rng.standard_normal((10, 10)) for _ in range(20)], [rng.standard_normal(10) for _ in range(20)]
    found = product.conditions(weights, z)
    assert found.shape == (20,)
    for layer in (1, 10, 20):
        assert found[layer - 1] == pytest.approx(product.spectrum(weights, z, layer=layer).log10_condition)
    assert found[0] > 8 > 2 > found[-1]


def test_layers_that_do_not_fit_are_refused():
    weights, z, grad_a, _ = network([3, 4, 2], "sigmoid", 0)
    with pytest.raises(ValueError, match=r"w\^2 must be \[n_out, n_in\] = \[2, 4\]"):
        product.deltas([weights[0], weights[1].T], z, grad_a)
    with pytest.raises(ValueError, match="2 weight matrices, 1 layers"):
        product.deltas(weights, z[:1], grad_a)
    with pytest.raises(ValueError, match="no layer 3"):
        product.jacobian(weights, z, layer=3)


# --- operators ---------------------------------------------------------------------------------------------------


def test_a_models_jacobian_through_vjp_and_jvp():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.Tanh(), torch.nn.Linear(6, 4)).double()
    x = torch.randn(6, dtype=torch.float64, requires_grad=True)
    y, u = model(x), torch.zeros(4, dtype=torch.float64, requires_grad=True)
    (back,) = torch.autograd.grad(y, x, u, create_graph=True)  # linear in u: its own derivative is the jvp

    def vjp(g):
        return torch.autograd.grad(y, x, torch.tensor(g), retain_graph=True)[0].numpy()

    def jvp(v):
        return torch.autograd.grad(back, u, torch.tensor(v), retain_graph=True)[0].numpy()

    exact = torch.linalg.svdvals(torch.autograd.functional.jacobian(model, x)).numpy()
    np.testing.assert_allclose(
        singular.largest(singular.linear_operator((6, 4), vjp, jvp), k=4).values, exact, rtol=1e-10
    )


# --- gains and alignment -----------------------------------------------------------------------------------------


def test_typical_gain_is_the_mean_over_random_directions():
    weights, z, _, _ = network([10] * 5, "sigmoid", 3)
    found = product.gains(product.spectrum(weights, z))
    g = np.random.default_rng(0).standard_normal((10, 100_000))
    squares = np.square(product.jacobian(weights, z) @ (g / np.linalg.norm(g, axis=0))).sum(axis=0)
    assert found.typical == pytest.approx(np.sqrt(squares.mean()), rel=0.02)
    assert found.worst >= np.sqrt(squares.max())


@settings(deadline=None, max_examples=30)
@given(sizes, st.integers(0, 10**6))
def test_the_real_gradients_gain_is_explained_by_its_alignment(drawn, seed):
    weights, z, grad_a, by_autograd = network(drawn, "sigmoid", seed)
    found = product.alignment(product.spectrum(weights, z), grad_a)
    assert found.gain == pytest.approx(np.linalg.norm(by_autograd[0]) / np.linalg.norm(grad_a), rel=1e-9)
    assert found.shares.sum() <= 1 + 1e-12
    assert found.gain <= found.worst * (1 + 1e-12)


def test_alignment_of_a_gradient_of_zeros_is_refused():
    with pytest.raises(ValueError, match="non-zero"):
        product.alignment(singular.product_svd([np.eye(3)]), np.zeros(3))
