"""Large activations are read in parts, and say the same as when they are read at once."""

import math

import pytest
import torch
from torch import nn

from undertow.measure import Meter, Signal, Slopes, measure
from undertow.measure.norms import LARGE_PIECE
from undertow.tape import Tape

ACTIVATIONS = [nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.GELU(), nn.LeakyReLU(0.2), nn.ELU(), nn.SiLU(), nn.PReLU()]


def taped(net, x, listener=measure):
    meter = Meter()
    with Tape(net, meter, listener) as tape:
        loss = (net(x) * torch.linspace(-1, 2, net(x[:1]).shape[-1])).square().mean()
        assert tape.attach(loss)
        loss.backward()
    return tape, meter.read()


def seen(signals):
    def listener(signal, meter):
        if signal.slopes is not None:
            signals.append((signal.derivative.double(), signal.received[0].double(), signal))
        measure(signal, meter)

    return listener


@pytest.mark.parametrize("phi", ACTIVATIONS, ids=lambda phi: type(phi).__name__)
@pytest.mark.parametrize("before", [nn.Linear(40, 256), nn.Conv2d(1, 8, 3)], ids=["rows", "channels"])
def test_a_large_activation_is_summed_up_as_if_it_were_read_at_once(phi, before):
    conv = isinstance(before, nn.Conv2d)
    x = torch.randn((80, 1, 18, 18) if conv else (5, 160, 40), generator=torch.Generator().manual_seed(1))
    signals = []
    with torch.no_grad():
        before.bias[:3] = -100.0  # units that are off for every row
    _, read = taped(nn.Sequential(before, phi), x, seen(signals))
    slope, g, signal = signals[0]
    assert slope.numel() > LARGE_PIECE
    assert read["values"].values[0] == slope.numel()  # a unit is off: nobody can tell from some rows alone
    assert read["slope"].values[0] == pytest.approx(slope.norm().item(), rel=1e-5)
    assert read["slope_times_g"].values[0] == pytest.approx((slope * g).norm().item(), rel=1e-5)
    if signal.bounded:
        assert read["steep"].values[0] == 2 * (slope > 0.1 * signal.peak).sum()
    else:
        units = 1 if conv else 2
        largest = slope.abs().amax([d for d in range(slope.dim()) if d != units])
        assert read["alive"].values[0] == 2 * (largest > 1e-3 * signal.peak).sum()
        assert read["units"].values[0] == slope.shape[units]


def test_a_gradient_that_somebody_changes_on_its_way_through_an_activation_is_told_from_its_slope_times_g():
    net, signals = nn.Sequential(nn.Linear(40, 256), nn.ReLU(), nn.Linear(256, 3)), []
    x = torch.randn(800, 40)

    def triple(_, __, out):
        out.grad_fn.register_hook(lambda passed, _: (3 * passed[0],))

    net[1].register_forward_hook(triple)
    _, read = taped(net, x, seen(signals))
    slope, g, _ = signals[0]
    true = (slope * g).norm().item()
    assert read["slope_times_g"].values[0] == pytest.approx(true, rel=1e-5)
    assert math.isfinite(true)


@pytest.mark.parametrize(("make", "shape"), [(nn.Linear, (3, 400, 40)), (nn.Conv2d, (150, 1, 18, 18))])
def test_some_rows_of_gelu_tell_its_steepness_where_every_unit_is_alive(make, shape):
    before = nn.Conv2d(1, 8, 3) if make is nn.Conv2d else nn.Linear(40, 256)
    signals, x = [], torch.randn(shape, generator=torch.Generator().manual_seed(1))
    _, read = taped(nn.Sequential(before, nn.GELU()), x, seen(signals))
    slope, g, _ = signals[0]
    seen_values = read["values"].values[0]
    assert slope.numel() / 4 < seen_values < slope.numel()
    assert read["slope"].values[0] / seen_values**0.5 == pytest.approx(slope.square().mean().sqrt().item(), rel=0.01)
    assert read["slope_times_g"].values[0] == pytest.approx((slope * g).norm().item(), rel=1e-5)
    assert read["alive"].values[0] == 2 * read["units"].values[0]


def switched(shape, kept):
    """Measure a ReLU once by its derivative and once by counting where it is on."""
    read = []
    for switch in (False, True):
        meter = Meter(verify=False)
        meter.gathers = False
        slopes = Slopes(kept, torch.sign, costly=False, switch=switch)
        measure(Signal(0, [torch.ones(shape)], features=1, slopes=slopes, onward=True, rising=True), meter)
        found = meter.read()
        read.append({name: found[name].values for name in ("values", "slope", "alive", "units") if name in found})
    return read


@pytest.mark.parametrize("shape", [(7, 5), (3, 5, 4, 4), (LARGE_PIECE // 100, 300), (0, 5)])
@pytest.mark.parametrize("make", [torch.randn, lambda shape: torch.full(shape, math.nan), torch.zeros])
def test_to_count_where_a_relu_is_on_says_the_same_as_its_derivative(shape, make):
    torch.manual_seed(0)
    kept = make(shape).relu()
    if kept.numel():
        kept[:, 1] = 0.0  # a unit that is off
    derived, counted = switched(shape, kept.contiguous(memory_format=torch.channels_last) if kept.dim() == 4 else kept)
    assert counted.keys() == derived.keys()
    for name, expected in derived.items():
        assert counted[name] == pytest.approx(expected, rel=1e-5, nan_ok=True)
