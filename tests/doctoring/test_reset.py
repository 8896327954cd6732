"""What is lost when a layer is set back to where it began."""

import pytest
import torch
from torch import nn

from undertow.doctoring.reset import reset_test


def test_reset_finds_the_layer_that_was_trained():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        net[1].weight.fill_(2.0)
    found = {each.module: each for each in reset_test(net, before, lambda model: float(model[1].weight.sum()))}
    assert found["0"].lost == pytest.approx(0.0)
    assert found["0"].moved == 0.0
    assert found["1"].lost > 1
    assert float(net[1].weight.detach().sum()) == 6.0
    with pytest.raises(ValueError, match=r"initial_state has no 0\.weight"):
        reset_test(net, {}, lambda _: 0.0)
