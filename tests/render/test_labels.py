import torch
from torch import nn

import undertow
from undertow.render.segments import segments


def test_a_layer_called_often_has_a_name_for_each_call():
    torch.manual_seed(0)
    layer, x = nn.Linear(6, 6), torch.randn(20, 6)
    again = undertow.examine(layer, lambda: layer(torch.tanh(layer(torch.tanh(layer(x))))).square().mean())
    single = segments(again.diagnosis)
    called = [segment.label for segment in single]
    assert [name.partition(" #")[2] for name in called] == ["3", "2"]
    assert {pair.change for pair in again.compare(again).pairs} == {0.0}
