"""From a Signal, the live tensors at a Site, to numbers: reduced on their device at once, transferred together.

A reduction leaves a 0-d tensor on the device. They are kept in a list and stacked at the end, so that a recorded
step waits for its device once, however many Sites there are.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertow.record import SITE_COLUMNS, Edge, Role, Site

SATURATED_BELOW = 0.1
"""A unit is saturated where |phi'| is under this share of its peak, as in `undertow.activations`."""

DEAD_BELOW = 1e-3
"""A unit is dead where |phi'| is under this share of its peak for every row of the batch."""


FLOAT32_UP_TO = 2**20
"""Elements up to which sums of squares are right to five digits in float32; at 50 million they are off by 0.4 %."""


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
        derivative: phi'(z), if it is an activation whose z could be read; `measure` writes over it.
        peak: the largest |phi'| that activation has anywhere.
        bounded: whether it saturates on both sides (and can't be dead).
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
    bounded: bool = False
    weight: Tensor | None = None
    weight_id: int | None = None
    passed: Tensor | None = None
    convolution: Convolution | None = None


class Meter:
    """Collects numbers that are still on their devices.

    Args:
        precise: accumulate in float64, where the device has it, whatever the size: float32 can't hold the squares of
            numbers under 1e-19. (Large tensors always are: see `FLOAT32_UP_TO`.)
        count_nonfinite: count inf and nan at every Site. A norm already tells whether there are any.

    Example:
        >>> meter = Meter()
        >>> meter.norms([("received", 3, torch.tensor([3.0, 4.0]))])
        >>> meter.note("rows", 3, 2)
        >>> meter.read()
        {'rows': {3: 2.0}, 'received': {3: 5.0}}
    """

    def __init__(self, precise: bool = False, count_nonfinite: bool = False) -> None:
        self.precise = precise
        self.count_nonfinite = count_nonfinite
        self._taken: dict[tuple[torch.device, torch.dtype], list[tuple[str, int, Tensor]]] = defaultdict(list)
        self._noted: dict[str, dict[int, float]] = defaultdict(dict)
        self._weight_norms: dict[int, Tensor] = {}

    def take(self, name: str, place: int, value: Tensor) -> None:
        """Keep a 0-d tensor for later."""
        self._taken[value.device, value.dtype].append((name, place, value))

    def note(self, name: str, place: int, value: float) -> None:
        """Keep a number that the host knows already."""
        self._noted[name][place] = float(value)

    def norms(self, wanted: Sequence[tuple[str, int, Tensor]]) -> None:
        """Take the Euclidean norms of several tensors of one device: name, place, tensor."""
        if not wanted:
            return
        plain = [torch.view_as_real(x) if x.is_complex() else x for _, _, x in wanted]
        wide = self._accumulator(plain[0], max(x.numel() for x in plain))
        for (name, place, _), norm in zip(wanted, torch._foreach_norm(plain, 2, wide), strict=True):
            self.take(name, place, norm)

    def inner(self, name: str, place: int, x: Tensor, y: Tensor) -> None:
        """Take <x, y>, of complex tensors the real part."""
        if x.is_complex() or y.is_complex():
            x, y = (torch.view_as_real(each.to(torch.promote_types(x.dtype, y.dtype))) for each in (x, y))
        wide = self._accumulator(x, x.numel()) or x.dtype
        self.take(name, place, torch.dot(x.reshape(-1).to(wide), y.reshape(-1).to(wide)))

    def weight_norm(self, place: int, weight: Tensor, identity: int | None) -> None:
        """Take ||W||_F; of a parameter that is used many times, computed once."""
        known = self._weight_norms.get(identity) if identity is not None else None
        if known is None:
            wide = self._accumulator(weight, weight.numel())
            known = torch.linalg.vector_norm(weight, dtype=wide)
            if identity is not None:
                self._weight_norms[identity] = known
        self.take("weight", place, known)

    def known_norm(self, identity: int) -> Tensor | None:
        """||W||_F of a parameter, by ``id``, if it was taken."""
        return self._weight_norms.get(identity)

    def read(self) -> dict[str, dict[int, float]]:
        """Everything taken and noted, by name and place. One transfer for each device and precision."""
        return self.send()()

    def send(self) -> Callable[[], dict[str, dict[int, float]]]:
        """Start the transfers; what is returned waits for them and gives what `read` gives, on any thread."""
        noted, taken = self._noted, list(self._taken.values())
        coming = [sent([value for _, _, value in group]) for group in taken]

        def arrived() -> dict[str, dict[int, float]]:
            read: dict[str, dict[int, float]] = defaultdict(dict, {name: dict(by) for name, by in noted.items()})
            for group, values in zip(taken, coming, strict=True):
                for (name, place, _), value in zip(group, values(), strict=True):
                    read[name][place] = value
            return dict(read)

        return arrived

    def _accumulator(self, x: Tensor, size: int) -> torch.dtype | None:
        """What to sum squares in; None for the tensor's own precision."""
        if (self.precise or size > FLOAT32_UP_TO) and x.device.type != "mps":
            return torch.float64
        return None if x.dtype in (torch.float32, torch.float64) else torch.float32


def sent(values: Sequence[Tensor]) -> Callable[[], list[Any]]:
    """Send tensors of one shape, device and precision to the host; what is returned waits for them, on any thread.

    Nobody waits here. A GPU copies into pinned memory and records an event behind it. Elsewhere there is nothing to
    wait for, or no such copy, and even stacking is left to who reads.

    Example:
        >>> sent([torch.tensor(2.0), torch.tensor(3.0)])()
        [2.0, 3.0]
    """
    if not values or values[0].device.type != "cuda":
        return lambda: torch.stack(tuple(values)).tolist() if values else []
    packed = torch.stack(tuple(values))
    host = torch.empty(packed.shape, dtype=packed.dtype, pin_memory=True)
    host.copy_(packed, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record(torch.cuda.current_stream(packed.device))

    def arrived() -> list[float]:
        copied.synchronize()
        return host.tolist()

    return arrived


Norm = tuple[str, int, Tensor]
"""A norm asked for: its name, the place of its Site or edge, and what to take it of."""


def measure(signal: Signal, meter: Meter) -> None:
    """Reduce everything there is to know at one Site."""
    received = [_plain(each) for each in signal.received]
    wanted: list[Norm] = []
    for edge, contribution, total in signal.arrivals:
        wanted.append(("contribution", edge, _plain(contribution)))
        meter.inner("inner", edge, _plain(contribution), _plain(total))
    if len(received) == 1:
        wanted += _of_one_gradient(signal, received[0], meter)
    elif received:
        meter.take("received", signal.site, torch.stack(torch._foreach_norm(received)).norm())
    meter.norms(wanted)
    if meter.count_nonfinite:
        for each in received:
            meter.take("nonfinite", signal.site, each.numel() - torch.isfinite(each).sum())


def _of_one_gradient(signal: Signal, g: Tensor, meter: Meter) -> list[Norm]:
    wanted: list[Norm] = [("received", signal.site, g)]
    if signal.learns:
        wanted += _learning(signal, g, meter)
    if signal.derivative is not None:
        wanted += _activation(signal, signal.derivative, g, meter)
    if signal.weight is not None:
        meter.weight_norm(signal.site, signal.weight, signal.weight_id)
        if signal.passed is not None:
            expected, arrived = _project(signal, signal.weight, g, _plain(signal.passed))
            meter.inner("agreeing", signal.site, expected, arrived)
            wanted.append(("arrived", signal.site, arrived))
    return wanted


def _learning(signal: Signal, g: Tensor, meter: Meter) -> list[Norm]:
    if g.dim() < 2:
        return []
    units = signal.features % g.dim()
    meter.note("rows", signal.site, g.numel() / max(g.shape[units], 1))
    return [("summed", signal.site, g.sum([d for d in range(g.dim()) if d != units]))]


def _activation(signal: Signal, slope: Tensor, g: Tensor, meter: Meter) -> list[Norm]:
    meter.note("values", signal.site, slope.numel())
    if signal.bounded:
        # Sign and sum: on CPU three times as fast as comparing and counting.
        above_less_below = slope.abs().sub_(SATURATED_BELOW * signal.peak).sign_().sum(dtype=torch.float32)
        meter.take("above_less_below", signal.site, above_less_below)
    elif slope.dim() > 1 and slope.numel():
        rows = [d for d in range(slope.dim()) if d != signal.features % slope.dim()]
        largest = torch.maximum(slope.amax(rows), -slope.amin(rows))
        meter.take("dead_units", signal.site, (largest < DEAD_BELOW * signal.peak).sum())
        meter.note("units", signal.site, largest.numel())
    meter.norms([("slope", signal.site, slope)])
    return [("slope_times_g", signal.site, slope.mul_(g))]  # in place: activations are the largest tensors there are


def _project(signal: Signal, w: Tensor, g: Tensor, passed: Tensor) -> tuple[Tensor, Tensor]:
    """W^T g of one random signed sum of rows, and the same sum of the rows that autograd passed on.

    To compute W^T g again would cost a third of the whole pass. A wrong product is very unlikely to agree with the
    right one on random signs in every entry (Freivalds 1977); so ||W^T g|| is known as ||passed on|| times the
    projection of one sum on the other, which is 1 unless something is wrong.
    """
    sign = _signs(len(g), g.device, g.dtype)
    if signal.convolution is None:
        return (sign @ g).to(w.dtype) @ w, (sign.to(passed.dtype) @ passed).to(w.dtype)
    c = signal.convolution
    folded = torch.tensordot(sign, g, 1).to(w.dtype)
    arrived = torch.tensordot(sign.to(passed.dtype), passed, 1).to(w.dtype)
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
        wanted: list[Norm] = [("grad of parameter", place, grad)]
        if parameter.dim() > 1:
            wanted += [("mean row", place, parameter.detach().mean(0)), ("parameter", place, parameter.detach())]
            meter.note("units of parameter", place, len(parameter))
        if steps is not None and name in steps:
            wanted.append(("step", place, steps[name]))
            meter.inner("ascent", place, _plain(parameter.grad.to_dense()), steps[name])
        meter.norms(wanted)
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
    received = raw.get("received", 0.0)  # 0: autograd had nothing to pass on
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
    descent = -raw["ascent"] if "ascent" in read else grad**2
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
        return self.get(name, np.nan)

    def get(self, name: str, default: float) -> NDArray[np.float64]:
        column = np.full(self._size, default)
        found = self._read.get(name)
        if found:
            column[list(found)] = list(found.values())
        return column


def _edge_columns(
    read: dict[str, dict[int, float]], edges: Sequence[Edge], received: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    raw = _Raw(read, len(edges))
    target = np.array([edge.target for edge in edges], dtype=int)
    alone = np.bincount(target, minlength=len(received))[target] == 1
    with np.errstate(all="ignore"):
        share = np.where(alone, 1.0, raw.get("inner", 0.0) / received[target] ** 2)
    # 0: nothing came along the edge, as autograd passes None for a gradient of zeros.
    return {"contribution": np.where(alone, received[target], raw.get("contribution", 0.0)), "share": share}


def _sum_by_source(values: NDArray[np.float64], edges: Sequence[Edge], size: int) -> NDArray[np.float64]:
    source = np.array([edge.source for edge in edges], dtype=int)
    total = np.full(size, np.nan)
    total[source] = 0.0
    np.add.at(total, source, values)
    return total


@lru_cache(maxsize=64)
def _signs(rows: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """One fixed random sign for each row; nobody's random numbers are used up for it."""
    return torch.from_numpy(np.random.default_rng(0).choice([-1.0, 1.0], size=rows)).to(device, dtype)


def _plain(x: Tensor) -> Tensor:
    """The numbers of a gradient, however it is laid out."""
    if x.layout is torch.strided:
        return x.detach()
    return x.detach().coalesce().values() if x.layout is torch.sparse_coo else x.detach().to_dense()
