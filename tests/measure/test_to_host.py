"""What is sent to the host together arrives in the order in which it was taken."""

import pytest
import torch

from undertow.measure import by_kind, sent


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64])
def test_numbers_of_any_precision_arrive_in_their_order(dtype):
    values = [torch.tensor(value, dtype=dtype) for value in (3, 1, 2)]
    assert sent(values)().tolist() == [3, 1, 2]


def test_nothing_arrives_of_nothing():
    assert len(sent([])()) == 0


def test_kinds_are_kept_apart_and_each_in_order():
    labelled = [(place, torch.ones(1, dtype=[torch.float32, torch.float64][place % 2])) for place in range(7)]
    assert [labels for labels, _ in by_kind(labelled)] == [[0, 2, 4, 6], [1, 3, 5]]
