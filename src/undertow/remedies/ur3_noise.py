"""UR3xx, level C: noise that a model draws while it runs."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from torch import Tensor

from undertow.diagnosis import Diagnosis
from undertow.remedies.anatomy import fresh
from undertow.remedies.changing import on_model
from undertow.remedies.facts import known_facts, unlearned
from undertow.remedies.loss_inputs import DRAWING, looked_at
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.replacing import Replacement
from undertow.remedies.rewiring import rewire
from undertow.training import Training

LITTLE = 0.01
"""What is left of noise: not nothing, so that what scales it still has a gradient."""


@remedy("UR326", "less noise within the model", "C", ["UT704", "UT405"])
def less_noise(training: Training, factor: float = LITTLE) -> Training:
    """Multiply what a model draws from a normal distribution while it runs.

    What it changes:
        ``torch.randn``, ``randn_like`` and ``normal`` within a forward pass.
    When:
        Noise on inputs or features drowns what is in them, or a recurrence begins with a random state, in training and
        in evaluation alike.
    Predicts:
        The same input has nearly the same output.
    References:
        Bishop 1995 (Training with noise is equivalent to Tikhonov regularization): its strength is that of a penalty.
    """
    if not looked_at(fresh(training), training).drawn:
        raise ValueError("the model draws no noise while it runs")
    return on_model(training, partial(rewire, rewiring=Replacement(_quieter(factor))))


def _quieter(factor: float) -> dict[str, Callable[..., Any]]:
    plain = partial(_scaled, factor)
    return {name: partial(_about_mean, factor) if name == "normal" else plain for name in sorted(DRAWING)}


def _scaled(factor: float, func: Any, *given: Any, **named: Any) -> Tensor:
    made: Tensor = func(*given, **named)
    return made * factor


def _about_mean(factor: float, func: Any, *given: Any, **named: Any) -> Tensor:
    made: Tensor = func(*given, **named)
    mean = given[0] if given else named["mean"]
    return mean + factor * (made - mean)


@less_noise.proposes
def _proposed_quiet(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if many := known_facts(diagnosis).get("loss", {}).get("drawn"):
        told = f"a forward pass draws noise {'once' if many == 1 else f'{many} times'}"
        yield Proposal({}, told, 0.8 if unlearned(diagnosis) else 0.4)


@less_noise.written
def _quiet_lines(factor: float = LITTLE) -> str:
    return f"# in forward(): {factor:g} * torch.randn_like(x), and only if self.training; zeros for a first state"
