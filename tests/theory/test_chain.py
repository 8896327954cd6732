"""A chain of single neurons: the factors multiply to the gradient, the increments show the argument for it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.activations import ACTIVATIONS
from undertow.theory import chain

SMOOTH = ["sigmoid", "tanh", "gelu", "silu", "softplus", "erf", "softsign", "elu"]
TORCH = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": torch.nn.functional.gelu,
    "silu": torch.nn.functional.silu,
    "softplus": torch.nn.functional.softplus,
    "erf": torch.erf,
    "softsign": torch.nn.functional.softsign,
    "elu": torch.nn.functional.elu,
    "relu": torch.relu,
    "leaky_relu": torch.nn.functional.leaky_relu,
    "selu": torch.selu,
    "linear": lambda z: z,
}
numbers = st.floats(-3, 3)


@st.composite
def chains(draw, names=tuple(TORCH)):
    depth = draw(st.integers(1, 7))
    w, b = (np.array(draw(st.lists(numbers, min_size=depth, max_size=depth))) for _ in range(2))
    return draw(st.sampled_from(names)), w, b, draw(st.floats(0, 1)), draw(numbers)


@settings(deadline=None, max_examples=60)
@given(chains())
def test_gradient_equals_autograd(drawn):
    name, w, b, a0, y = drawn
    biases = torch.tensor(b, dtype=torch.float64, requires_grad=True)
    a = torch.tensor(a0, dtype=torch.float64)
    for weight, bias in zip(torch.tensor(w, dtype=torch.float64), biases, strict=True):
        a = TORCH[name](weight * a + bias)
    ((a - y) ** 2 / 2).backward()
    ours = chain.gradients(w, b, a0, chain.quadratic(y), name)
    np.testing.assert_allclose(ours, biases.grad.numpy(), rtol=1e-12, atol=1e-15)


@settings(deadline=None, max_examples=60)
@given(chains())
def test_factors_multiply_to_the_backpropagated_gradient_at_every_neuron(drawn):
    name, w, b, a0, y = drawn
    by_backpropagation = chain.gradients(w, b, a0, chain.quadratic(y), name)
    for j in range(1, len(w) + 1):
        found = chain.gradient(w, b, a0, chain.quadratic(y), name, layer=j)
        assert len(found.factors) == 2 * (len(w) - j) + 2  # a φ' per neuron, a w between neurons, dC/da
        np.testing.assert_allclose(found.value, by_backpropagation[j - 1], rtol=1e-12, atol=1e-300)


@settings(deadline=None, max_examples=40)
@given(chains(names=tuple(SMOOTH)))
def test_gradient_equals_finite_differences(drawn):
    name, w, b, a0, y = drawn
    h = 1e-5

    def cost(bias: float) -> float:
        a = chain.forward(w, np.append(bias, b[1:]), a0, name).a[-1]
        return float((a - y) ** 2 / 2)

    numerical = (cost(b[0] + h) - cost(b[0] - h)) / (2 * h)
    assert chain.gradient(w, b, a0, chain.quadratic(y), name).value == pytest.approx(numerical, rel=1e-4, abs=1e-6)


def test_factors_are_named_as_in_eq_121():
    found = chain.gradient(np.ones(4), np.zeros(4))
    assert [factor.name for factor in found.factors] == [
        "sigmoid'(z_1)", "w_2", "sigmoid'(z_2)", "w_3", "sigmoid'(z_3)", "w_4", "sigmoid'(z_4)", "dC/da_4",
    ]  # fmt: skip


def test_the_third_neuron_has_the_factors_of_the_first_from_its_own_on():
    w, b = np.array([0.5, -2.0, 1.5, 3.0]), np.array([0.1, 0.2, -0.3, 0.4])
    first, third = (chain.gradient(w, b, layer=layer).factors for layer in (1, 3))
    assert [(f.name, float(f.value)) for f in first[-len(third) :]] == [(f.name, float(f.value)) for f in third]


@settings(deadline=None, max_examples=60)
@given(chains(names=tuple(SMOOTH)))
def test_increments_end_at_the_gradient_and_err_to_second_order(drawn):
    name, w, b, a0, y = drawn
    slope = float(chain.gradient(w, b, a0, chain.quadratic(y), name).value)
    errors = []
    for db in (1e-2, 1e-3):
        steps = chain.increments(w, b, db, a0, chain.quadratic(y), name)
        assert [s.name for s in steps[:2]] == ["db_1", "da_1"]
        assert steps[-1].name == "dC"
        assert steps[-1].first_order == pytest.approx(slope * db, rel=1e-12, abs=1e-300)
        errors.append(abs(float(steps[-1].exact - steps[-1].first_order)))
    assert errors[1] <= errors[0] / 30 + 1e-9  # a hundredth, but for the third order


@settings(deadline=None, max_examples=60)
@given(chains(), st.floats(-2, 2), st.integers(0, 6))
def test_exact_increments_are_what_torch_finds_with_the_bias_moved(drawn, db, place):
    name, w, b, a0, y = drawn
    layer = place % len(w) + 1
    moved = b.copy()
    moved[layer - 1] += db
    runs = []
    for biases in (b, moved):
        a, seen = torch.tensor(a0, dtype=torch.float64), []
        for weight, bias in zip(w, biases, strict=True):
            z = weight * a + bias
            a = TORCH[name](z)
            seen += [float(z), float(a)]
        runs.append([*seen[2 * layer - 1 :], (float(a) - y) ** 2 / 2])
    found = chain.increments(w, b, db, a0, chain.quadratic(y), name, layer)
    assert [s.name for s in found[:3]] == [f"db_{layer}", f"da_{layer}", f"dz_{layer + 1}" if layer < len(w) else "dC"]
    exact = [float(s.exact) for s in found]
    np.testing.assert_allclose(exact[1:], np.subtract(runs[1], runs[0]), rtol=1e-9, atol=1e-12)
    assert exact[0] == pytest.approx(db, abs=1e-12)


def test_increments_of_a_linear_chain_are_exact():
    for step in chain.increments([2.0, -3.0, 0.5], [1.0, 2.0, 3.0], db=10.0, cost=1.5, activation="linear"):
        assert step.exact == pytest.approx(float(step.first_order), rel=1e-14)


def test_many_chains_at_once_equal_one_at_a_time():
    rng = np.random.default_rng(0)
    w, b, a0, y = rng.standard_normal((5, 3, 7)), rng.standard_normal((5, 3, 7)), rng.random((3, 7)), rng.random(7)
    together = chain.gradients(w, b, a0, chain.quadratic(y))
    assert together.shape == (5, 3, 7)
    for i, k in np.ndindex(3, 7):
        alone = chain.gradients(w[:, i, k], b[:, i, k], a0[i, k], chain.quadratic(y[k]))
        np.testing.assert_array_equal(together[:, i, k], alone)


def test_one_weight_and_bias_per_layer_serve_all_inputs_and_changes():
    w, b, many = np.array([1.0, 2.0, 3.0]), np.array([0.0, -1.0, 0.5]), np.linspace(0, 1, 3)
    assert chain.forward(w, b, many).z[0].tolist() == many.tolist()
    by_change = chain.increments(w, b, db=np.array([0.1, 0.2]))[-1].exact
    assert by_change.tolist() == [float(chain.increments(w, b, db=db)[-1].exact) for db in (0.1, 0.2)]


@pytest.mark.parametrize(
    ("weights", "biases", "a0"), [([], [], 0.5), ([1.0, 2.0], [1.0, 2.0, 3.0], 0.5), (np.ones((2, 3)), 0.0, np.ones(4))]
)
def test_shapes_that_do_not_go_together_are_refused(weights, biases, a0):
    with pytest.raises(ValueError, match=r"layers, \*chains"):
        chain.forward(weights, biases, a0)


def test_a_neuron_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no neuron 3"):
        chain.gradient([1.0, 2.0], [0.0, 0.0], layer=3)


def test_every_activation_has_been_held_to_torch():
    assert set(TORCH) == set(ACTIVATIONS)
