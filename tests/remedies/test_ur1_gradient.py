"""Clipping the gradient's norm."""

import math

import pytest
import torch

from remedies import patients
from undertow.remedies import Remedy, apply


def test_no_step_is_longer_than_clipping_allows():
    loud = patients.numbers(patients.mlp, 3, scale=1e4)
    plain = type(loud)(**{**vars(loud), "optimizer": lambda model: torch.optim.SGD(model.parameters(), lr=0.1)})
    before = {k: v.clone() for k, v in patients.made(plain).state_dict().items()}
    after = apply(Remedy("UR103", {"norm": 0.5}), plain).run(seed=0, steps=1).model.state_dict()
    length = math.sqrt(sum(float((after[k] - before[k]).square().sum()) for k in before))
    assert length == pytest.approx(0.05, rel=1e-3)
