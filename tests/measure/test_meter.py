"""Nothing waits for a device before the end, and numbers of several devices don't mix; the host's are there at once.

A tensor on torch's meta device has a shape and no numbers: whatever asks for one raises. A pass that goes through on
it has asked for none, and would not have made a GPU's host wait.
"""

import pytest
import torch
from torch import nn

from undertow.measure import Meter, measure_parameters
from undertow.tape import Tape


def conv_net():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 8), nn.Sigmoid(), nn.Linear(8, 2)
    )


def attention():
    return nn.TransformerEncoderLayer(8, 2, 16, 0.0, activation="gelu", batch_first=True, norm_first=True)


@pytest.mark.parametrize(("make", "shape"), [(conv_net, (3, 2, 8, 8)), (attention, (3, 5, 8))])
@pytest.mark.parametrize("precise", [False, True])
def test_a_whole_pass_asks_for_no_number(make, shape, precise):
    model = make().to("meta")
    meter = Meter(precise=precise, count_nonfinite=precise)
    with Tape(model, meter) as tape:
        loss = model(torch.ones(shape, device="meta")).square().mean()
        assert tape.attach(loss)
        loss.backward()
        measure_parameters(dict(model.named_parameters()), None, meter)
    with pytest.raises((NotImplementedError, RuntimeError), match="meta"):
        meter.read()


def test_numbers_of_several_devices_are_taken_apart():
    meter = Meter()
    meter.norm("received", 0, torch.tensor([3.0, 4.0]))
    meter.norm("received", 1, torch.ones(3, device="meta"))
    meter.norm("received", 2, torch.tensor([3.0, 4.0], dtype=torch.float64))
    meter.agreement(3, torch.ones(2), torch.ones(2))
    meter.agreement(4, torch.ones(2, device="meta"), torch.ones(2, device="meta"))
    meter.settle()
    places = {
        (str(device), dtype): sorted(place for _, place in labels)
        for (device, dtype), (labels, _) in meter._taken.items()
    }
    assert places == {("meta", torch.float32): [1, 4, 4, 4]}
    assert sorted(meter._labels) == [
        ("arrived", 3), ("differing", 3), ("expected", 3), ("received", 0), ("received", 2),
    ]  # fmt: skip
    assert [meter._noted[meter._labels.index(("received", place))] for place in (0, 2)] == [5.0, 5.0]
    assert all(value.device == device for (device, _), (_, values) in meter._taken.items() for value in values)
