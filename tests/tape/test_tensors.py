"""Tensors in nested values: all of them, each in its place, whatever holds them."""

from collections import OrderedDict, UserDict, namedtuple

import torch
from hypothesis import given
from hypothesis import strategies as st

from undertow.tape.tensors import tensors_in

Pair = namedtuple("Pair", "first second")
numbers = st.integers(0, 99)
leaves = numbers | st.sampled_from([None, "text", 1.5, torch.float32, object()])
nested = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.builds(Pair, inner, inner)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3).map(OrderedDict)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3).map(UserDict)
    ),
    max_leaves=12,
)


def with_tensors(values, seen):
    """The same with a tensor in place of every whole number, which ``seen`` is told of in order."""
    if isinstance(values, int):
        seen.append(values)
        return torch.tensor(values)
    if isinstance(values, UserDict | OrderedDict):
        return type(values)({key: with_tensors(each, seen) for key, each in values.items()})
    if isinstance(values, Pair):
        return Pair(*(with_tensors(each, seen) for each in values))
    if isinstance(values, list | tuple):
        return type(values)(with_tensors(each, seen) for each in values)
    return values


@given(nested)
def test_every_tensor_is_found_once_and_in_order(values):
    seen = []
    made = with_tensors(values, seen)
    assert [int(tensor) for tensor in tensors_in(made)] == seen


def test_a_tensor_alone_is_itself():
    alone = torch.nn.Parameter(torch.zeros(2))
    assert tensors_in(alone)[0] is alone
    assert tensors_in({1, 2}) == []
