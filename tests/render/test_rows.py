import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from undertow.render.rows import plain, thinned


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
