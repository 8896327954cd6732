import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.render.buckets import Buckets

VALUES = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(st.lists(st.lists(VALUES, min_size=2, max_size=2), max_size=90), st.lists(st.integers(0, 9), max_size=30))
@settings(deadline=None, max_examples=60)
def test_buckets_keep_every_extreme_however_the_rows_arrive(rows, cuts):
    values = np.array(rows, np.float32).reshape(-1, 2)
    at_once, by_parts = Buckets(2, 8), Buckets(2, 8)
    at_once.add(np.arange(len(values)), values)
    begin = 0
    for cut in [*cuts, len(values)]:
        part = values[begin : begin + cut]
        by_parts.add(np.arange(begin, begin + len(part)), part)
        begin += len(part)
    by_parts.add(np.arange(begin, len(values)), values[begin:])
    for name in ("low", "high", "first", "last", "latest"):
        assert np.array_equal(getattr(at_once, name), getattr(by_parts, name), equal_nan=True), name
    assert at_once.count <= 8
    for k in range(at_once.count):
        inside = values[k * at_once.stride : (k + 1) * at_once.stride]
        assert np.array_equal(at_once.low[k], np.fmin.reduce(inside), equal_nan=True)
        assert np.array_equal(at_once.high[k], np.fmax.reduce(inside), equal_nan=True)
