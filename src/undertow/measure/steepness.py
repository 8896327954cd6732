"""How steep an activation is where the data puts it: derivatives computed from what autograd kept, and reduced."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertow.measure.meter import Meter
from undertow.measure.norms import LARGE_PIECE, host_count_above, host_norm
from undertow.measure.reading import Label
from undertow.measure.signal import Signal, Slopes
from undertow.measure.together import SMALL_UP_TO, Reduced, counts_above, in_numpy

SATURATED_BELOW = 0.1
"""A unit is saturated where |phi'| is under this share of its peak, as in `undertow.activations`."""

DEAD_BELOW = 1e-3
"""A unit is dead where |phi'| is under this share of its peak for every row of the batch."""

ENOUGH = 2**17
"""Elements of an activation that takes long to differentiate: they tell its mean square to a fifth of a percent."""

LOOKED_AT = 2**14
"""Elements of a large tensor in which phi' g is held against what autograd passes on."""

APART = 1e-3
"""Part of the gradient passed on that it may differ by from phi' g before that is taken in full."""

_ALL = slice(None)


def measure_activation(signal: Signal, slopes: Slopes, g: Tensor | None, meter: Meter) -> None:
    """Take how large phi' is, how many units saturate or are dead, and the norm of phi' g where it is asked for.

    Args:
        signal: its Site's.
        slopes: of the activation.
        g: the gradient it receives; None where that is zero.
        meter: takes ``slope``, ``values``, ``steep`` or ``alive`` and ``units``, and ``slope_times_g``.
    """
    kept, asked = slopes.kept, g is not None and (meter.verify or not signal.onward)
    alike = g is None or kept.shape == g.shape
    if slopes.switch and not asked and kept.dim() > 1 and kept.numel() and in_numpy(kept) and not meter.can_wait(kept):
        _count_on(signal, kept, meter)
        return
    large = kept.is_cpu and kept.numel() > LARGE_PIECE and (g is None or g.is_cpu)
    if large and slopes.elementwise and alike:
        _in_parts(signal, slopes, meter)
        if asked and g is not None:
            _take_product(signal, slopes, g, meter)
        return
    if meter.can_wait(kept) and alike and (g is None or meter.can_wait(g)):
        _take_later(signal, slopes, g if asked else None, meter)
        return
    slope = slopes.formula(kept)
    size, steepness = slope.numel(), slope if signal.rising else slope.abs()
    meter.note("values", signal.site, size)
    if signal.bounded:
        meter.count_above("steep", signal.site, steepness, SATURATED_BELOW * signal.peak)
    elif slope.dim() > 1 and size:
        _take_alive(signal, steepness.amax(_rows(slope, signal.features)), meter)
    meter.norm("slope", signal.site, slope)
    if asked and g is not None:
        # In place where it is worth it: activations are the largest tensors there are. A small one's norm may wait.
        meter.norm("slope_times_g", signal.site, slope * g if size <= SMALL_UP_TO else slope.mul_(g))


def _take_later(signal: Signal, slopes: Slopes, g: Tensor | None, meter: Meter) -> None:
    """Let a small activation wait for others alike; its derivative too, where one formula serves for them all."""
    formula, kept = (_as_it_is, slopes.formula(slopes.kept)) if slopes.costly else (slopes.formula, slopes.kept)
    how = formula, signal.bounded, signal.rising, signal.features
    meter.together(_reduce, how, (signal.site, signal.peak), kept, *([] if g is None else [g]))


def _as_it_is(slope: Tensor) -> Tensor:
    return slope


def _reduce(
    how: tuple[Callable[[Tensor], Tensor], bool, bool, int],
    of: list[tuple[int, float]],
    stacks: list[Tensor],
    into: Reduced,
) -> None:
    """Take of several stacked activations what `measure_activation` takes of each."""
    formula, bounded, rising, features = how
    slope = formula(stacks[0])
    each, steepness = slope[0], slope if rising else slope.abs()
    into.note(_labels("values", of), [each.numel()] * len(of))
    if bounded:
        into.note(_labels("steep", of), counts_above(steepness, [SATURATED_BELOW * peak for _, peak in of]))
    elif each.dim() > 1:
        largest = steepness.amax([1 + d for d in _rows(each, features)])
        into.note(_labels("alive", of), counts_above(largest, [DEAD_BELOW * peak for _, peak in of]))
        into.note(_labels("units", of), [largest[0].numel()] * len(of))
    into.norms(_labels("slope", of), slope)
    for g in stacks[1:]:
        into.norms(_labels("slope_times_g", of), slope * g)


def _labels(name: str, of: list[tuple[int, float]]) -> list[Label]:
    return [(name, site) for site, _ in of]


def _count_on(signal: Signal, kept: Tensor, meter: Meter) -> None:
    """Count where a switch is on: of a derivative of zeros and ones that tells the norm, and which units are dead."""
    on, alive = 0, np.zeros((), dtype=bool)
    for part in _parts(kept, signal.features) if kept.numel() > LARGE_PIECE else (kept,):
        above: NDArray[np.bool_] = part.detach().numpy() > 0
        on += int(np.count_nonzero(above))
        alive = alive | np.logical_or.reduce(above, axis=tuple(_rows(part, signal.features)))
    meter.note("values", signal.site, kept.numel())
    meter.note("slope", signal.site, math.sqrt(on))
    meter.note("alive", signal.site, 2.0 * np.count_nonzero(alive))
    meter.note("units", signal.site, alive.size)


def _in_parts(signal: Signal, slopes: Slopes, meter: Meter) -> None:
    """Go through a large tensor on the host once, in parts that stay in the caches.

    Of an activation that takes long to differentiate some rows are enough, if no unit is dead in all of them.
    """
    if slopes.costly and slopes.kept.numel() >= 2 * ENOUGH:
        some = _spread_out(slopes.kept, ENOUGH, signal.features)(slopes.kept)
        if _take_parts(signal, slopes, some, meter, unless_dead=True):
            return
    _take_parts(signal, slopes, slopes.kept, meter)


def _take_parts(signal: Signal, slopes: Slopes, kept: Tensor, meter: Meter, unless_dead: bool = False) -> bool:
    lengths: list[float] = []
    above, largest = 0.0, None
    for part in _parts(kept, signal.features):
        slope = slopes.formula(part)
        lengths.append(host_norm(slope))
        steepness = slope if signal.rising else slope.abs()
        if signal.bounded:
            above += host_count_above(steepness, SATURATED_BELOW * signal.peak)
        elif slope.dim() > 1:
            most = steepness.amax(_rows(slope, signal.features))
            largest = most if largest is None else torch.maximum(largest, most)
    if unless_dead and largest is not None and bool((largest <= DEAD_BELOW * signal.peak).any()):
        return False
    meter.note("values", signal.site, kept.numel())
    meter.note("slope", signal.site, math.hypot(*lengths))
    if signal.bounded:
        meter.note("steep", signal.site, above)
    elif largest is not None:
        _take_alive(signal, largest, meter)
    return True


def _parts(x: Tensor, features: int) -> Iterator[Tensor]:
    """Yield rows of a tensor, as many as stay in the caches together."""
    if x.dim() > 2 and features % x.dim() == x.dim() - 1 and x.is_contiguous():
        x = x.view(-1, x.shape[-1])
    yield from x.split(max(1, LARGE_PIECE * len(x) // x.numel()))


def _rows(x: Tensor, features: int) -> list[int]:
    """Return the dimensions that count rows and not units."""
    return [d for d in range(x.dim()) if d != features % x.dim()]


def _take_alive(signal: Signal, largest: Tensor, meter: Meter) -> None:
    if meter.can_wait(largest):
        meter.together(_reduce_alive, None, (signal.site, signal.peak), largest)
        return
    meter.count_above("alive", signal.site, largest, DEAD_BELOW * signal.peak)
    meter.note("units", signal.site, largest.numel())


def _reduce_alive(_: None, of: list[tuple[int, float]], stacks: list[Tensor], into: Reduced) -> None:
    """Count the units of several layers that are not dead, by their steepest rows, [layers, units]."""
    into.note(_labels("alive", of), counts_above(stacks[0], [DEAD_BELOW * peak for _, peak in of]))
    into.note(_labels("units", of), [stacks[0][0].numel()] * len(of))


def _take_product(signal: Signal, slopes: Slopes, g: Tensor, meter: Meter) -> None:
    """Take ||phi' g||: that of what autograd passes on, where some rows tell that it is the same."""
    passed = signal.passed
    if passed is not None and passed.shape == g.shape and _is_product(slopes, g, passed):
        meter.norm_to_be_received("slope_times_g", signal.site, passed)
        return
    pairs = zip(_parts(slopes.kept, 0), _parts(g, 0), strict=True)
    lengths = [host_norm(slopes.formula(kept) * received) for kept, received in pairs]
    meter.note("slope_times_g", signal.site, math.hypot(*lengths))


def _is_product(slopes: Slopes, g: Tensor, passed: Tensor) -> bool:
    chosen = _spread_out(g, LOOKED_AT, -1)
    arrived = chosen(passed)
    apart = host_norm(slopes.formula(chosen(slopes.kept)) * chosen(g) - arrived)
    rounding = 8 * max(torch.finfo(x.dtype).eps for x in (g, passed))
    return apart <= max(APART, rounding) * host_norm(arrived)


def _spread_out(like: Tensor, enough: int, features: int) -> Callable[[Tensor], Tensor]:
    """Return what takes evenly spread rows of tensors of a shape, without a copy; in step with no power of two.

    Args:
        like: has the shape.
        enough: elements to take, about.
        features: the dimension that doesn't count rows, and is taken whole.
    """
    share, chosen = like.numel() / enough, [_ALL] * like.dim()
    for d in _rows(like, features) or [0]:
        step = min(max(1, int(share)), max(1, like.shape[d] // 2)) | 1
        chosen[d] = slice(step // 2 if step < like.shape[d] else 0, None, step)
        share /= step
    return lambda x: x[tuple(chosen)]
