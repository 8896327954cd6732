"""Axes that are taken for one another."""

import pytest
import torch
from torch import nn

from remedies import patients
from remedies.treating import codes, loss_of
from undertow.doctoring.screening import look
from undertow.remedies import Remedy, apply


class Told(nn.Module):
    """A recurrence that gets time first in one way or another."""

    def __init__(self, how):
        super().__init__()
        self.rnn, self.head, self.how = nn.GRU(2, 4), nn.Linear(4, 3), how

    def forward(self, x):
        made, _ = self.rnn(self.how(x))
        return self.head(made[-1])


@pytest.mark.parametrize(
    "wrong",
    [lambda x: x.view(7, -1, 2), lambda x: x.reshape(x.shape[1], x.shape[0], 2), lambda x: x.reshape([7, 8, 2])],
)
def test_a_reshape_that_exchanges_sizes_becomes_a_transpose(wrong):
    ill = patients.classes(lambda: Told(wrong), 7, 2)
    well = patients.classes(lambda: Told(lambda x: x.transpose(0, 1)), 7, 2)
    assert "UR313" in codes(ill)
    assert loss_of(apply(Remedy("UR313"), ill)) == pytest.approx(loss_of(well))
    x = ill.sample(1)[0][0]
    assert torch.allclose(patients.made(apply(Remedy("UR313"), ill))(x), patients.made(well)(x))  # a score sees it
    assert "UR313" not in codes(well)


def test_a_module_that_takes_the_batch_for_time_is_turned_and_one_that_does_not_is_left():
    ill = patients.classes(patients.TimeFirst, 7, 2)
    well = patients.classes(lambda: patients.Recurrent(nn.LSTM), 7, 2)
    assert "UR312" in codes(ill)
    assert loss_of(apply(Remedy("UR312"), ill)) == pytest.approx(loss_of(well))
    assert "UR312" not in codes(well)
    assert look(well, (Remedy("UR312"),)).error.startswith("ValueError: no recurrent or attention module")
