"""A network and its training follow from the seed."""

import torch

from undertow.studies.severity.config import RATES
from undertow.studies.severity.tasks import task
from undertow.studies.severity.training import network, trained


def test_a_network_and_its_training_follow_from_the_seed():
    settings = {"kind": "mlp", "depth": 3, "start": "1"}
    one, two = (network(task("vectors"), 5, **settings) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    runs = [trained("vectors", "adam", RATES["adam"][1], 5, **settings) for _ in range(2)]
    assert runs[0] == runs[1]
    assert runs[0]["learned"]
