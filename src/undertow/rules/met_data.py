"""Read what a network was seen to take in and to be held against: from a header, or from a watched run's columns."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from undertow.diagnosis import Diagnosis
from undertow.record import Role, Site

Fact = Mapping[str, Any]

_MATRICES = frozenset({"addmm", "mm", "bmm", "linear", "mkldnn_linear", "mv"})
"""Layers of which every input number is a feature; a convolution's are pixels, which differ by place."""

DIFFERENT = 0.05
"""Loss of the best constant answer, over which targets are more than one and the noise on it."""

_PASSED_OVER = frozenset({"view", "squeeze", "unsqueeze", "unsafe_view", "reshape_alias", "to_copy", "clone", "t"})


def pairs(diagnosis: Diagnosis) -> Sequence[Fact]:
    """Return outputs and targets that meet in a loss; a watched run knows those of the losses that save both.

    Example:
        >>> from undertow.record import Run
        >>> pairs(Diagnosis(Run({"pairs": [{"op": "sub"}]}, ())))
        [{'op': 'sub'}]
    """
    header = diagnosis.run.header
    if "pairs" in header or "target_spread" not in diagnosis.run.columns:
        return list(header.get("pairs", ()))
    spread = diagnosis.column("target_spread")
    return [_pair(diagnosis, site) for site in diagnosis.run.sites if np.isfinite(spread[site.index])]


def targets_differ(diagnosis: Diagnosis) -> bool:
    """Tell whether a batch's targets are known to differ: one answer for all of them would leave a loss.

    Example:
        >>> from undertow.record import Run
        >>> targets_differ(Diagnosis(Run({}, ())))
        False
    """
    if "constant_loss" not in diagnosis.run.columns or not diagnosis.run.sites:
        return False
    return bool((diagnosis.column("constant_loss") > DIFFERENT).any())


def _pair(diagnosis: Diagnosis, site: Site) -> Fact:
    at = {name: float(diagnosis.column(name)[site.index]) for name in ("target_mean", "target_spread", "output_size")}
    fact = {
        "op": site.op,
        "target": {"mean": at["target_mean"], "spread": at["target_spread"]},
        "output": {"rms": at["output_size"]},
        "source": site.source,
    }
    missed = float(diagnosis.column("target_missed")[site.index])
    return fact if math.isnan(missed) else {**fact, "last": {"op": _last(diagnosis, site).op, "missed": missed**2}}


def _last(diagnosis: Diagnosis, site: Site) -> Site:
    """Return the operation in front of a loss, reshapes passed over."""
    run = diagnosis.run
    while run.outgoing[site.index]:
        site = run.sites[run.edges[run.outgoing[site.index][0]].target]
        if site.op not in _PASSED_OVER:
            break
    return site


def inputs(diagnosis: Diagnosis) -> Sequence[Fact]:
    """Return what layers that see the data take in; a watched run knows its size and how much all examples share.

    Example:
        >>> from undertow.record import Run
        >>> inputs(Diagnosis(Run({"data": [{"op": "linear"}]}, ())))
        [{'op': 'linear'}]
    """
    run = diagnosis.run
    several = "," in str(run.header.get("optimizer", ""))  # what one of them sees may be another's output, as a GAN's
    if "data" in run.header or several or not {"input_rms", "input_likeness"} <= run.columns.keys():
        return list(run.header.get("data", ()))
    first = [s for s in run.sites if s.role is Role.WEIGHT and s.weight_shape and s.n_out and not run.outgoing[s.index]]
    return [fact for site in first if (fact := _input(diagnosis, site))]


def most_varied(facts: Sequence[Fact]) -> Sequence[Fact]:
    """Return, of each layer, the inputs that vary most of all that it is called with.

    A critic is called with data, and with what a generator makes of noise, which is all alike at first.

    Example:
        >>> most_varied([{"layer": "0", "spread": 0.01}, {"layer": "0", "spread": 1.0}])
        [{'layer': '0', 'spread': 1.0}]
    """
    found: dict[object, Fact] = {}
    for number, fact in enumerate(facts):
        layer = fact.get("layer", number)
        found[layer] = max(found.get(layer, fact), fact, key=lambda each: float(each["spread"]))
    return list(found.values())


def _input(diagnosis: Diagnosis, site: Site) -> Fact:
    size, alike = (float(diagnosis.column(name)[site.index]) for name in ("input_rms", "input_likeness"))
    if not (math.isfinite(size) and math.isfinite(alike)):
        return {}
    alike = min(max(alike, 0.0), 1.0) if site.op in _MATRICES else 0.0
    return {
        "op": site.op,
        "layer": site.parameters[0] if site.parameters else site.name,
        "shape": list(site.shape),
        "rms": size,
        "mean": size * math.sqrt(alike),
        "spread": size * math.sqrt(1 - alike),
        "fan_in": int(np.prod(site.weight_shape) / site.n_out),
        "whole": False,
        "source": site.source,
    }


def first_overshoot(diagnosis: Diagnosis) -> float:
    """Return what the first step of a watched run of plain SGD would lower the loss by if it were linear / the loss.

    There dw = -lr g, so that <g, dw> is the product of the norms. 0 where that isn't so, or isn't known.
    """
    run = diagnosis.run
    if run.header.get("optimizer") != "SGD" or not {"grad_norm", "update_norm"} <= run.parameter_columns.keys():
        return 0.0
    if "step" not in run.steps or "loss" not in run.steps:
        return 0.0
    loss = float(run.steps["loss"][diagnosis.step])
    rows = np.flatnonzero(np.asarray(run.parameter_steps) == run.steps["step"][diagnosis.step])
    if not len(rows) or not loss > 0 or not math.isfinite(loss):
        return 0.0
    gradient = np.asarray(run.parameter_columns["grad_norm"][rows[0]], np.float64)
    moved = np.asarray(run.parameter_columns["update_norm"][rows[0]], np.float64)
    return float(np.nansum(gradient * moved)) / loss


def surprise(diagnosis: Diagnosis) -> tuple[float, int]:
    """Return how wrong a classifier is, 1 at chance, and its number of classes; 0 and 0 where there is none.

    Example:
        >>> from undertow.record import Run
        >>> surprise(Diagnosis(Run({}, ())))
        (0.0, 0)
    """
    if "surprise" not in diagnosis.run.columns or not diagnosis.run.sites:
        return 0.0, 0
    found, classes = diagnosis.column("surprise"), diagnosis.column("classes")
    # A damaged file may have kept one of the two: a number of classes is 2 or more, or none.
    known = np.where(np.isfinite(found) & np.isfinite(classes) & (classes >= 2), found, -np.inf)
    place = int(np.argmax(known))
    return (float(known[place]), int(classes[place])) if known[place] > 0 else (0.0, 0)
