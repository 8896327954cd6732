"""Gates that remember to begin with."""

from torch import nn

from remedies import patients
from undertow.remedies import Remedy, apply


def test_gates_remember():
    training = patients.classes(lambda: patients.Recurrent(nn.LSTM), 7, 2)
    rnn = patients.made(apply(Remedy("UR207", {"bias": 2.0}), training)).rnn
    assert (rnn.bias_ih_l0 + rnn.bias_hh_l0)[4:8].tolist() == [2.0] * 4
