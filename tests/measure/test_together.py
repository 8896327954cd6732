"""Small tensors that are reduced together give the numbers that each of them has alone."""

import math
from itertools import chain

import numpy as np
import pytest
import torch
from torch import nn

from undertow.measure import Meter, measure, measure_parameters, norms_of_small
from undertow.measure.together import SMALL_UP_TO, WAITING_UP_TO, Waiting, can_wait
from undertow.record import Role
from undertow.tape import Tape

SCALES = {torch.float32: (1e-45, 1e-30, 1.0, 1e30, 3e38), torch.float64: (5e-324, 1e-300, 1.0, 1e300, 1.7e308)}


def right_norm(x):
    values = x.reshape(-1).tolist()
    return math.nan if any(map(math.isnan, values)) else math.hypot(*values)


@pytest.mark.parametrize("dtype", SCALES)
def test_norms_are_right_whatever_the_range(dtype):
    draws = torch.Generator().manual_seed(0)
    shapes = [(), (1,), (7,), (3, 5), (2, 3, 4), (SMALL_UP_TO,)]
    tensors = [torch.rand(shape, generator=draws).to(dtype) * scale for shape in shapes for scale in SCALES[dtype]]
    tensors += [torch.zeros(3, dtype=dtype), torch.tensor([1, math.inf], dtype=dtype), torch.tensor([math.nan, 1.0])]
    tensors += [torch.ones(1, dtype=dtype).expand(6, 4), torch.rand(6, 4, generator=draws).to(dtype).t()[:, ::2]]
    found = norms_of_small(enumerate(tensors))
    assert list(found) == list(range(len(tensors)))
    for place, x in enumerate(tensors):
        assert found[place] == pytest.approx(right_norm(x), rel=1e-6, nan_ok=True), (tuple(x.shape), place)


def test_a_kind_that_lies_elsewhere_or_is_empty_or_large_does_not_wait():
    class Sharded(torch.Tensor):
        pass

    others = [
        torch.zeros(SMALL_UP_TO + 1),
        torch.zeros(0),
        torch.zeros(2, dtype=torch.int64),
        torch.zeros(2, dtype=torch.bfloat16),
        torch.zeros(2, device="meta"),
        torch.zeros(2).as_subclass(Sharded),
    ]
    assert not any(map(can_wait, others))
    assert all(map(can_wait, [torch.zeros(()), nn.Parameter(torch.zeros(2)), torch.zeros(2, 3).t()]))


def test_what_waits_is_little_and_belongs_to_its_label():
    meter = Meter()
    tensors = [torch.full((k % 5 + 1, 100), float(k)) for k in range(600)]
    sizes = []
    for place, x in enumerate(tensors):
        meter.norm("received", place, x)
        meter.inner("inner", place, x, torch.ones_like(x))
        sizes.append(meter._on_host.size)
    assert max(sizes) <= WAITING_UP_TO < sum(x.numel() for x in tensors)
    read = meter.read()
    norms, inners = (read[name].column(len(tensors)) for name in ("received", "inner"))
    assert norms == pytest.approx([x.double().norm().item() for x in tensors])
    assert inners == pytest.approx([x.double().sum().item() for x in tensors])


def test_what_is_done_in_another_way_is_not_done_together():
    calls = []
    waiting = Waiting()

    def reduce(how, of, stacks, into):
        calls.append((how, of, [tuple(x.shape) for x in stacks]))
        into.note([(how, each) for each in of], stacks[0].sum((1, 2)).tolist())

    for place, how, shape in ((0, "a", (2, 3)), (1, "b", (2, 3)), (2, "a", (2, 3)), (3, "a", (3, 2))):
        waiting.add(reduce, how, place, torch.full(shape, float(place)))
    noted = {}
    waiting.take(lambda labels, values: noted.update(zip(labels, values, strict=True)))
    assert calls == [("a", [0, 2], [(2, 2, 3)]), ("b", [1], [(1, 2, 3)]), ("a", [3], [(1, 3, 2)])]
    assert noted == {("a", 0): 0.0, ("a", 2): 12.0, ("b", 1): 6.0, ("a", 3): 18.0}
    assert waiting.size == 0


PHIS = [nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.GELU(), nn.LeakyReLU(0.2), nn.ELU(), nn.PReLU(), nn.Hardtanh()]


@pytest.mark.parametrize("phi", PHIS, ids=lambda phi: type(phi).__name__)
def test_layers_of_one_shape_are_told_apart(phi):
    torch.manual_seed(0)
    layers = [nn.Linear(12, 12) for _ in range(4)]
    with torch.no_grad():
        for k, layer in enumerate(layers):
            layer.weight *= k + 1
            layer.bias[:k] = -100.0  # units that are off for every row
    signals = []

    def listener(signal, meter):
        signals.append((signal.site, signal.derivative, signal.received[0], signal))
        measure(signal, meter)

    net = nn.Sequential(*chain.from_iterable((layer, phi) for layer in layers))
    with Tape(net, Meter(inflow=True, lasting=True), listener) as tape:
        loss = net(torch.randn(10, 12)).square().mean()
        assert tape.attach(loss)
        loss.backward()
        read = tape.meter.read()
    seen = [(site, slope, g, signal) for site, slope, g, signal in signals if slope is not None]
    assert len(seen) == len(layers)
    columns = {name: read[name].column(len(tape.sites)) for name in ("slope", "slope_times_g", "values")}
    for site, slope, g, signal in seen:
        assert columns["slope"][site] == pytest.approx(slope.norm().item(), rel=1e-5)
        assert columns["slope_times_g"][site] == pytest.approx((slope * g).norm().item(), rel=1e-5)
        assert columns["values"][site] == slope.numel()
        name, over = ("steep", 0.1 * signal.peak) if signal.bounded else ("alive", 1e-3 * signal.peak)
        counted = slope.abs() if signal.bounded else slope.abs().amax(0)
        assert read[name].column(len(tape.sites))[site] == 2 * (counted > over).sum()
    agreement = {name: read[name].column(len(tape.sites)) for name in ("expected", "arrived", "differing")}
    multiplied = np.isfinite(agreement["expected"])
    assert multiplied.sum() == len(layers) - 1  # the first one passes nothing on
    assert (agreement["differing"][multiplied] <= 1e-5 * agreement["arrived"][multiplied]).all()
    assert len(set(agreement["arrived"][multiplied].tolist())) == len(layers) - 1


def test_what_waits_is_reduced_where_gradients_are_on_too():
    """Parameters are measured behind the backward pass, while results that activations saved may still wait."""
    torch.manual_seed(0)
    net, x = nn.Sequential(*(m for _ in range(20) for m in (nn.Linear(60, 60), nn.Tanh()))), torch.randn(60, 60)
    with Tape(net, Meter(inflow=True, lasting=True)) as tape:
        loss = net(x).square().mean()
        tape.attach(loss)
        loss.backward()
        names = measure_parameters(dict(net.named_parameters()), None, tape.meter)
        found = tape.columns(names).by_site["weight_grad_norm"]
    expected = [layer.weight.grad.norm().item() for layer in net[::2]]
    measured = [found[site.index] for site in tape.sites if site.role is Role.WEIGHT]
    assert measured[::-1] == pytest.approx(expected, rel=1e-4)
