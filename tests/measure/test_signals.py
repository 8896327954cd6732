"""A window of a convolution's input says what autograd passes on there, for every stride, padding and dilation."""

import pytest
import torch
from torch.nn import functional

from undertow.measure.signal import Convolution
from undertow.measure.signals import _project_window

SETTINGS = [
    {},
    {"stride": 2},
    {"stride": 3, "padding": 1},
    {"padding": 4},
    {"dilation": 3, "padding": 2},
    {"stride": 2, "dilation": 2, "padding": 1},
    {"stride": (1, 4), "padding": (0, 2)},
    {"groups": 4, "stride": 4},
]


@pytest.mark.parametrize("kernel", [1, 3, (5, 2)])
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("rows", [1, 7, 60])
def test_a_window_is_what_autograd_passes_on_there(kernel, settings, rows, monkeypatch):
    monkeypatch.setattr("undertow.measure.signals.WINDOW", 8 * 40 * rows)
    torch.manual_seed(0)
    height, width = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    x = torch.randn(3, 8, 60, 40, dtype=torch.float64, requires_grad=True)
    w = torch.randn(8, 8 // settings.get("groups", 1), height, width, dtype=torch.float64)
    y = functional.conv2d(x, w, **settings)
    g = torch.randn_like(y)
    y.backward(g)
    given = {name: value if isinstance(value, tuple) else (value, value) for name, value in settings.items()}
    c = Convolution(
        given.get("stride", (1, 1)),
        given.get("padding", (0, 0)),
        given.get("dilation", (1, 1)),
        False,
        (0, 0),
        settings.get("groups", 1),
    )
    expected, arrived = _project_window(c, w, g, x.grad)
    assert arrived.shape[1] == rows
    torch.testing.assert_close(expected, arrived)
