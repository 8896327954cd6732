"""UR3xx, level C: functions that go up and down faster than a network begins with."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from undertow.diagnosis import Diagnosis
from undertow.remedies.anatomy import Part, anatomy, fresh
from undertow.remedies.changing import on_model
from undertow.remedies.facts import known_facts, unlearned
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.ur3_inputs import as_text, inputs_of, moments
from undertow.training import Training

MANY = 32
"""Waves that are drawn."""

FEW_FEATURES = 3
"""Features up to which waves of them can be expected to say something: coordinates, times."""

PERIODS = (1.0, 3.0)
"""Standard deviations of how many periods a wave has within a standard deviation of the input."""


@remedy("UR325", "waves of the inputs beside the inputs", "C", ["UT704"])
def waves(training: Training, periods: float = 1.0) -> Training:
    """Give the first layer sines and cosines of its input, of random frequencies, beside the input itself.

    What it changes:
        The first linear layer gets a second matrix of weights, which multiplies 32 sines and as many cosines.
    When:
        A function of one to three numbers goes up and down many times, as a signal, a season or a picture does: a
        network learns what is smooth first, and the rest hardly at all.
    Predicts:
        What has about that many periods is learned as fast as what is smooth.
    References:
        Tancik et al. 2020 (Fourier features let networks learn high frequency functions); Rahaman et al. 2019.
    """
    return on_model(training, _Wave(training, periods))


@dataclass(frozen=True)
class _Wave:
    training: Training
    periods: float

    def __call__(self, model: nn.Module) -> None:
        part, deviation = _first_layer(model, self.training)
        layer = part.module
        rows = self.periods * torch.randn(len(deviation), MANY)
        layer.register_buffer("frequencies", (2 * math.pi * rows / deviation[:, None].cpu()).to(deviation))
        layer.waves = nn.Linear(2 * MANY, _width(part), bias=False).to(deviation)
        layer.register_forward_hook(_with_waves)


def _with_waves(module: nn.Module, given: Any, made: Tensor) -> Tensor:
    phases = given[0] @ module.get_buffer("frequencies")
    more: Tensor = module.get_submodule("waves")(torch.cat([phases.sin(), phases.cos()], -1))
    return made + more


def _width(part: Part) -> int:
    assert part.made is not None  # noqa: S101  # a layer makes something
    return int(part.made.shape[-1])


def _first_layer(model: nn.Module, training: Training) -> tuple[Part, Tensor]:
    """Return the first layer, and the deviation of each feature that it is given.

    Raises:
        ValueError: it isn't a linear layer that takes what the model is called with.
    """
    x = inputs_of(model, training)
    layers = anatomy(model, training).layers
    first = layers[0].module if layers else None
    if not isinstance(first, nn.Linear) or x.ndim != 2 or first.in_features != x.shape[1]:
        raise ValueError("the model's first layer isn't a linear one that takes rows of numbers")
    deviation = moments(x, (0,))[1].flatten()
    return layers[0], deviation.where(deviation > 0, torch.ones_like(deviation))


@waves.proposes
def _proposed_waves(diagnosis: Diagnosis) -> Iterator[Proposal]:
    facts = known_facts(diagnosis)
    features = facts.get("inputs", {}).get("features", 0)
    if 0 < features <= FEW_FEATURES and unlearned(diagnosis):
        told = f"a function of {features} number{'s' if features > 1 else ''} isn't learned; it may go up and down fast"
        for place, periods in enumerate(PERIODS):
            yield Proposal({"periods": periods}, told, 0.6 - 0.05 * place)


@waves.written
def _waves_lines(periods: float = 1.0) -> str:
    return _waves_of("model[0]", "x_train.std(0)", periods, "x_train.shape[1]", "model[0].out_features")


@waves.written_for
def _waves_lines_for(training: Training, periods: float = 1.0) -> str:
    part, deviation = _first_layer(fresh(training), training)
    place = f"model.get_submodule({part.name!r})" if part.name else "model"
    return _waves_of(place, as_text(deviation), periods, str(len(deviation)), str(_width(part)))


def _waves_of(place: str, deviation: str, periods: float, features: str, width: str) -> str:
    return (
        f"layer = {place}  # the first\n"
        f"rows = {periods:g} * torch.randn({features}, {MANY})\n"
        f'layer.register_buffer("frequencies", 2 * torch.pi * rows / {deviation}[:, None])\n'
        f"layer.waves = nn.Linear({2 * MANY}, {width}, bias=False)\n"
        "def with_waves(layer, given, made):\n"
        "    phases = given[0] @ layer.frequencies\n"
        "    return made + layer.waves(torch.cat([phases.sin(), phases.cos()], -1))\n"
        "layer.register_forward_hook(with_waves)"
    )
