"""From a Signal, the live tensors at a Site, to numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from undertow.measure.meter import SMALL_UP_TO, Meter

SATURATED_BELOW = 0.1
"""A unit is saturated where |phi'| is under this share of its peak, as in `undertow.activations`."""

DEAD_BELOW = 1e-3
"""A unit is dead where |phi'| is under this share of its peak for every row of the batch."""


@dataclass(slots=True)
class Convolution:
    """The settings of a convolution, as torch's backward pass takes them."""

    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    transposed: bool
    output_padding: Sequence[int]
    groups: int


@dataclass(slots=True)
class Signal:
    """The live tensors at one Site while the gradient passes. Lives as long as the hook that made it.

    Attributes:
        site: its place among the run's Sites.
        received: the gradient of each of its outputs.
        arrivals: where several gradients are summed: edge, what came along it, and the sum it became part of.
        features: which dimension of ``received[0]`` counts units; the others count rows.
        learns: whether a learning speed is asked for.
        summed: the gradient received, summed over rows, where autograd has done it for a bias.
        derivative: phi'(z), if it is an activation whose z could be read; `measure` writes over it.
        onward: whether what is passed on arrives at another Site, and is measured there.
        peak: the largest |phi'| that activation has anywhere.
        bounded: whether it saturates on both sides (and can't be dead).
        rising: whether phi' is nowhere negative.
        weight: [n_out, n_in], or a convolution's as torch keeps it.
        weight_id: the parameter's ``id`` if ``weight`` is a parameter and not computed from some.
        passed: the gradient passed on to the data that was multiplied by ``weight``.
        convolution: its settings, if it is one.
        inflow: a part of what was multiplied by ``weight``, or of what an activation takes, [examples, features].
    """

    site: int
    received: list[Tensor]
    arrivals: list[tuple[int, Tensor, Tensor]] = field(default_factory=list)
    features: int = -1
    learns: bool = False
    summed: Tensor | None = None
    derivative: Tensor | None = None
    onward: bool = False
    peak: float = 1.0
    bounded: bool = False
    rising: bool = False
    weight: Tensor | None = None
    weight_id: int | None = None
    passed: Tensor | None = None
    convolution: Convolution | None = None
    inflow: Tensor | None = None


def measure(signal: Signal, meter: Meter) -> None:
    """Reduce everything there is to know at one Site."""
    received = signal.received
    for edge, contribution, total in signal.arrivals:
        contribution = plain(contribution)
        meter.norm("contribution", edge, contribution)
        meter.inner("inner", edge, contribution, plain(total))
    if len(received) == 1:
        _of_one_gradient(signal, plain(received[0]), meter)
    elif received:
        meter.norm_of_all("received", signal.site, [*map(plain, received)])
    if meter.count_nonfinite:
        for each in map(plain, received):
            meter.take("nonfinite", signal.site, each.numel() - torch.isfinite(each).sum())


def plain(x: Tensor) -> Tensor:
    """The numbers of a gradient, however it is laid out."""
    if x.layout is torch.strided:
        return x
    return x.coalesce().values() if x.layout is torch.sparse_coo else x.to_dense()


def _of_one_gradient(signal: Signal, g: Tensor, meter: Meter) -> None:
    meter.norm("received", signal.site, g)
    if signal.learns and g.dim() > 1:
        _learning(signal, g, meter)
    if signal.derivative is not None:
        _activation(signal, signal.derivative, g, meter)
    if signal.inflow is not None:
        _inflow(signal, signal.inflow, meter)
    if signal.weight is not None:
        meter.weight_norm("weight", signal.site, signal.weight, signal.weight_id)
        if signal.passed is not None and meter.verify:
            passed = plain(signal.passed)
            meter.agreement(signal.site, *_project(signal, signal.weight, g, passed))
            meter.note("rounding", signal.site, max(torch.finfo(x.dtype).eps for x in (g, passed)))


def _inflow(signal: Signal, x: Tensor, meter: Meter) -> None:
    meter.note("inputs", signal.site, x.numel())
    meter.norm("inflow", signal.site, x)
    if signal.weight is not None:
        meter.note("examples", signal.site, len(x))
        meter.norm("sum of examples", signal.site, x.new_ones(len(x)) @ x)
        measure_directions(signal.site, x, meter)


def measure_directions(site: int, x: Tensor, meter: Meter) -> None:
    """Reduce examples, [examples, features], to what the mean cosine of two of them follows from.

    Example:
        >>> meter = Meter()
        >>> measure_directions(0, torch.tensor([[3.0, 4.0], [0.3, 0.4]]), meter)
        >>> meter.read()["sum of directions"].values
        array([2.])
    """
    directions = torch.nn.functional.normalize(x.detach().float(), dim=1)
    meter.norm("directions", site, directions)
    meter.norm("sum of directions", site, directions.sum(0))


def _learning(signal: Signal, g: Tensor, meter: Meter) -> None:
    units = signal.features % g.dim()
    meter.note("rows", signal.site, g.numel() / max(g.shape[units], 1))
    summed = signal.summed
    if summed is None:
        summed = g.sum([d for d in range(g.dim()) if d != units])
    meter.norm("summed", signal.site, summed)


def _activation(signal: Signal, slope: Tensor, g: Tensor, meter: Meter) -> None:
    size, steepness = slope.numel(), slope if signal.rising else slope.abs()
    meter.note("values", signal.site, size)
    if signal.bounded:
        meter.count_above("steep", signal.site, steepness, SATURATED_BELOW * signal.peak)
    elif slope.dim() > 1 and size:
        largest = steepness.amax([d for d in range(slope.dim()) if d != signal.features % slope.dim()])
        meter.count_above("alive", signal.site, largest, DEAD_BELOW * signal.peak)
        meter.note("units", signal.site, largest.numel())
    meter.norm("slope", signal.site, slope)
    if meter.verify or not signal.onward:
        # In place where it is worth it: activations are the largest tensors there are. (A small norm still waits.)
        meter.norm("slope_times_g", signal.site, slope * g if size <= SMALL_UP_TO else slope.mul_(g))


def _project(signal: Signal, w: Tensor, g: Tensor, passed: Tensor) -> tuple[Tensor, Tensor]:
    """Return W^T g of one random combination of rows, and the same combination of the rows that autograd passed on.

    To compute W^T g again would cost a third of the whole pass. A wrong product is very unlikely to agree with the
    right one on a random combination in every entry (Freivalds 1977); so ||W^T g|| is known as ||passed on|| times the
    projection of one combination on the other, which is 1 unless something is wrong. Rows that are alike, or add up to
    zero, may cancel: how far rounding alone takes the projection from 1 then, `Readout` knows.
    """
    mix, kind = _mixture(g.shape[0], g.device, g.dtype), w.dtype
    other = mix if passed.dtype is g.dtype else mix.to(passed.dtype)
    if signal.convolution is None:
        folded, arrived = mix @ g, other @ passed
        same = folded.dtype is kind and arrived.dtype is kind
        return (folded @ w, arrived) if same else (folded.to(kind) @ w, arrived.to(kind))
    c = signal.convolution
    folded = torch.tensordot(mix, g, 1).to(kind)
    arrived = torch.tensordot(other, passed, 1).to(kind)
    shape = torch.empty((1, *passed.shape[1:]), dtype=kind, device=w.device)
    settings = (c.stride, c.padding, c.dilation, c.transposed, c.output_padding, c.groups)
    expected, _, _ = torch.ops.aten.convolution_backward(folded[None], shape, w, None, *settings, (True, False, False))
    return expected[0], arrived


@lru_cache(maxsize=64)
def _mixture(rows: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return fixed random coefficients of mean square 1; nobody's random numbers are used up for it.

    Signs alone would be as many + as - for some numbers of rows, and all + for others.
    """
    draw = np.random.default_rng(rows)
    mix = draw.choice([-1.0, 1.0], size=rows) * draw.uniform(0.5, 1.5, size=rows)
    return torch.from_numpy(mix / np.sqrt(np.mean(mix**2))).to(device, dtype)
