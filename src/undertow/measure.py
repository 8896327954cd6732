"""From a Signal, the live tensors at a Site, to numbers: reduced on their device at once, transferred together.

A reduction leaves a 0-d tensor on the device. They are kept in a list and stacked at the end, so that a recorded
step waits for its device once, however many Sites there are.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertow.record import SITE_COLUMNS, Edge, Role, Site

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
        derivative: phi'(z), if it is an activation whose z could be read.
        peak: the largest |phi'| that activation has anywhere.
        weight: [n_out, n_in], or a convolution's as torch keeps it.
        weight_id: the parameter's ``id`` if ``weight`` is a parameter and not computed from some.
        passed: the gradient passed on to the data that was multiplied by ``weight``.
        convolution: its settings, if it is one.
    """

    site: int
    received: list[Tensor]
    arrivals: list[tuple[int, Tensor, Tensor]] = field(default_factory=list)
    features: int = -1
    learns: bool = False
    derivative: Tensor | None = None
    peak: float = 1.0
    weight: Tensor | None = None
    weight_id: int | None = None
    passed: Tensor | None = None
    convolution: Convolution | None = None


class Meter:
    """Collects numbers that are still on their devices.

    Args:
        precise: accumulate in float64, where the device has it.
        count_nonfinite: count inf and nan at every Site. A norm already tells whether there are any.

    Example:
        >>> meter = Meter()
        >>> meter.take("received", 3, meter.norm(torch.tensor([3.0, 4.0])))
        >>> meter.note("rows", 3, 2)
        >>> meter.read()
        {'rows': {3: 2.0}, 'received': {3: 5.0}}
    """

    def __init__(self, precise: bool = True, count_nonfinite: bool = False) -> None:
        self.precise = precise
        self.count_nonfinite = count_nonfinite
        self._taken: dict[torch.device, list[tuple[str, int, Tensor]]] = defaultdict(list)
        self._noted: dict[str, dict[int, float]] = defaultdict(dict)
        self._signs: dict[tuple[int, torch.device, torch.dtype], Tensor] = {}
        self._weight_norms: dict[int, Tensor] = {}

    def take(self, name: str, place: int, value: Tensor) -> None:
        """Keep a 0-d tensor for later."""
        self._taken[value.device].append((name, place, value))

    def note(self, name: str, place: int, value: float) -> None:
        """Keep a number that the host knows already."""
        self._noted[name][place] = float(value)

    def read(self) -> dict[str, dict[int, float]]:
        """Everything taken and noted, by name and place. One transfer per device."""
        read: dict[str, dict[int, float]] = defaultdict(dict, {name: dict(by) for name, by in self._noted.items()})
        for device, taken in self._taken.items():
            wide = _accumulator(device, self.precise)
            values = torch.stack([value.to(wide) for _, _, value in taken]).cpu().double().tolist()
            for (name, place, _), value in zip(taken, values, strict=True):
                read[name][place] = value
        return dict(read)

    def norm(self, x: Tensor) -> Tensor:
        """Euclidean norm over everything, 0-d."""
        wide = _accumulator(x.device, self.precise)
        if x.is_complex():
            x = torch.view_as_real(x)
        return torch.linalg.vector_norm(x, dtype=wide)

    def inner(self, x: Tensor, y: Tensor) -> Tensor:
        """<x, y>, 0-d; of complex tensors the real part."""
        if x.is_complex() or y.is_complex():
            x, y = (torch.view_as_real(each.to(torch.promote_types(x.dtype, y.dtype))) for each in (x, y))
        wide = _accumulator(x.device, self.precise)
        return torch.dot(x.reshape(-1).to(wide), y.reshape(-1).to(wide))

    def weight_norm(self, weight: Tensor, identity: int | None) -> Tensor:
        """||W||_F; of a parameter that is used many times, computed once."""
        if identity is None:
            return self.norm(weight)
        if identity not in self._weight_norms:
            self._weight_norms[identity] = self.norm(weight)
        return self._weight_norms[identity]

    def signs(self, like: Tensor) -> Tensor:
        """One fixed random sign for each row of a tensor; nobody's random numbers are used up for it."""
        key = (len(like), like.device, like.dtype)
        if key not in self._signs:
            drawn = np.random.default_rng(0).choice([-1.0, 1.0], size=len(like))
            self._signs[key] = torch.from_numpy(drawn).to(like.device, like.dtype)
        return self._signs[key]


def measure(signal: Signal, meter: Meter) -> None:
    """Reduce everything there is to know at one Site."""
    received = [_plain(each) for each in signal.received]
    norms = [meter.norm(each) for each in received]
    if norms:
        meter.take("received", signal.site, norms[0] if len(norms) == 1 else torch.stack(norms).norm())
    if meter.count_nonfinite:
        for each in received:
            meter.take("nonfinite", signal.site, each.numel() - torch.isfinite(each).sum())
    for edge, contribution, total in signal.arrivals:
        _measure_arrival(edge, contribution, total, meter)
    if signal.learns and len(received) == 1:
        _measure_learning(signal, received[0], meter)
    if signal.derivative is not None and len(received) == 1:
        _measure_activation(signal, signal.derivative, received[0], meter)
    if signal.weight is not None and len(received) == 1:
        _measure_weight(signal, signal.weight, received[0], meter)


def _measure_arrival(edge: int, contribution: Tensor, total: Tensor, meter: Meter) -> None:
    contribution, total = _plain(contribution), _plain(total)
    meter.take("contribution", edge, meter.norm(contribution))
    meter.take("inner", edge, meter.inner(contribution, total))


def _measure_learning(signal: Signal, g: Tensor, meter: Meter) -> None:
    if g.dim() < 2:
        return
    units = signal.features % g.dim()
    meter.take("summed", signal.site, meter.norm(g.sum([d for d in range(g.dim()) if d != units])))
    meter.note("rows", signal.site, g.numel() / max(g.shape[units], 1))


def _measure_activation(signal: Signal, slope: Tensor, g: Tensor, meter: Meter) -> None:
    site, units = signal.site, signal.features % max(slope.dim(), 1)
    meter.take("slope", site, meter.norm(slope))
    meter.take("slope_times_g", site, meter.norm(slope * g))
    meter.note("values", site, slope.numel())
    size = slope.abs()
    # sign and sum: on CPU three times as fast as comparing and counting
    above_less_below = torch.sign(size - SATURATED_BELOW * signal.peak).sum(dtype=torch.float32)
    meter.take("above_less_below", site, above_less_below)
    if slope.dim() > 1 and slope.numel():
        largest = size.amax([d for d in range(slope.dim()) if d != units])
        meter.take("dead_units", site, (largest < DEAD_BELOW * signal.peak).sum())
        meter.note("units", site, largest.numel())


def _measure_weight(signal: Signal, w: Tensor, g: Tensor, meter: Meter) -> None:
    meter.take("weight", signal.site, meter.weight_norm(w, signal.weight_id))
    if signal.passed is None:
        return
    expected, arrived = _project(signal, w, g, _plain(signal.passed), meter)
    meter.take("agreeing", signal.site, meter.inner(expected, arrived))
    meter.take("arrived", signal.site, meter.norm(arrived))


def _project(signal: Signal, w: Tensor, g: Tensor, passed: Tensor, meter: Meter) -> tuple[Tensor, Tensor]:
    """W^T g of one random signed sum of rows, and the same sum of the rows that autograd passed on.

    To compute W^T g again would cost as much as the backward pass. A wrong product agrees with the right one on a
    random vector with probability zero or, on random signs, at most a half per wrong entry (Freivalds 1977); so
    ||W^T g|| is known as ||passed on|| times the projection of one sum on the other, 1 unless something is wrong.
    """
    folded = torch.tensordot(meter.signs(g), g, 1).to(w.dtype)
    arrived = torch.tensordot(meter.signs(passed), passed, 1)
    if signal.convolution is None:
        return folded @ w, arrived
    c = signal.convolution
    shape = torch.empty((1, *passed.shape[1:]), dtype=w.dtype, device=w.device)
    settings = (c.stride, c.padding, c.dilation, c.transposed, c.output_padding, c.groups)
    expected, _, _ = torch.ops.aten.convolution_backward(folded[None], shape, w, None, *settings, (True, False, False))
    return expected, arrived


def measure_parameters(
    parameters: Mapping[str, Tensor], steps: Mapping[str, Tensor] | None, meter: Meter
) -> tuple[str, ...]:
    """Reduce what there is to know of parameters once the backward pass is over.

    Args:
        parameters: by name, ``.grad`` filled.
        steps: what the optimizer adds to each; None without an optimizer, and gradient descent is assumed.
        meter: where numbers are collected.

    Returns:
        The names, in the order that `columns` needs to know.
    """
    for place, (name, parameter) in enumerate(parameters.items()):
        if parameter.grad is None:
            continue
        grad = _plain(parameter.grad)
        meter.take("grad of parameter", place, meter.norm(grad))
        if parameter.dim() > 1:
            meter.take("mean row", place, meter.norm(parameter.detach().mean(0)))
            meter.take("parameter", place, meter.norm(parameter.detach()))
            meter.note("units of parameter", place, len(parameter))
        if steps is not None and name in steps:
            step = steps[name]
            meter.take("step", place, meter.norm(step))
            meter.take("descent", place, -meter.inner(_plain(parameter.grad.to_dense()), step))
    return tuple(parameters)


def columns(
    read: dict[str, dict[int, float]], sites: Sequence[Site], edges: Sequence[Edge], names: Sequence[str] = ()
) -> "Columns":
    """From what was read off the devices to the columns of a Run, each [sites] or [edges].

    An edge that alone feeds its Site carries the whole gradient received there, and nobody had to measure it.

    Args:
        read: what `Meter.read` returned.
        sites, edges: of the graph that was taped.
        names: of the parameters, as `measure_parameters` returned them.
    """
    raw = _Raw(read, len(sites))
    received = raw["received"]
    received[~np.isin(np.arange(len(sites)), list(read.get("received", {})))] = 0.0  # autograd had nothing to pass on
    by_edge = _edge_columns(read, edges, received)
    passed = np.sqrt(_sum_by_source(by_edge["contribution"] ** 2, edges, len(sites)))
    n_out = np.array([site.n_out or np.nan for site in sites])
    with np.errstate(all="ignore"):
        agreement = raw["agreeing"] / raw["arrived"] ** 2
        slope_rms = raw["slope"] / np.sqrt(raw["values"])
        by_site = {
            "grad_output": received,
            "grad_input": passed,
            "learning_speed": raw["summed"],
            "coherence": raw["summed"] / (np.sqrt(raw["rows"]) * received),
            "derivative_rms": slope_rms,
            "alignment_phi": raw["slope_times_g"] / (slope_rms * received),
            "alignment_w": np.sqrt(n_out) * passed * agreement / (raw["weight"] * received),
            "saturated": (1 - raw["above_less_below"] / raw["values"]) / 2,
            "dead": raw["dead_units"] / raw["units"],
            "nonfinite": raw["nonfinite"],
            "weight_norm": raw["weight"],
            **_parameter_columns(read, sites, names),
        }
    assert by_site.keys() == SITE_COLUMNS.keys()  # noqa: S101  # the two lists are kept by hand
    return Columns(by_site, by_edge)


@dataclass(frozen=True, slots=True)
class Columns:
    """One recorded step: columns by name, each [sites] or [edges]."""

    by_site: dict[str, NDArray[np.float64]]
    by_edge: dict[str, NDArray[np.float64]]


def _parameter_columns(
    read: dict[str, dict[int, float]], sites: Sequence[Site], names: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    raw = _Raw(read, len(names))
    grad, step, norm = raw["grad of parameter"], raw["step"], raw["parameter"]
    descent = raw["descent"] if "descent" in read else grad**2
    place = {name: number for number, name in enumerate(names)}
    own = [[place[name] for name in site.parameters if name in place] for site in sites]
    uses = np.bincount([number for numbers in own for number in numbers], minlength=len(names)).clip(1)
    # A parameter that is used at many Sites makes one step: each has an equal part of it.
    part = np.array([np.nansum(descent[p] / uses[p]) if p else np.nan for p in own])
    total = np.nansum(part)
    spread = _spread(norm, raw["mean row"], raw["units of parameter"])
    matrices = [_matrices(site, p, names) for site, p in zip(sites, own, strict=True)]
    return {
        "weight_spread": np.array([spread[p[0]] if len(p) == 1 else np.nan for p in matrices]),
        "weight_grad_norm": np.array([_length(grad[p]) for p in matrices]),
        "update_ratio": np.array([_length(step[p]) / (_length(norm[p]) or np.nan) for p in matrices]),
        "progress": part / total if total > 0 else np.full(len(sites), np.nan),
    }


def _spread(
    norm: NDArray[np.float64], mean_row: NDArray[np.float64], units: NDArray[np.float64]
) -> NDArray[np.float64]:
    """||W - mean row||_F / ||W||_F, by Pythagoras."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(np.maximum(1 - units * mean_row**2 / norm**2, 0.0))


def _matrices(site: Site, places: Sequence[int], names: Sequence[str]) -> list[int]:
    """A layer's weights without its bias, where it has weights."""
    weights = [p for p in places if site.role is Role.WEIGHT and "bias" not in names[p].rpartition(".")[2]]
    return weights or list(places)


def _length(norms: NDArray[np.float64]) -> float:
    known = norms[~np.isnan(norms)]
    return float(np.sqrt(np.sum(known**2))) if len(known) else float("nan")


class _Raw:
    def __init__(self, read: dict[str, dict[int, float]], size: int) -> None:
        self._read, self._size = read, size

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        found = self._read.get(name, {})
        column = np.full(self._size, np.nan)
        column[list(found)] = list(found.values())
        return column


def _edge_columns(
    read: dict[str, dict[int, float]], edges: Sequence[Edge], received: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    raw = _Raw(read, len(edges))
    target = np.array([edge.target for edge in edges], dtype=int)
    alone = np.bincount(target, minlength=len(received))[target] == 1
    with np.errstate(all="ignore"):
        share = np.where(alone, 1.0, raw["inner"] / received[target] ** 2)
    contribution = np.where(alone, received[target], raw["contribution"])
    # Nothing came along the edge: autograd passes None for a gradient of zeros.
    silent = np.isnan(contribution) & ~np.isin(np.arange(len(edges)), list(read.get("contribution", {})))
    return {"contribution": np.where(silent, 0.0, contribution), "share": np.where(silent, 0.0, share)}


def _sum_by_source(values: NDArray[np.float64], edges: Sequence[Edge], size: int) -> NDArray[np.float64]:
    source = np.array([edge.source for edge in edges], dtype=int)
    total = np.full(size, np.nan)
    total[source] = 0.0
    np.add.at(total, source, values)
    return total


def _accumulator(device: torch.device, precise: bool) -> torch.dtype:
    return torch.float64 if precise and device.type != "mps" else torch.float32


def _plain(x: Tensor) -> Tensor:
    """The numbers of a gradient, however it is laid out."""
    if x.layout is torch.strided:
        return x.detach()
    return x.detach().coalesce().values() if x.layout is torch.sparse_coo else x.detach().to_dense()
