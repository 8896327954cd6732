"""The torch kernels are the NumPy table's functions, in both precisions and at both ends of the number line."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from undertow.activations import ACTIVATIONS
from undertow.lab.costs import SOFTMAX
from undertow.lab.ensemble import Network
from undertow.lab.kernels import KERNELS, kernel

EVERY = pytest.mark.parametrize("name", ACTIVATIONS)
PRECISIONS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
ORDINARY = torch.linspace(-12, 12, 1201, dtype=torch.float64)
EXTREME = torch.tensor(
    [0.0, -0.0, 1e-310, -1e-310, 1e-40, -1e-40, 1e-20, 20, -20, 40, -40, 88, -88, 104, -104, 710, -710, 1e4, -1e4],
    dtype=torch.float64,
)


def value(name: str, z: Tensor) -> Tensor:
    out = torch.full_like(z, torch.nan)
    kernel(name).value(z, out)
    return out


def assert_is(ours: Tensor, table: np.ndarray) -> None:
    """As exact as the dtype allows a function that grows like z, or ends at a constant."""
    epsilon = torch.finfo(ours.dtype).eps
    np.testing.assert_allclose(ours.double().numpy(), table, rtol=8 * epsilon, atol=8 * epsilon)


def test_there_is_a_kernel_for_every_activation() -> None:
    assert list(KERNELS) == list(ACTIVATIONS)


@EVERY
@PRECISIONS
@pytest.mark.parametrize("z", [ORDINARY, EXTREME], ids=["ordinary", "extreme"])
def test_value_and_derivative(name: str, dtype: torch.dtype, z: Tensor) -> None:
    z = z.to(dtype)
    a, exact = value(name, z), z.double().numpy()
    assert a.dtype == kernel(name).derivative(z, a).dtype == dtype
    assert_is(a, ACTIVATIONS[name].value(exact))
    assert_is(kernel(name).derivative(z, a), ACTIVATIONS[name].derivative(exact))


@EVERY
@PRECISIONS
@pytest.mark.parametrize("z", [ORDINARY, EXTREME], ids=["ordinary", "extreme"])
def test_chain_with_and_without_room_of_its_own(name: str, dtype: torch.dtype, z: Tensor) -> None:
    z = z.to(dtype)
    a, g, out = value(name, z), torch.linspace(-2, 3, len(z), dtype=dtype), torch.full_like(z, torch.nan)
    given, expected = g.clone(), g.double().numpy() * ACTIVATIONS[name].derivative(z.double().numpy())
    kernel(name).chain(g, z, a, out=out)
    assert torch.equal(g, given)
    assert_is(out / 4, expected / 4)  # g is up to 3 times the derivative
    kernel(name).chain(g, z, a, out=g)
    assert torch.equal(g, out)


@EVERY
@settings(deadline=None)
@given(z=st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=8))
def test_any_number(name: str, z: list[float]) -> None:
    numbers = torch.tensor(z, dtype=torch.float64)
    a = value(name, numbers)
    assert_is(a, ACTIVATIONS[name].value(np.array(z)))
    assert_is(kernel(name).derivative(numbers, a), ACTIVATIONS[name].derivative(np.array(z)))


@EVERY
def test_rows_that_lie_apart_in_memory(name: str) -> None:
    """The first layer hands its kernels transposed views."""
    z = torch.randn(5, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    room = torch.empty_like(z)
    kernel(name).value(z.transpose(0, 1), room.transpose(0, 1))
    assert torch.equal(room, value(name, z))
    g = torch.ones_like(z)
    kernel(name).chain(g.transpose(0, 1), z.transpose(0, 1), room.transpose(0, 1), out=g.transpose(0, 1))
    torch.testing.assert_close(g, kernel(name).derivative(z, room), rtol=1e-14, atol=1e-15)


@EVERY
def test_a_member_computes_what_its_ensemble_does(name: str) -> None:
    """Also at 0, where φ' may jump: there the kernels take the side that torch's backward pass takes."""
    z = torch.cat([ORDINARY, EXTREME]).requires_grad_()
    [module] = Network([(torch.ones(1, 1), torch.ones(1))], [name], "quadratic").activations
    a = module(z)
    a.sum().backward()
    assert_is(value(name, z.detach()), a.detach().numpy())
    assert_is(kernel(name).derivative(z.detach(), a.detach()), z.grad.numpy())


def test_softmax_is_of_the_whole_layer() -> None:
    z = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 100
    out = torch.empty_like(z)
    SOFTMAX.value(z, out)
    torch.testing.assert_close(out.sum(-1), torch.ones(2, 4, dtype=torch.float64))
    torch.testing.assert_close(out, (z - z.logsumexp(-1, keepdim=True)).exp(), rtol=1e-12, atol=0)
