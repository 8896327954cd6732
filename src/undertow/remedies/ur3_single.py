"""UR3xx, level C: normalisations that have nothing to average over."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import Tensor
from torch.nn import functional

from undertow.diagnosis import Diagnosis
from undertow.remedies.anatomy import fresh
from undertow.remedies.changing import on_model
from undertow.remedies.facts import known_facts
from undertow.remedies.loss_inputs import is_single, looked_at
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.replacing import Replacement
from undertow.remedies.rewiring import rewire
from undertow.training import Training


@remedy("UR320", "normalisation over more than one number", "C", ["UT505", "UT109", "UT501", "UT704"])
def several(training: Training, over: str = "example") -> Training:
    """Let a normalisation that takes each number by itself take all of an example, or none.

    What it changes:
        ``layer_norm``, ``rms_norm`` and ``group_norm`` over one number go over all of an example's numbers, or, with
        "nothing", hand on what they are given; their gain and bias keep their names and act as before.
    When:
        What a norm makes of one number is its bias, whatever goes in: nothing in front of it can be learned.
    Predicts:
        The output depends on the input again, and the layers in front get a gradient.
    References:
        Ba, Kiros, Hinton 2016 (Layer normalization); PyTorch documentation, nn.LayerNorm: "normalized_shape".
    """
    if not looked_at(fresh(training), training).single:
        raise ValueError("no normalisation of the model goes over a single number")
    if over not in ("example", "nothing"):
        raise ValueError(f'over is {over!r}: say "example" or "nothing"')
    norms = {name: partial(_normed, over, name) for name in ("layer_norm", "rms_norm", "group_norm")}
    return on_model(training, partial(rewire, rewiring=Replacement(norms)))


def _normed(over: str, name: str, func: Any, x: Tensor, shape: Any, *rest: Any, **named: Any) -> Any:
    if not is_single(name, (x, shape)):
        return func(x, shape, *rest, **named)
    weight, bias = _gains(name, rest, named, x)
    made = functional.layer_norm(x, x.shape[1:]) if over == "example" else x
    made = made if weight is None else made * weight
    return made if bias is None else made + bias


def _gains(name: str, rest: Any, named: Any, x: Tensor) -> list[Tensor | None]:
    """Return gain and bias, in a shape that fits what they are multiplied with."""
    given = [*rest[:2], None, None][:2]
    weight = named.get("weight", given[0])
    bias = None if name == "rms_norm" else named.get("bias", given[1])
    fitting = (-1, *[1] * (x.ndim - 2)) if name == "group_norm" else (-1,)
    return [each if each is None else each.view(fitting) for each in (weight, bias)]


@several.proposes
def _proposed_norms(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if known_facts(diagnosis).get("loss", {}).get("single"):
        yield Proposal({"over": "example"}, "a normalisation goes over a single number: its output is its bias", 1.0)
        yield Proposal({"over": "nothing"}, "a normalisation goes over a single number: its output is its bias", 0.9)


@several.written
def _norm_lines(over: str = "example") -> str:
    if over == "nothing":
        return "# in forward(): leave out the normalisation, which goes over a single number"
    return "# in forward(): F.layer_norm(x, x.shape[1:]) in place of the normalisation over a single number"
