"""What there is to know of parameters once the backward pass is over."""

from collections.abc import Mapping

from torch import Tensor

from undertow.measure.meter import Meter
from undertow.measure.signals import plain


def measure_parameters(
    parameters: Mapping[str, Tensor], steps: Mapping[str, Tensor] | None, meter: Meter
) -> tuple[str, ...]:
    """Reduce what there is to know of parameters once the backward pass is over.

    Args:
        parameters: by name, ``.grad`` filled.
        steps: what the optimizer adds to each; None without an optimizer, and gradient descent is assumed.
        meter: where numbers are collected.

    Returns:
        The names, in the order that a `Readout` needs to know.
    """
    for place, (name, parameter) in enumerate(parameters.items()):
        grad = parameter.grad
        if grad is None:
            continue
        meter.norm("grad of parameter", place, plain(grad))
        if parameter.dim() == 1:
            meter.weight_norm("bias", place, parameter.detach(), id(parameter))
            meter.note("biases", place, len(parameter))
        if parameter.dim() > 1:
            value = parameter.detach()
            meter.weight_norm("parameter", place, value, id(parameter))
            meter.norm("sum of rows", place, value.sum(0))
            meter.note("units of parameter", place, len(value))
        if steps is not None and name in steps:
            meter.norm("step", place, steps[name])
            meter.inner("ascent", place, plain(grad.to_dense()), steps[name])
    return tuple(parameters)
