"""Padding that is left out."""

from dataclasses import replace

import pytest
from torch import nn

from remedies import patients
from remedies.treating import codes, loss_of
from undertow.remedies import Remedy, apply


def test_padding_at_the_end_is_left_out():
    def padded(x):
        x = x.clone()
        x[:, 3:] = 0.0
        return x

    class Padded(patients.Recurrent):
        def forward(self, x):
            return super().forward(padded(x))

    ill = patients.classes(lambda: Padded(nn.LSTM), 7, 2)
    short = patients.classes(lambda: patients.Recurrent(nn.LSTM), 7, 2)
    short = replace(short, batches=[(x[:, :3], y) for x, y in short.batches])
    assert "UR315" in codes(ill)
    assert loss_of(apply(Remedy("UR315"), ill)) == pytest.approx(loss_of(short), rel=1e-5)
    assert loss_of(apply(Remedy("UR315"), short)) == pytest.approx(loss_of(short), rel=1e-5)
