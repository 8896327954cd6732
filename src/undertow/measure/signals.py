"""From a Signal, the live tensors at a Site, to numbers."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from undertow.measure.meter import Meter
from undertow.measure.signal import Convolution, Signal
from undertow.measure.steepness import measure_activation
from undertow.measure.together import Reduced

PROJECTED = 2**16
"""Elements of a gradient, of a large one, in which it is held against what autograd passes on."""

WINDOW = 2**13
"""The same of a convolution, whose products take longer."""

FEWEST = 16
"""Rows of it, however long they are."""


def measure(signal: Signal, meter: Meter) -> None:
    """Reduce everything there is to know at one Site."""
    received = signal.received
    if signal.arrivals:
        meter.arrivals([(edge, plain(contribution), plain(total)) for edge, contribution, total in signal.arrivals])
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
    # Where nothing arrives, as behind a branch that starts at zero, nothing has to be read again to be called zero.
    silent = meter.norm("received", signal.site, g) == 0
    if signal.learns and g.dim() > 1:
        _learning(signal, g, silent, meter)
    if signal.slopes is not None:
        measure_activation(signal, signal.slopes, None if silent else g, meter)
    if signal.inflow is not None:
        _inflow(signal, signal.inflow, meter)
    if signal.weight is not None:
        meter.weight_norm("weight", signal.site, signal.weight, signal.weight_id)
        if signal.passed is not None and meter.verify and not silent:
            _agree(signal, signal.weight, g, plain(signal.passed), meter)


def _agree(signal: Signal, w: Tensor, g: Tensor, passed: Tensor, meter: Meter) -> None:
    meter.note("rounding", signal.site, max(torch.finfo(x.dtype).eps for x in (g, passed)))
    product = signal.convolution is None and w.dim() == g.dim() == passed.dim() == 2
    if product and meter.lasting and signal.weight_id is not None and all(map(meter.can_wait, (w, g, passed))):
        meter.together(_reduce_agreements, None, signal.site, w, g, passed)
    else:
        meter.agreement(signal.site, *_project(signal, w, g, passed))


def _reduce_agreements(how: None, sites: list[int], stacks: list[Tensor], into: Reduced) -> None:
    """Do as `_project` and `Meter.agreement` with several products of one shape."""
    del how
    w, g, passed = stacks
    mix = _mixture(g.shape[1], g.device, g.dtype)[None, :, None]
    folded, arrived = (g * mix).sum(1), (passed * mix.to(passed.dtype)).sum(1).to(w.dtype)
    expected = torch.bmm(folded.to(w.dtype)[:, None], w)[:, 0]
    into.norms([("expected", site) for site in sites], expected)
    into.norms([("arrived", site) for site in sites], arrived)
    into.norms([("differing", site) for site in sites], expected - arrived)


def _reduce_inflow(has_weight: bool, sites: list[int], stacks: list[Tensor], into: Reduced) -> None:
    """Do as `_inflow` with several parts of one shape, [how many, examples, features]."""
    (x,) = stacks
    into.note([("inputs", site) for site in sites], [x[0].numel()] * len(sites))
    into.norms([("inflow", site) for site in sites], x)
    if has_weight:
        directions = _directions(x)
        into.note([("examples", site) for site in sites], [x.shape[1]] * len(sites))
        into.norms([("sum of examples", site) for site in sites], x.sum(1))
        into.norms([("directions", site) for site in sites], directions)
        into.norms([("sum of directions", site) for site in sites], directions.sum(1))


def _inflow(signal: Signal, x: Tensor, meter: Meter) -> None:
    if meter.can_wait(x) and x.dim() == 2:
        meter.together(_reduce_inflow, signal.weight is not None, signal.site, x.detach())
        return
    meter.note("inputs", signal.site, x.numel())
    meter.norm("inflow", signal.site, x)
    if signal.weight is not None:
        examples = x.shape[0]
        meter.note("examples", signal.site, examples)
        meter.norm("sum of examples", signal.site, _ones(examples, x.device, x.dtype) @ x)
        measure_directions(signal.site, x, meter)


@lru_cache(maxsize=64)
def _ones(many: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.ones(many, device=device, dtype=dtype)


def measure_directions(site: int, x: Tensor, meter: Meter) -> None:
    """Reduce examples, [examples, features], to what the mean cosine of two of them follows from.

    Example:
        >>> meter = Meter()
        >>> measure_directions(0, torch.tensor([[3.0, 4.0], [0.3, 0.4]]), meter)
        >>> meter.read()["sum of directions"].values.round(6)
        array([2.])
    """
    directions = _directions(x.detach())
    meter.norm("directions", site, directions)
    meter.norm("sum of directions", site, directions.sum(0))


def _directions(x: Tensor) -> Tensor:
    """Return what `torch.nn.functional.normalize` makes of the last dimension, in two thirds of the time for few."""
    x = x.float()
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min_(1e-12)


def _learning(signal: Signal, g: Tensor, silent: bool, meter: Meter) -> None:
    units = signal.features % g.dim()
    meter.note("rows", signal.site, g.numel() / max(g.shape[units], 1))
    if silent:
        meter.note("summed", signal.site, 0.0)
        return
    summed = signal.summed
    if summed is None:
        summed = g.sum([d for d in range(g.dim()) if d != units])
    meter.norm("summed", signal.site, summed)


def _project(signal: Signal, w: Tensor, g: Tensor, passed: Tensor) -> tuple[Tensor, Tensor]:
    """Return W^T g of one random combination of rows, and the same combination of the rows that autograd passed on.

    To compute W^T g again would cost a third of the whole pass. A wrong product is very unlikely to agree with the
    right one on a random combination in every entry (Freivalds 1977); so ||W^T g|| is known as ||passed on|| times the
    projection of one combination on the other, which is 1 unless something is wrong. Rows that are alike, or add up to
    zero, may cancel: how far rounding alone takes the projection from 1 then, `Readout` knows. Of large gradients it is
    a combination of some of their rows.
    """
    if signal.convolution is not None:
        return _project_convolution(signal.convolution, w, g, passed)
    g, passed = _some_rows(g), _some_rows(passed, like=g)
    mix, kind = _mixture(g.shape[0], g.device, g.dtype), w.dtype
    other = mix if passed.dtype is g.dtype else mix.to(passed.dtype)
    folded, arrived = mix @ g, other @ passed
    same = folded.dtype is kind and arrived.dtype is kind
    return (folded @ w, arrived) if same else (folded.to(kind) @ w, arrived.to(kind))


def _project_convolution(c: Convolution, w: Tensor, g: Tensor, passed: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same of a convolution, [channels, ...]: of a large one, in a window of one example."""
    if passed.numel() > 2 * WINDOW and not c.transposed and passed.dim() > 2:
        return _project_window(c, w, g, passed)
    mix, kind = _mixture(g.shape[0], g.device, g.dtype), w.dtype
    folded = torch.tensordot(mix, g, 1).to(kind)
    arrived = torch.tensordot(mix.to(passed.dtype), passed, 1).to(kind)
    shape = torch.empty((1, *passed.shape[1:]), dtype=kind, device=w.device)
    settings = (c.stride, c.padding, c.dilation, c.transposed, c.output_padding, c.groups)
    expected, _, _ = torch.ops.aten.convolution_backward(folded[None], shape, w, None, *settings, (True, False, False))
    return expected[0], arrived


def _project_window(c: Convolution, w: Tensor, g: Tensor, passed: Tensor) -> tuple[Tensor, Tensor]:
    """Return W^T g in some middle rows of an example's input, [channels, rows, ...], and what autograd passed on there.

    Row i of the input is seen by the outputs o with i = o stride - padding + k dilation, 0 <= k < kernel: those few are
    all that is propagated back, as if there were no padding.
    """
    example, rows, stride, reach = len(g) // 2, passed.shape[2], c.stride[0], (w.shape[2] - 1) * c.dilation[0]
    height = min(rows, max(1, WINDOW * rows * len(g) // passed.numel()))
    top = (rows - height) // 2
    first = max(0, -((reach - top - c.padding[0]) // stride))
    last = min(g.shape[2] - 1, (top + height - 1 + c.padding[0]) // stride)
    arrived = passed[example, :, top : top + height].to(w.dtype)
    expected = torch.zeros_like(arrived)
    if last < first:
        return expected, arrived
    seen = g[example : example + 1, :, first : last + 1].to(w.dtype)
    length, start = (last - first) * stride + reach + 1, first * stride - c.padding[0]
    shape = torch.empty((1, passed.shape[1], length, *passed.shape[3:]), dtype=w.dtype, device=w.device)
    settings = (c.stride, (0, *c.padding[1:]), c.dilation, False, c.output_padding, c.groups)
    found, _, _ = torch.ops.aten.convolution_backward(seen, shape, w, None, *settings, (True, False, False))
    low, high = max(top, start), min(top + height, start + length)
    expected[:, low - top : high - top] = found[0, :, low - start : high - start]
    return expected, arrived


def _some_rows(x: Tensor, like: Tensor | None = None) -> Tensor:
    """Return rows evenly spread over a large tensor, in step with no power of two: as many as of another one."""
    size, rows = (x if like is None else like).numel(), len(x)
    if size <= 2 * PROJECTED or rows <= FEWEST:
        return x
    step = max(1, rows // max(FEWEST, PROJECTED * rows // size)) | 1
    return x[step // 2 :: step]


@lru_cache(maxsize=64)
def _mixture(rows: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return fixed random coefficients of mean square 1; nobody's random numbers are used up for it.

    Signs alone would be as many + as - for some numbers of rows, and all + for others.
    """
    draw = np.random.default_rng(rows)
    mix = draw.choice([-1.0, 1.0], size=rows) * draw.uniform(0.5, 1.5, size=rows)
    return torch.from_numpy(mix / np.sqrt(np.mean(mix**2))).to(device, dtype)
