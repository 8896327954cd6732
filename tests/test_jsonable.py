"""Whatever comes out of `jsonable`, JSON can hold."""

import json
from enum import StrEnum

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from undertow.jsonable import jsonable


class Kind(StrEnum):
    """A text with a name."""

    WEIGHT = "weight"


FLOATS = st.floats(allow_nan=True, allow_infinity=True)
SCALARS = st.one_of(
    FLOATS, st.integers(), st.text(), st.booleans(), st.none(), FLOATS.map(np.float64), FLOATS.map(np.array)
)
NESTED = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner), st.tuples(inner), st.dictionaries(st.text(), inner))
)


@given(NESTED, st.sampled_from([None, 5, 8]), st.booleans())
def test_json_holds_it_and_gives_it_back(value, digits, infinite):
    found = jsonable(value, digits, infinite)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert jsonable(found, digits, infinite) == found


def test_the_largest_float_is_not_rounded_to_infinity():
    largest = float(np.finfo(float).max)
    assert jsonable(largest, digits=5) == largest


def test_what_isn_t_finite_is_none_or_said():
    values = [np.inf, -np.inf, np.nan, np.float32("inf")]
    assert jsonable(values) == [None] * 4
    assert jsonable(values, infinite=True) == ["inf", "-inf", None, "inf"]


@pytest.mark.parametrize("value", [torch.tensor([1.0, 2.0]), np.array([1, 2]), (1, 2)])
def test_arrays_of_any_kind_become_lists(value):
    assert jsonable({"values": value, 3: Kind.WEIGHT}) == {"values": [1, 2], "3": "weight"}


def test_what_json_can_t_hold_is_left_for_it_to_refuse():
    with pytest.raises(TypeError):
        json.dumps(jsonable({"a": object()}))
