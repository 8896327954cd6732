"""The IDX format."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from undertow.lab.idxfile import DataError, encode, parse


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=9)))
def test_parse_undoes_encode_and_any_other_length_is_refused(values: np.ndarray) -> None:
    encoded = encode(values)
    assert np.array_equal(parse(encoded, values.ndim), values)
    for other in (encoded[:-1], encoded + b"!"):
        with pytest.raises(DataError, match=r"truncated|too long"):
            parse(other, values.ndim)
