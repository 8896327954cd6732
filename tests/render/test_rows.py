import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from undertow.render.axes import log_ticks
from undertow.render.rows import MINUS, aligned, number, plain, thinned

positive = st.floats(1e-30, 1e30)


def read_back(text: str) -> float:
    mantissa, _, power = text.replace(MINUS, "-").replace(",", "").partition("\u00d710")
    return float(mantissa) * 10.0 ** int(power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")) or 0)


@given(positive, st.sampled_from([1, -1]))
def test_a_written_number_reads_back_to_three_digits(value, sign):
    assert read_back(number(sign * value)) == pytest.approx(sign * value, rel=6e-3)


@given(st.lists(st.floats(0.5, 40), min_size=1))
def test_a_column_of_one_size_has_equally_many_decimals(values):
    written = aligned(values)
    assert len({len(text.partition(".")[2]) for text in written}) == 1
    assert [float(text) for text in written] == pytest.approx(values, rel=6e-3)


@given(st.dictionaries(st.text(), st.floats() | st.integers() | st.text() | st.none()))
def test_plain_rows_are_json(row):
    json.dumps(plain([row]), allow_nan=False)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_numpy_scalars_become_numbers_and_what_isnt_finite_a_gap(kind):
    assert plain([{"a": kind(0.5), "b": kind(math.inf), "c": kind(math.nan)}]) == [{"a": 0.5, "b": None, "c": None}]


@given(st.integers(1, 500), st.integers(2, 60))
def test_thinning_keeps_order_and_both_ends(length, most):
    kept = [row["x"] for row in thinned([{"x": i} for i in range(length)], [], most)]
    assert kept == sorted(set(kept))
    assert len(kept) == min(most, length)
    assert (kept[0], kept[-1]) == (0, length - 1)


@given(positive, st.floats(1.5, 1e30))
def test_log_ticks_lie_within_and_are_few_but_enough(low, ratio):
    high = low * ratio
    ticks = log_ticks(low, high)
    assert ticks == sorted(set(ticks))
    assert all(low * (1 - 1e-6) <= tick <= high * (1 + 1e-6) for tick in ticks)
    assert (3 if ratio > 6 else 1) <= len(ticks) <= 9
