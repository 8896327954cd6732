"""UT205: representations of different examples that have become parallel."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from undertow.analysis.gradient_path import weight_depth
from undertow.analysis.loss_trend import loss_ends
from undertow.analysis.timeline import RunHistory
from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Role, Run, Severity, Site
from undertow.rules.advice.representations import examples_told_apart, inputs_looked_at, outputs_held_apart
from undertow.rules.agreement import only_agreement
from undertow.rules.met_data import targets_differ
from undertow.rules.positions import NOTHING_LEFT, alike_positions, positions_sentence
from undertow.rules.registry import RUN, rule
from undertow.wording import called, size

ALIKE_BELOW = 1e-5
APART_ABOVE, LEARNS = 1e-3, 0.01
OF_THE_INPUTS = 1e-3
DIFFERENT_ABOVE = 1e-3
THE_SAME = 1e-6
FEWEST_ROWS = 8
FEWEST_INPUTS = 3
LAST_LAYERS = 2
OF_ONE = 0.1
"""Of the distance: where the last layer alone is given the same for all examples, it must be so to rounding."""

HARDLY_FELL = 0.05
ONE_OUTPUT, TWO_OUTPUTS = (3e-3, 30.0), (0.05, 10.0)
"""Distance to which outputs of length 1 collapse, and part of the first one that it is; of two that learn to agree."""

AGREEING = (0.02, 5.0)
"""The same before the last layer, where two outputs that both learn agreeing is all that the loss asks for."""

LASTING = 3
_RECURRENT = frozenset({"RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"})
_LIMIT = (
    f"1 - mean cosine under {ALIKE_BELOW:g} before the last {LAST_LAYERS} layers, and under {OF_THE_INPUTS:g} of what "
    "it is where examples differ most"
)
_EQUATION = "c^l = R(c^{l-1}) -> 1 (Schoenholz et al. 2017); S^l x -> the eigenvector of the largest eigenvalue"


@rule(
    "UT205",
    "examples become alike",
    columns=("input_cosine",),
    explains=("UT101", "UT104", "UT105", "UT108", "UT202", "UT402", "UT406", "UT409", "UT704"),
)
def alike(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Different examples have nearly parallel representations before the last layers.

    What:
        Layer after layer the directions of different examples (nodes of a graph, tokens, images) come closer, until
        before the last layers they are the same to five digits.
    Why it is bad:
        The last layers can't tell examples apart: outputs are one constant, the loss stays at what a constant reaches,
        and gradients of different examples cancel. Averaging over neighbours does it (over-smoothing of deep graph
        networks, attention without residual connections), so do deep plain stacks in their ordered phase, and
        objectives that a constant minimises (contrastive learning without negatives).
    Evidence:
        ``1 - cosine``: mean over pairs of examples, before the layer nearest to the loss; ``1 - cosine at most``: where
        examples differ most. In a run ``loss start`` and ``loss end``.
    Threshold:
        Under 1e-5 before the last two layers, and a thousand times less than where examples differ most. Of plain
        networks at PyTorch's default start those with 3e-5 or less took three times as long as their shallow twins
        with Adam, and never learned with SGD; with 2e-4 or more all learned. Untrained transformers have 1e-2 and
        more, where single layers of theirs (a class token's head) may have less: the last layer alone counts
        under 1e-6, and if the next steps, tried on copies, or those of a run don't part them. A run is told if it is
        still so at its end, or if its loss has fallen by less than 5 % since it began so. Outputs that are normalised
        to length 1: under 3e-3 at the end of a run, and 30 times less than at first; where two that both learn are
        brought together, under 0.05 and 10 times less: those held apart keep 0.3 and more; where the loss is nothing
        but a difference of two outputs that both learn, under 0.02 before the last layers and 5 times less. At the
        start of a recurrent network it is a note: of LSTMs with torch's start 5 layers learned with it, 6 did not.
        Where attention's queries and keys get less than 1e-5 of the gradient in the two layers nearest to the loss or
        more, and look sharply at nothing, the positions of each example are alike: without residual connections six
        blocks were at 1e-8 and came to a loss of 1.2 where their twin with them came to 0.2; with them it is 0.02.
        Or all layers are given the same for every example (to six digits), and the targets differ.
        A note, too, if after ten steps of the optimizer, tried on copies, they are apart by 1e-3 and the loss is 1 %
        lower: a class token that sees the patches through LayerScale is the same for all before its first step.
    What to do:
        Residual connections (for graph networks from the first layer on, as in GCNII), fewer layers, critical
        initialisation (He for ReLU), normalisation over the batch; for contrastive objectives negatives, a stopped
        gradient or variance terms.
    References:
        Schoenholz et al. 2017 (deep information propagation); Li, Han, Wu 2018 and Oono, Suzuki 2020 (over-smoothing);
        Dong, Cordonnier, Loukas 2021 (rank collapse); Chen, He 2021 (SimSiam).
    """
    seen = _look(diagnosis.run, diagnosis.step)
    if seen is not None and seen["sites looked at"] == 1 and "ahead" not in diagnosis.run.header:
        seen = None  # a class token's head looks like this, too, until the first steps
    if seen is not None:
        found = _finding(diagnosis.run, seen, _sentence(diagnosis.run, seen))
        found = examples_told_apart(diagnosis, diagnosis.run.sites[int(seen["site"])]).on(found)
        ahead, now = diagnosis.run.header.get("ahead", {}), float(diagnosis.run.header.get("loss", np.nan))
        passing = ahead.get("alike") is False and ahead["loss"] < now - LEARNS * abs(now)
        if passing:
            found = replace(found, message=f"{found.message} After {ahead['steps']} steps they can be told apart.")
        yield replace(found, severity=Severity.NOTE) if passing or _has_gates(diagnosis.run) else found
    elif (same := _same_inputs(diagnosis)) is not None:
        yield same
    elif (seen := alike_positions(diagnosis.run, diagnosis.step)) is not None:
        yield _of_positions(diagnosis, seen)


def _same_inputs(diagnosis: Diagnosis) -> Finding | None:
    """Return what to say of a batch whose examples are the same where they come in, though their targets differ."""
    run, distance = diagnosis.run, 1 - diagnosis.column("input_cosine")
    sites = [site for site in run.sites if _counts(site) and np.isfinite(distance[site.index])]
    if len(sites) < LAST_LAYERS or not targets_differ(diagnosis):
        return None
    if max(float(distance[site.index]) for site in sites) > THE_SAME:
        return None
    text = (
        f"All examples are the same already before {called(run, sites[-1])}: no layer can tell them apart, and their "
        "targets differ."
    )
    seen = {"1 - cosine at most": max(float(distance[site.index]) for site in sites), "site": float(sites[-1].index)}
    return inputs_looked_at().on(_finding(run, seen, text))


def all_alike(diagnosis: Diagnosis) -> bool:
    """Tell whether examples look the same before the last layers: worth a look at the steps that follow."""
    return "input_cosine" in diagnosis.run.columns and _look(diagnosis.run, diagnosis.step) is not None


def hardly_apart(diagnosis: Diagnosis) -> bool:
    """Tell whether examples that looked the same some steps before still nearly do."""
    return "input_cosine" in diagnosis.run.columns and _look(diagnosis.run, diagnosis.step, APART_ABOVE) is not None


@rule("UT205", "examples become alike", over=RUN)
def alike_in_time(history: RunHistory) -> Iterator[Finding]:
    """Judge the last steps at which it was measured, and the first one where the loss has not fallen since."""
    rows = np.flatnonzero(history.measured("input_cosine") & history.finite).tolist()
    seen = [_look(history.run, row) for row in rows]
    same = [_same_inputs(Diagnosis(history.run, row)) for row in rows] if rows and not any(seen) else []
    if any(seen) and _lasts(history, seen):
        yield _of_layers(history, rows, seen)
        return
    if len(same) >= LASTING and (known := [each for each in same if each is not None]) and len(known) > len(same) / 2:
        yield replace(known[-1], began=int(history.first_step), from_start=True)
        return
    yield from _of_outputs(history, rows)
    yield from _of_positions_in_time(history, rows)


def _of_positions_in_time(history: RunHistory, rows: Sequence[int]) -> Iterator[Finding]:
    positions = [alike_positions(history.run, row) for row in rows]
    if len(positions) > 1 and None not in positions[-2:]:
        first = max((n + 1 for n, each in enumerate(positions) if each is None), default=0)
        found = _of_positions(Diagnosis(history.run, rows[-1]), positions[-1] or {})
        yield replace(found, began=int(history.steps[rows[first]]), from_start=first == 0)


def _of_positions(diagnosis: Diagnosis, seen: Mapping[str, float]) -> Finding:
    text, site = positions_sentence(diagnosis.run, seen), diagnosis.run.sites[int(seen["site"])]
    limit = f"queries and keys get under {NOTHING_LEFT:g} of the gradient in the last layers, no row being one-hot"
    found = replace(_finding(diagnosis.run, seen, text), threshold=limit)
    return examples_told_apart(diagnosis, site).on(found)


def _of_layers(history: RunHistory, rows: Sequence[int], seen: Sequence[Mapping[str, float] | None]) -> Finding:
    run = history.run
    place = next(n for n in reversed(range(len(seen))) if seen[n] is not None)
    first = place
    while first > 0 and seen[first - 1] is not None:
        first -= 1
    last = dict(seen[place] or {})
    losses = _losses(history)
    stuck = f" The loss went from {size(losses['loss start'])} to {size(losses['loss end'])}." if losses else ""
    text = f"{_sentence(run, last)}{stuck}"
    found = _finding(run, last | losses, text, int(history.steps[rows[first]]), first == 0)
    return examples_told_apart(Diagnosis(run, rows[place]), run.sites[int(last["site"])]).on(found)


def _of_outputs(history: RunHistory, rows: Sequence[int]) -> Iterator[Finding]:
    """Judge outputs of which only the direction counts: they had different ones, and lost them."""
    run = history.run
    depth = weight_depth(run)
    sites = [s for s in run.sites if s.op == "linalg_vector_norm" and not depth[s.index] and _divides(run, s)]
    found = [site for site in sites if _collapsed(history, rows, site, *ONE_OUTPUT)]
    pair = [site for site in sites if _collapsed(history, rows, site, *TWO_OUTPUTS)]
    if found or len(pair) > 1:
        yield _one_way(history, rows, (found or pair)[0], (ONE_OUTPUT if found else TWO_OUTPUTS)[0])
    elif rows and only_agreement(run):
        layers = [s for s in run.sites if _counts(s) and np.isfinite(_distances(history, rows, s)).all()]
        nearest = [s for s in layers if depth[s.index] == min(depth[each.index] for each in layers)]
        if nearest and all(_collapsed(history, rows, site, *AGREEING) for site in nearest):
            yield _one_way(history, rows, nearest[0], AGREEING[0])


def _distances(history: RunHistory, rows: Sequence[int], site: Site) -> NDArray[np.floating]:
    return 1 - np.asarray(history.run.columns["input_cosine"], float)[rows, site.index]


def _collapsed(history: RunHistory, rows: Sequence[int], site: Site, below: float, fell_by: float) -> bool:
    """Tell whether what is normalised was different for different examples, and is alike at the end."""
    distance = _distances(history, rows, site)
    return len(rows) >= LASTING and bool(np.nanmax(distance[-2:]) <= below and distance[0] > fell_by * distance[-1])


def _one_way(history: RunHistory, rows: Sequence[int], site: Site, below: float) -> Finding:
    distance = _distances(history, rows, site)
    alike = distance <= below
    first = len(alike) - int(np.argmin(alike[::-1]))
    numbers = {"1 - cosine": max(float(distance[-1]), 0.0), "1 - cosine at first": float(distance[0])}
    text = (
        f"The outputs of all examples have come to point one way: 1 - the mean cosine of two was "
        f"{distance[0]:.2g} at first and is {numbers['1 - cosine']:.1g}. A constant minimises this loss."
    )
    numbers |= {"site": float(site.index)}
    found = _finding(history.run, numbers | _losses(history), text, int(history.steps[rows[first]]))
    return outputs_held_apart().on(found)


def _divides(run: Run, site: Site) -> bool:
    """Tell whether what the norm was taken of is divided by it: the gradient of both arrives at one Site."""
    receivers = {run.edges[edge].target for edge in run.outgoing[site.index]}
    givers = {run.sites[run.edges[edge].source].op for target in receivers for edge in run.incoming[target]}
    return bool(givers & {"div", "mul"})


def _lasts(history: RunHistory, seen: Sequence[Mapping[str, float] | None]) -> bool:
    """Tell whether it is so at the end, or was so at first and kept the loss where it was."""
    if seen[-1] is not None and (len(seen) < 2 or seen[-2] is not None):
        return True
    losses = _losses(history)
    if seen[0] is None or not losses:
        return False
    return losses["loss start"] - losses["loss end"] < HARDLY_FELL * abs(losses["loss start"])


def _losses(history: RunHistory) -> dict[str, float]:
    """Return where the loss came from and got to; nothing where too few were noted."""
    ends = loss_ends(history)
    return {} if ends is None else {"loss start": ends[0], "loss end": ends[1]}


def _look(run: Run, row: int, below: float = ALIKE_BELOW) -> dict[str, float] | None:
    """Return how alike examples are before the last layers, and the Site; None if they can be told apart."""
    distance = 1 - np.asarray(run.column("input_cosine", row), float)
    sites = [site for site in run.sites if _counts(site) and not np.isnan(distance[site.index])]
    if len(sites) < LAST_LAYERS:
        return None
    by_depth: dict[int, list[Site]] = {}
    depth = weight_depth(run)
    for site in sites:
        by_depth.setdefault(int(depth[site.index]), []).append(site)
    if len(by_depth) < LAST_LAYERS:
        return None
    most = max(float(distance[site.index]) for site in sites)
    differs = max(sites, key=lambda site: distance[site.index])
    for levels, limit in ((LAST_LAYERS, below), (1, below * OF_ONE)):
        nearest = [site for level in sorted(by_depth)[:levels] for site in by_depth[level]]
        worst = max(float(distance[site.index]) for site in nearest)
        if worst < min(limit, max(OF_THE_INPUTS, limit) * most) and most >= DIFFERENT_ABOVE:
            return {
                "1 - cosine": max(float(distance[nearest[0].index]), 0.0),
                "1 - cosine at most": most,
                "site": float(nearest[0].index),
                "site of most": float(differs.index),
                "sites looked at": float(levels),
            }
    return None


def _has_gates(run: Run) -> bool:
    """Tell whether a recurrent network is in it: these were seen to tell apart what is closer, if given time."""
    return any(site.module_type in _RECURRENT for site in run.sites)


def _counts(site: Site) -> bool:
    """Tell whether a Site multiplies enough rows of enough numbers for a cosine to say something."""
    if site.role is not Role.WEIGHT or not site.weight_shape or not site.n_out:
        return False
    inputs, rows = math.prod(site.weight_shape) / site.n_out, math.prod(site.shape) / site.n_out
    return bool(inputs >= FEWEST_INPUTS and rows >= FEWEST_ROWS)


def _sentence(run: Run, seen: Mapping[str, float]) -> str:
    at, before = (called(run, run.sites[int(seen[name])]) for name in ("site", "site of most"))
    cosine, least = 1 - seen["1 - cosine"], 1 - seen["1 - cosine at most"]
    return (
        f"All examples look the same to {at}: its inputs for any two of them point the same way (mean cosine "
        f"{cosine:.3g}, where it is {least:.1g} before {before})."
    )


def _finding(
    run: Run, seen: Mapping[str, float], text: str, began: int | None = None, from_start: bool = False
) -> Finding:
    site, numbers = run.sites[int(seen["site"])], {k: v for k, v in seen.items() if not k.startswith("site")}
    return Finding(
        "UT205",
        "examples become alike",
        Severity.WARNING,
        (site.index,),
        site.name,
        text,
        numbers,
        _LIMIT,
        _EQUATION,
        began=began,
        from_start=from_start,
    )
