"""Norms and inner products on the host are right to five digits, whatever the numbers, their precision and layout."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.measure import Meter
from undertow.measure.norms import PIECE, host_count_above, host_inner, host_norm, host_products

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
RIGHT = 1e-5


def exactly(x, y=None):
    """Return <x, y> in numbers that hold everything (80 bits: to 1e-4900), or the norm where there is no y."""
    wide = [each.detach().double().reshape(-1).numpy().astype(np.longdouble) for each in (x, x if y is None else y)]
    found = np.sum(wide[0] * wide[1])
    return float(np.sqrt(found)) if y is None else float(found)


kinds = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(FLOATS),
        "size": st.sampled_from([1, 2, 7, 1024, 4097, 5120, PIECE, PIECE + 3, 2 * PIECE]),
        "where": st.floats(0, 1),
        "width": st.sampled_from([0.0, 1.0, 5.0, 30.0]),
        "zeros": st.sampled_from([0.0, 0.5, 0.99]),
        "equal": st.booleans(),
        "seed": st.integers(0, 2**32 - 1),
    }
)


def tensor(kind, widest=math.inf):
    """Return numbers over many powers of ten, with zeros, denormals and repetitions."""
    limits, rng, size = torch.finfo(kind["dtype"]), np.random.default_rng(kind["seed"]), kind["size"]
    smallest = max(math.log10(limits.smallest_normal) - 2, -widest)
    largest = min(math.log10(limits.max) - 1, widest)
    center = smallest + kind["where"] * (largest - smallest)
    numbers = 10 ** np.clip(center + kind["width"] * rng.uniform(-1, 1, size), smallest, largest)
    numbers *= rng.choice([-1.0, 1.0], size)
    numbers[rng.uniform(size=size) < kind["zeros"]] = 0.0
    numbers[:] = numbers[0] if kind["equal"] else numbers
    return torch.from_numpy(numbers).to(kind["dtype"])


@settings(max_examples=60, deadline=None)
@given(kinds)
def test_a_norm_is_right_to_five_digits(kind):
    x = tensor(kind)
    before = x.clone()
    assert host_norm(x) == pytest.approx(exactly(x), rel=RIGHT, abs=0)
    assert x.equal(before)


@settings(max_examples=30, deadline=None)
@given(kinds)
def test_a_product_is_right_to_five_digits_of_both_norms(kind):
    x = tensor(kind, widest=150)
    y = x[torch.from_numpy(np.random.default_rng(kind["seed"]).permutation(len(x)))]
    assert abs(host_inner(x, y) - exactly(x, y)) <= RIGHT * exactly(x) * exactly(y)


@settings(max_examples=30, deadline=None)
@given(kinds, st.sampled_from([1.0, 0.0, math.inf, math.nan]))
def test_products_of_many_rows_at_once_are_those_of_each(kind, spoilt):
    x = tensor(kind, widest=150)[:PIECE].float()
    rows = torch.stack((x, x.flip(0), torch.zeros_like(x), torch.full_like(x, spoilt)))
    pairs = torch.stack((rows, rows.roll(1, 0)))
    norms, inners = host_products([pairs[:, :2].numpy(), pairs[:, 2:].numpy()])
    for at, (a, b) in enumerate(zip(*pairs, strict=True)):
        length = host_norm(a)
        assert norms[at] == pytest.approx(length, rel=RIGHT, nan_ok=True)
        assert inners[at] == pytest.approx(host_inner(a, b), abs=2 * RIGHT * length * host_norm(b), nan_ok=True)


def test_products_with_zeros_are_zero_where_a_sum_would_overflow():
    rows = np.stack((np.zeros(4, np.float32), np.full(4, 3e38, np.float32)))[:, None]
    assert [each.tolist() for each in host_products([rows])] == [[0.0], [0.0]]


@pytest.mark.parametrize("number", [1.1, 1 / 3, 7.77e-4, 1e-30, 1e-40, 3e30])
def test_ten_million_equal_numbers_lose_no_digits(number):
    x = torch.full((10**7,), number)
    exact = float(x[0].double()) * math.sqrt(10**7)
    assert host_norm(x) == pytest.approx(exact, rel=RIGHT)
    assert host_inner(x, x) == pytest.approx(exact**2, rel=2 * RIGHT)


def test_many_small_numbers_beside_a_large_one_are_not_lost():
    x = torch.full((2**21,), 3e-20)
    x[0] = 1e-15
    assert host_norm(x) == pytest.approx(exactly(x), rel=RIGHT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("size", [3, 10240, PIECE + 5])
@pytest.mark.parametrize(("number", "norm"), [(math.inf, math.inf), (-math.inf, math.inf), (math.nan, math.nan)])
def test_what_is_not_finite_stays_so(dtype, size, number, norm):
    x = torch.ones(size, dtype=dtype)
    x[-1] = number
    assert host_norm(x) == pytest.approx(norm, nan_ok=True)
    assert not math.isfinite(host_inner(x, x))


def test_what_is_empty_or_zero_has_no_length():
    assert host_norm(torch.zeros(0)) == host_norm(torch.zeros(5)) == host_norm(torch.zeros(2 * PIECE)) == 0.0
    assert host_inner(torch.zeros(0), torch.zeros(0)) == 0.0


@pytest.mark.parametrize(
    "layout",
    [
        lambda x: x.t(),
        lambda x: x[::2, 1::3],
        lambda x: x[:1].expand(300, -1),
        lambda x: x.view(300, 10, 30).transpose(0, 2),
        lambda x: x.view(3, 10, 10, 300).to(memory_format=torch.channels_last),
        lambda x: x[0, 0].expand(7, 5),
        lambda x: torch.complex(x, 2 * x),
        lambda x: torch.complex(x, 2 * x).conj(),
        lambda x: torch.complex(x, 2 * x).conj().imag,
    ],
)
def test_layout_in_memory_makes_no_difference(layout):
    x, y = (layout(torch.randn(300, 300, generator=torch.Generator().manual_seed(seed))) for seed in (0, 1))
    wide = (x.to(torch.complex128), y.to(torch.complex128))
    assert host_norm(x) == pytest.approx(wide[0].norm().item(), rel=RIGHT)
    product = (wide[0].conj() * wide[1]).sum().real.item()
    assert host_inner(x, y) == pytest.approx(product, abs=RIGHT * wide[0].norm().item() * wide[1].norm().item())


def test_products_of_two_precisions_and_two_layouts_are_taken_number_by_number():
    x, y = torch.arange(12.0).view(3, 4), torch.arange(12.0).view(4, 3).t().double()
    assert host_inner(x, y) == pytest.approx((x.double() * y).sum().item())


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.25, 1.0]), min_size=1, max_size=50), st.sampled_from(FLOATS))
def test_elements_above_count_twice_and_equal_ones_once(numbers, dtype):
    expected = 2 * sum(n > 0.25 for n in numbers) + sum(n == 0.25 for n in numbers)
    assert host_count_above(torch.tensor(numbers, dtype=dtype), 0.25) == expected


def test_counting_goes_through_what_is_large_and_what_has_another_layout():
    x = torch.arange(600_000.0).view(600, 1000)
    assert host_count_above(x.t(), 299_999.5) == 600_000
    assert host_count_above(x[:, ::2], 299_999.5) == 300_000


def test_a_meter_of_the_host_needs_no_second_pass_in_another_precision():
    meter = Meter()
    meter.norm("received", 0, torch.full((5,), 1e-30))
    assert meter.exact
    assert meter.read()["received"].values == pytest.approx(5**0.5 * 1e-30)
    meter.norm("received", 1, torch.ones(3, device="meta"))
    assert not meter.exact
