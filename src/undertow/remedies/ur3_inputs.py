"""UR3xx, level C: what the model is called with."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from undertow.diagnosis import Diagnosis
from undertow.remedies.anatomy import fresh, run_loss
from undertow.remedies.changing import on_model
from undertow.remedies.facts import known_facts, unlearned
from undertow.remedies.registry import Proposal, remedy
from undertow.training import Training

UNEQUAL = 30.0
"""Ratio of large to small scales of features above which they count as unequal."""


STANDARDISED_ON = 32
"""Batches that means and deviations of inputs are taken from."""


@remedy("UR304", "inputs standardised", "C", ["UT706", "UT201", "UT102", "UT401", "UT202", "UT405"])
def standardise(training: Training) -> Training:
    """Subtract each feature's mean from the inputs and divide by its standard deviation.

    What it changes:
        The model keeps means and deviations as buffers, and standardises what it is called with.
    When:
        Inputs are far from unit scale, or their features are of very different scales.
    Predicts:
        The first layer's pre-activations and the gradient of its weights are divided by the inputs' scale.
    References:
        LeCun, Bottou, Orr, Müller 1998 (Efficient BackProp), section 4.3.
    """
    return on_model(training, _Standardise(training))


def _all_but_features(dimensions: int) -> tuple[int, ...]:
    """Return the dimensions that aren't that of the features: the last of a row or a sequence, the second of images."""
    feature = 1 if dimensions > 3 else dimensions - 1
    return tuple(d for d in range(dimensions) if d != feature)


def _standardised(module: nn.Module, given: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    return with_first((given, keywords), lambda x: (x - module.input_mean) / module.input_deviation)


@dataclass(frozen=True)
class _Standardise:
    training: Training

    def __call__(self, model: nn.Module) -> None:
        x = inputs_of(model, self.training)
        over = _all_but_features(x.ndim)
        mean, deviation = moments(x, over)
        model.register_buffer("input_mean", mean)  # no module: nn.Sequential would call it as its last
        model.register_buffer("input_deviation", deviation.where(deviation > 0, torch.ones_like(deviation)))
        model.register_forward_pre_hook(_standardised, with_kwargs=True)


def moments(x: Tensor, over: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation over some axes, of what is finite; shapes keep those axes, of length 1."""
    known = x.isfinite()
    many = known.sum(over, keepdim=True).clamp(min=1)
    mean = x.where(known, torch.zeros_like(x)).sum(over, keepdim=True) / many
    square = (x - mean).where(known, torch.zeros_like(x)).square().sum(over, keepdim=True)
    return mean, (square / (many - 1).clamp(min=1)).sqrt()


def inputs_of(model: nn.Module, training: Training) -> Tensor:
    """Return what a model is called with on some batches, one behind the other.

    Raises:
        ValueError: it isn't called with a tensor of numbers.
    """
    seen: list[Tensor] = []

    def note(module: nn.Module, given: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        del module
        with_first((given, keywords), lambda x: seen.append(x.detach()))

    handle = model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        run_loss(model, training, STANDARDISED_ON)
    finally:
        handle.remove()
    if not seen or seen[0].ndim < 2:
        raise ValueError("the model isn't called with a tensor of numbers, so there is nothing to standardise")
    return torch.cat([x for x in seen if x.shape[1:] == seen[0].shape[1:]])


def with_first(given: Any, change: Callable[[Tensor], Any]) -> Any:
    """Return arguments with the first tensor of numbers changed, wherever in tuples, lists and dicts it is.

    Args:
        given: any of these, nested.
        change: called with it.

    Example:
        >>> with_first(((torch.tensor([1]),), {"x": [torch.ones(1), torch.ones(1)]}), lambda x: 2 * x)
        ((tensor([1]),), {'x': [tensor([2.]), tensor([1.])]})
    """
    done = False

    def walked(value: Any) -> Any:
        nonlocal done
        if done:
            return value
        if isinstance(value, Tensor) and value.is_floating_point():
            done = True
            return change(value)
        if type(value) in (tuple, list):
            return type(value)(walked(each) for each in value)
        return {key: walked(each) for key, each in value.items()} if type(value) is dict else value

    return walked(given)


@standardise.proposes
def _proposed_standardisation(diagnosis: Diagnosis) -> Iterator[Proposal]:
    codes = {finding.code for finding in diagnosis.findings}
    rms = [float(v) for v in diagnosis.column("input_rms")[[s for layer in diagnosis.layers[-1:] for s in layer.sites]]]
    inputs = known_facts(diagnosis).get("inputs") or {"rms": rms[0] if rms else math.nan, "spread": 1.0}
    if inputs["rms"] > 0 and not 0.1 <= inputs["rms"] <= 10:
        yield Proposal({}, f"inputs have a root mean square of {inputs['rms']:.2g}", 0.95)
    elif inputs["spread"] > UNEQUAL:
        yield Proposal({}, f"the scales of features differ {inputs['spread']:.2g} times", 0.85)
    elif "UT706" in codes:
        yield Proposal({}, "inputs are out of scale", 0.7)
    elif codes & {"UT201", "UT102", "UT401", "UT202", "UT405", "UT704"} or unlearned(diagnosis):
        yield Proposal({}, "the inputs' scale is usual; standard units may help all the same", 0.35)


@standardise.written
def _standardise_lines() -> str:
    return _standardise_call("0")


@standardise.written_for
def _standardise_lines_for(training: Training) -> str:
    x = inputs_of(fresh(training), training)
    over = _all_but_features(x.ndim)
    mean, deviation = moments(x, over)
    place = _place_of_inputs(training)
    if mean.numel() > FEW_NUMBERS:
        return _standardise_call(_axes(over), place)
    usual = deviation.where(deviation > 0, torch.ones_like(deviation))
    return _standardise_hook(as_text(mean), as_text(usual), place)


def _place_of_inputs(training: Training) -> int | str:
    """Return place or name of the first tensor of numbers that a model is called with; "" where it is nested."""
    model, found = fresh(training), list[int | str]()

    def note(module: nn.Module, given: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        del module
        named: list[tuple[int | str, Any]] = [*enumerate(given), *keywords.items()]
        found.extend(key for key, x in named if isinstance(x, Tensor) and x.is_floating_point())

    model.register_forward_pre_hook(note, with_kwargs=True)
    run_loss(model, training)
    return found[0] if found else ""


def _hook(change: str, place: int | str) -> str:
    """Write a hook that changes what a model is called with: ``x`` in the change is the input."""
    if place == 0:
        return (
            f"model.register_forward_pre_hook(\n    lambda model, given: ({change.format(x='given[0]')}, *given[1:])\n)"
        )
    if isinstance(place, int):
        made = change.format(x=f"given[{place}]")
        return (
            "model.register_forward_pre_hook(\n"
            f"    lambda model, given: (*given[:{place}], {made}, *given[{place + 1}:])\n)"
        )
    if place:
        made = change.format(x=f'named["{place}"]')
        return (
            "model.register_forward_pre_hook(\n"
            f'    lambda model, given, named: (given, {{**named, "{place}": {made}}}), with_kwargs=True\n)'
        )
    return f"# in forward(): x = {change.format(x='x').replace('model.', 'self.')}"


FEW_NUMBERS = 64
"""Means and deviations that are written out as numbers; more are taken from ``x_train``."""


def as_text(numbers: Tensor) -> str:
    """Write a tensor of few numbers as Python.

    Example:
        >>> as_text(torch.tensor([[0.5], [0.25]]))
        'torch.tensor([[0.5], [0.25]])'
    """
    return f"torch.tensor({_rounded(numbers.tolist())})"


def _rounded(values: Any) -> Any:
    return [_rounded(each) for each in values] if isinstance(values, list) else float(f"{values:.7g}")


def _axes(over: tuple[int, ...]) -> str:
    return str(over[0]) if len(over) == 1 else str(over)


def _standardise_call(over: str, place: int | str = 0) -> str:
    usual = "deviation.where(deviation > 0, torch.ones_like(deviation))"
    mean = f"x_train.mean({over}, keepdim=True)"
    return f"deviation = x_train.std({over}, keepdim=True)\n{_standardise_hook(mean, usual, place)}"


def _standardise_hook(mean: str, deviation: str, place: int | str) -> str:
    return (
        f'model.register_buffer("input_mean", {mean})\nmodel.register_buffer("input_deviation", {deviation})\n'
    ) + _hook("({x} - model.input_mean) / model.input_deviation", place)


@remedy("UR314", "missing numbers filled in", "C", ["UT103"])
def filled(training: Training) -> Training:
    """Put each feature's mean in the place of inputs that are no numbers.

    What it changes:
        The model keeps means as a buffer, and fills in what it is called with.
    When:
        Inputs hold nan or infinity: a single one makes the loss nan, and after the step all weights.
    Predicts:
        The loss is a number.
    References:
        Little, Rubin 2019 (Statistical analysis with missing data), chapter 4.
    """
    return on_model(training, _Fill(training))


@dataclass(frozen=True)
class _Fill:
    training: Training

    def __call__(self, model: nn.Module) -> None:
        x = inputs_of(model, self.training)
        if bool(x.isfinite().all()):
            raise ValueError("no input is missing")
        model.register_buffer("input_usual", moments(x, _all_but_features(x.ndim))[0])
        model.register_forward_pre_hook(_filled_in, with_kwargs=True)


def _filled_in(module: nn.Module, given: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    return with_first((given, keywords), lambda x: x.where(x.isfinite(), module.input_usual))


@filled.proposes
def _proposed_filling(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if (missing := known_facts(diagnosis).get("inputs", {}).get("missing", 0.0)) > 0:
        yield Proposal({}, f"{missing:.2g} of the inputs are no numbers", 1.0)


@filled.written
def _filling_lines() -> str:
    return _filling_call("0")


@filled.written_for
def _filling_lines_for(training: Training) -> str:
    x = inputs_of(fresh(training), training)
    usual = moments(x, _all_but_features(x.ndim))[0]
    place = _place_of_inputs(training)
    if usual.numel() > FEW_NUMBERS:
        return _filling_call(_axes(_all_but_features(x.ndim)), place)
    return _filling_hook(as_text(usual), place)


def _filling_call(over: str, place: int | str = 0) -> str:
    known = "known = x_train.where(x_train.isfinite(), torch.nan)\n"
    return known + _filling_hook(f"known.nanmean({over}, keepdim=True)", place)


def _filling_hook(usual: str, place: int | str) -> str:
    buffer = f'model.register_buffer("input_usual", {usual})\n'
    return buffer + _hook("{x}.where({x}.isfinite(), model.input_usual)", place)
