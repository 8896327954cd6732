"""Batches in random order, and larger ones."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from remedies import patients
from remedies.treating import codes
from undertow.doctoring.screening import look
from undertow.remedies import Remedy, apply, prescribe
from undertow.remedies.facts import with_facts

TRAINING = patients.classes(patients.mlp, 6)


def test_examples_are_dealt_out_anew_and_none_is_lost():
    x = torch.arange(24.0)[:, None]
    training = replace(TRAINING, batches=[(x[i : i + 8], x[i : i + 8, 0]) for i in (0, 8, 16)])
    dealt = list(apply(Remedy("UR113"), training).batches())
    assert [len(batch[0]) for batch in dealt] == [8, 8, 8]
    assert all(torch.equal(a[:, 0], b) for a, b in dealt)
    assert sorted(torch.cat([b for _, b in dealt]).tolist()) == list(range(24))
    assert max(float(b.std()) for _, b in dealt) > 3 * float(training.batches[0][1].std()) / 2


@pytest.mark.parametrize("shape", [lambda x, y: (x, y), lambda x, y: {"x": x, "y": [y, "kept"]}, lambda x, _: x])
def test_small_batches_are_put_together(shape):
    draws = [(torch.full((2, 3), i), torch.full((2,), i)) for i in range(7)]
    training = replace(patients.classes(patients.mlp, 6), batches=[shape(*each) for each in draws])
    made = list(apply(Remedy("UR116", {"times": 3}), training).batches())
    whole = [shape(*(torch.cat(each) for each in zip(*draws[i : i + 3], strict=True))) for i in (0, 3)]
    assert str(made) == str(whole)  # the seventh is left over


def test_a_norm_over_next_to_nothing_asks_for_larger_batches():
    net = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
    training = patients.classes(lambda: copy.deepcopy(net), 6)
    small = replace(training, batches=[(x[:2], y[:2]) for x, y in training.batches])
    asked = {each.code: each for each in prescribe(with_facts(look(small).diagnosis, small, 0.0))}
    assert asked["UR116"].settings == {"times": 16}
    assert "UR116" not in codes(
        replace(training, batches=[tuple(torch.cat([t] * 4) for t in b) for b in training.batches])
    )
