"""Every activation's derivative, peak, kinks and saturation, against torch and against finite differences."""

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from torch.nn import functional

from undertow.activations import ACTIVATIONS, activation

EVERY = pytest.mark.parametrize("name", ACTIVATIONS)

IN_TORCH: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": functional.relu,
    "leaky_relu": functional.leaky_relu,
    "softsign": functional.softsign,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "elu": functional.elu,
    "selu": functional.selu,
    "softplus": lambda z: functional.softplus(z, threshold=50),
    "erf": torch.erf,
    "linear": lambda z: z * 1.0,
}
ENDS = [0.0, -0.0, 1e-310, -1e-310, 20.0, -20.0, 700.0, -700.0, 1e4, -1e4]


@EVERY
def test_value_and_derivative_are_torchs(name: str) -> None:
    z = torch.tensor([*np.linspace(-10, 10, 801), *ENDS], dtype=torch.float64, requires_grad=True)
    a = IN_TORCH[name](z)
    a.sum().backward()
    np.testing.assert_allclose(ACTIVATIONS[name].value(z.detach().numpy()), a.detach(), rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(ACTIVATIONS[name].derivative(z.detach().numpy()), z.grad, rtol=1e-14, atol=1e-15)


@EVERY
@settings(deadline=None)
@given(z=st.floats(-30, 30))
def test_the_derivative_is_the_slope(name: str, z: float) -> None:
    phi, h = ACTIVATIONS[name], 1e-5  # the error is h φ'' at most: where φ'' jumps, as softsign's does
    if any(abs(z - kink) <= h for kink in phi.kinks):
        return
    slope = (phi.value(z + h) - phi.value(z - h)) / (2 * h)
    assert float(phi.derivative(z)) == pytest.approx(float(slope), abs=2 * h)


@EVERY
def test_kinks_are_where_the_derivative_jumps(name: str) -> None:
    phi, h = ACTIVATIONS[name], 1e-9
    z = np.linspace(-5, 5, 1001)  # 0 among them
    jumps = np.abs(phi.derivative(z + h) - phi.derivative(z - h)) > 1e-6
    np.testing.assert_allclose(z[jumps], phi.kinks, atol=1e-12)


@EVERY
def test_the_peak_is_the_largest_slope(name: str) -> None:
    phi = ACTIVATIONS[name]
    z = np.linspace(-20, 20, 4001)
    slopes = np.abs(phi.derivative(z))
    highest = z[slopes.argmax()]
    best = optimize.minimize_scalar(
        lambda at: -abs(float(phi.derivative(at))), bounds=(highest - 0.02, highest + 0.02), method="bounded",
        options={"xatol": 1e-12},
    )  # fmt: skip
    assert slopes.max() <= phi.peak * (1 + 1e-15)
    assert max(-best.fun, slopes.max()) == pytest.approx(phi.peak, rel=1e-8)


@pytest.mark.parametrize(
    ("name", "edge"),
    [
        ("sigmoid", 3.6369),  # σ(1 - σ) = 1/40
        ("tanh", 1.8184),  # 1 - tanh² = 1/10
        ("softsign", 2.1623),  # (1 + |z|)^-2 = 1/10
        ("erf", 1.5174),  # e^(-z²) = 1/10
    ],
)
@pytest.mark.parametrize("sign", [-1, 1])
def test_where_units_saturate(name: str, edge: float, sign: int) -> None:
    before, after = ACTIVATIONS[name].saturated([sign * (edge - 1e-3), sign * (edge + 1e-3)])
    assert (bool(before), bool(after)) == (False, True)


@pytest.mark.parametrize(
    ("name", "below", "above"),
    [("relu", True, False), ("leaky_relu", True, False), ("elu", True, False), ("softplus", True, False)],
)
def test_half_of_it_saturates(name: str, below: bool, above: bool) -> None:
    assert ACTIVATIONS[name].saturated([-5.0, 5.0]).tolist() == [below, above]


def test_what_never_saturates() -> None:
    assert not ACTIVATIONS["linear"].saturated(np.linspace(-1e4, 1e4, 11)).any()


@EVERY
def test_numbers_lists_and_arrays(name: str) -> None:
    phi = ACTIVATIONS[name]
    for function in (phi.value, phi.derivative):
        one, row = function(0.5), function([0.5, 0.5])
        assert np.shape(one) == ()
        assert np.shape(row) == (2,)
        assert np.shape(function(np.full((2, 3), 0.5))) == (2, 3)
        assert float(one) == row[0] == row[1]
    assert phi.saturated(0.5).shape == ()


@EVERY
def test_whole_numbers_are_numbers(name: str) -> None:
    for function in (ACTIVATIONS[name].value, ACTIVATIONS[name].derivative):
        np.testing.assert_array_equal(function([-3, 0, 2]), function([-3.0, 0.0, 2.0]))


@EVERY
def test_each_is_found_under_its_name(name: str) -> None:
    assert activation(name) is ACTIVATIONS[name]
    assert activation(name).name == name


def test_a_name_that_there_is_not() -> None:
    with pytest.raises(ValueError, match=re.escape(f"'swish'; there are: {', '.join(ACTIVATIONS)}")):
        activation("swish")
