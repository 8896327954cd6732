"""The networks that severities are read off."""

from undertow.studies.severity.networks import WIDTH
from undertow.studies.severity.tasks import task
from undertow.studies.severity.training import network


def test_an_open_gate_is_set_where_torch_keeps_it():
    net = network(task("recall", 10), 0, kind="lstm", start="open", steps=10)
    assert (net.rnn.bias_ih_l0[WIDTH : 2 * WIDTH] == 4).all()
