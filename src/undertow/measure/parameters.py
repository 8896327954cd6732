"""Measure parameters once the backward pass is over."""

from collections.abc import Mapping

import torch
from torch import Tensor

from undertow.measure.meter import Meter
from undertow.measure.signals import plain
from undertow.measure.together import Reduced


def measure_parameters(
    parameters: Mapping[str, Tensor],
    steps: Mapping[str, Tensor] | None,
    meter: Meter,
    units: Mapping[str, int] | None = None,
) -> tuple[str, ...]:
    """Reduce what there is to know of parameters once the backward pass is over.

    Args:
        parameters: by name, ``.grad`` filled.
        steps: what the optimizer adds to each; None without an optimizer, and gradient descent is assumed.
        meter: where numbers are collected.
        units: by a weight's name the dimension that counts the units it leads to; of others nobody asks how alike
            their units are.

    Returns:
        The names, in the order that a `Readout` needs to know.
    """
    for place, (name, parameter) in enumerate(parameters.items()):
        grad = parameter.grad
        if grad is None:
            continue
        silent = meter.norm("grad of parameter", place, plain(grad)) == 0
        if parameter.dim() == 1:
            meter.weight_norm("bias", place, parameter.detach(), id(parameter))
            meter.note("biases", place, len(parameter))
        if parameter.dim() > 1:
            meter.weight_norm("parameter", place, parameter.detach(), id(parameter))
        if units is not None and name in units:
            take_units(parameter.detach(), None if silent else grad, units[name], place, meter)
        if steps is not None and name in steps:
            meter.norm("step", place, steps[name])
            meter.inner("ascent", place, plain(grad.to_dense()), steps[name])
    return tuple(parameters)


def _reduce_units(dimension: int, places: list[int], stacks: list[Tensor], into: Reduced) -> None:
    for name, x in zip(("sum of units", "sum of units' grads"), stacks, strict=True):
        into.norms([(name, place) for place in places], x.sum(1 + dimension))


def take_units(value: Tensor, grad: Tensor | None, dimension: int, place: int, meter: Meter) -> None:
    """Take the sums over units that tell how alike these are, of a layer that has more than one.

    Args:
        value: the weights.
        grad: their gradient; None where that is zero.
        dimension: which counts units.
        place: the parameter's.
        meter: where the numbers are collected.
    """
    units = value.shape[dimension]
    if units < 2 or value.is_complex() or (grad is not None and grad.layout is not torch.strided):
        return
    meter.note("units of parameter", place, units)
    if grad is not None and meter.can_wait(value) and meter.can_wait(grad):
        meter.together(_reduce_units, dimension, place, value, grad)
        return
    for name, x in (("sum of units", value), ("sum of units' grads", grad)):
        if x is None:
            continue
        # Half precision would round the sum by more than the units differ.
        meter.norm(name, place, x.sum(dimension, dtype=torch.promote_types(x.dtype, torch.float32)))
