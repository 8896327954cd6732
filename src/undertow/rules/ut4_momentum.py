"""UT401's part on momentum: an average of gradients that remembers too many of them."""

from collections.abc import Iterator, Mapping
from typing import Any

from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Severity
from undertow.rules.advice.steps import usual_momentum

TOO_LONG = 200.0
"""Steps that momentum remembers: at 0.99 SGD with a small rate was seen to learn, at 0.999 nothing was."""


def long_memory(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Report momentum so near to 1 that steps go where the gradient pointed hundreds of steps ago."""
    told: Mapping[str, Any] = diagnosis.run.header.get("momentum", {})
    first, second = float(told.get("first", 0.0)), told.get("second")
    memory = 1 / max(1 - first, 1e-6)
    swapped = second is not None and second < first
    if memory < TOO_LONG and not swapped:
        return
    optimizer, name = told["optimizer"], "beta1" if told["setting"] == "betas" else "momentum"
    text = (
        f"{optimizer}'s {name} of {first:g} averages gradients over the last {memory:,.0f} steps: it goes on where "
        "they pointed long after that has changed, overshoots and swings back."
    )
    if swapped:
        text += f" The betas look exchanged: the second, of the squared gradient, is {second:g}."
    numbers = {"momentum": first, "memory": memory}
    limit = f"1 / (1 - momentum) < {TOO_LONG:.0f} steps, and beta1 under beta2"
    equation = "m <- beta1 m + (1 - beta1) g"
    found = Finding("UT401", "momentum near 1", Severity.WARNING, (), "the optimizer", text, numbers, limit, equation)
    yield usual_momentum(optimizer, told["setting"], swapped).on(found)
