"""UT109: one operation turns a gradient that was there into exactly zero."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Role, Run, Severity, Site
from undertow.rules.advice.cuts import against_cut
from undertow.rules.drawn_codes import lost_in_the_forward_pass
from undertow.rules.lost_means import least_gradient, lost_in_a_mean
from undertow.rules.registry import Blocks, rule
from undertow.rules.rounding import SMALLEST_HALF, received_rms
from undertow.wording import called, few

PRODUCTS = frozenset(
    ["mul", "addmm", "mm", "addmv", "mv", "dot", "bmm", "baddbmm", "linear", "mkldnn_linear", "convolution", "addcmul"]
)
STEPS = frozenset({"round", "floor", "ceil", "trunc", "sign", "heaviside", "fix"})
LIMITS = frozenset({"clamp", "clamp_min", "clamp_max", "hardtanh", "hardsigmoid", "hardswish", "minimum", "maximum"})
CHOOSES = ("index", "gather", "scatter", "select", "take", "masked", "where", "embedding")
"""Operations that pass gradient to what was chosen: the rest may be chosen the next time."""

PUT_TOGETHER = frozenset({"cat", "stack"})
_RESHAPED = frozenset({"view", "unsafe_view", "reshape", "transpose", "permute", "t", "clone", "squeeze", "unsqueeze"})
SWITCHED_OFF = "a product with a constant that is zero"
CANCELS = "a value is subtracted from itself"
BEHIND_WEIGHTS = "what its weights go through before they are multiplied, such as sign or round, has derivative 0"
MATRICES = frozenset({"addmm", "mm", "linear", "mkldnn_linear"})
HOOKED = "its weights aren't zero: a hook on what goes into it, or a factor of 0, takes it away"
OF_SOME_SIZE = 1e-5
"""A gradient's root mean square that no precision makes zero of on its way through weights."""

UNDERFLOWS = "its gradient is too small for the float16 that stands in front of it"
MULTIPLIES = PRODUCTS - {"mul", "addcmul", "dot"}

MANY_VALUES = 64
"""Values of which dropout drops all at p = 1 only."""


@dataclass(frozen=True)
class GradientCut:
    """A place where a gradient ends, and the parameters that get none for it."""

    site: Site
    parameters: tuple[str, ...]
    why: str
    severity: Severity


@rule(
    "UT109",
    "gradient cut",
    columns=("grad_output",),
    explains=("UT101", "UT104", "UT105", "UT202", "UT205", "UT402", "UT408", "UT704"),
    blocks_converged=Blocks.BEFORE,
)
def cut(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Parameters get exactly zero, as one operation made it of a gradient that was there.

    What:
        A gradient arrives at an operation, and exactly nothing leaves it: softmax over one unit, a clamp or ReLU
        outside of its range for every value, rounding, layer norm of one feature, or a product whose two factors are
        both zero. Or it comes by two ways that cancel, as where a value is subtracted from itself (its own mean). Or
        weights are rounded before they are multiplied, or only their sign is taken. Or the mean is looked at of what a
        normalisation made, whose mean is always its bias. Or a hook on a tensor multiplies its gradient by 0. Or the
        loss holds a second derivative of a network of ReLUs, which is zero everywhere, or a latent code is drawn
        without gradient (`examine` sees both).
    Why it is bad:
        No parameter behind it learns, and since what comes into it can't change either, none ever will.
    Evidence:
        ``received``: norm of the gradient that arrives; ``parameters``: how many get exactly zero for it.
    Threshold:
        Exactly zero, out of a norm that is no underflow; of a normalisation under a millionth, which is rounding. A
        product with zero weights cuts only if those weights get no gradient themselves: a zero-initialised branch or
        head learns, and opens the way. Ways that cancel do so in every number, for all parameters of a layer; a note
        where that is a normalisation alone. Zero inputs to weights that aren't zero are none. A note where the factor
        of zero is a constant (a term switched off, a dropped path), unless it leaves more than half of all parameters
        without, where the attention has one key only, or where parts of a concatenation were not chosen (experts of a
        mixture) or biases alone get none through the slopes of a gradient penalty, and nothing where the loss itself
        is 0, as with a hinge that all examples satisfy.
    What to do:
        No ReLU behind the last layer; a larger range, or none, for the clamp; two outputs for a softmax, or a sigmoid.
        Round with a straight-through estimator. Of two factors let one start at random, the other at zero.
    References:
        Hu et al. 2022 (LoRA: A at random, B at zero); Bengio, Leonard, Courville 2013 (straight-through estimator).
    """
    if (lost := lost_in_a_mean(diagnosis) or lost_in_the_forward_pass(diagnosis.run)) is not None:
        yield lost
        return
    zero, valueless = _zeros(diagnosis)
    satisfied = _loss(diagnosis) == 0.0 and not _of_one_unit(diagnosis)
    if not zero or not diagnosis.finite or satisfied:
        return
    cuts = (each for each in _cuts(diagnosis, zero, valueless) if each.why != UNDERFLOWS)
    for found in _weighed(diagnosis.run, _merged(cuts)):
        where = found[0]
        advice = against_cut(diagnosis, where.site, where.why, where.parameters, valueless)
        yield advice.on(_finding(diagnosis, found))


def underflowing(diagnosis: Diagnosis) -> list[GradientCut]:
    """Return operations that get a gradient and pass zero on, as it is too small for float16; empty if there are none.

    Under autocast weights are float32: only the zero tells that what lies between is not.

    Example:
        >>> underflowing(Diagnosis(Run({}, ())))
        []
    """
    cuts = _cuts(diagnosis, *_zeros(diagnosis)) if diagnosis.run.sites and diagnosis.finite else ()
    return [found for found in cuts if found.why == UNDERFLOWS]


def _zeros(diagnosis: Diagnosis) -> tuple[set[str], set[str]]:
    """Return parameters whose gradient is zero, and those of them that are zero themselves."""
    run, header = diagnosis.run, diagnosis.run.header
    if "zero gradients" in header:
        return set(header["zero gradients"]), set(header["zero values"])
    if not {"grad_norm", "weight_norm"} <= run.parameter_columns.keys() or "step" not in run.steps:
        return set(), set()
    rows = np.flatnonzero(np.asarray(run.parameter_steps) == run.steps["step"][diagnosis.step])
    if not len(rows):
        return set(), set()
    gradient, value = (np.asarray(run.parameter_columns[name][rows[0]]) for name in ("grad_norm", "weight_norm"))
    return _named(run, gradient == 0), _named(run, (gradient == 0) & (value == 0))


def _named(run: Run, chosen: NDArray[np.bool_]) -> set[str]:
    return {run.parameters[place] for place in np.flatnonzero(chosen)}


def _is_cut_behind_weights(diagnosis: Diagnosis, site: Site, zero: set[str]) -> bool:
    """Tell whether weights get nothing of a gradient that data and a received gradient make: it is lost on its way."""
    weights = {name for name in site.parameters if not name.endswith("bias")}
    received, data = (diagnosis.column(name)[site.index] for name in ("grad_output", "input_rms"))
    multiplies = (
        site.role is Role.WEIGHT and site.op in MULTIPLIES and received > least_gradient(diagnosis) and data > 0
    )
    return bool(multiplies and weights and weights <= zero)


def _loss(diagnosis: Diagnosis) -> float | None:
    run = diagnosis.run
    return float(run.steps["loss"][diagnosis.step]) if "loss" in run.steps else run.header.get("loss")


def _of_one_unit(diagnosis: Diagnosis) -> bool:
    """Tell whether a softmax is over one unit: its cross-entropy is 0 whatever the network does."""
    return any(s.op in ("softmax", "log_softmax") and 1 in s.shape[1:] for s in diagnosis.run.sites)


def _cuts(diagnosis: Diagnosis, zero: set[str], valueless: set[str]) -> Iterator[GradientCut]:
    run, received = diagnosis.run, diagnosis.column("grad_output")
    starved: dict[int, set[str]] = defaultdict(set)
    cancelled = _cancelled(diagnosis, zero)
    yield from _where_ways_meet(diagnosis, cancelled)
    ends = _where_it_ends(diagnosis)
    for site in run.sites:
        mine = zero & set(site.parameters)
        if not mine or 0 in site.shape or site.index in cancelled:  # 0: an expert that no example was sent to
            continue
        if received[site.index] > 0:
            if mine & valueless:
                starved[site.index] |= mine
            elif _is_cut_behind_weights(diagnosis, site, mine):
                yield GradientCut(site, tuple(sorted(mine)), BEHIND_WEIGHTS, Severity.ERROR)
            continue
        for source in ends[site.index]:
            starved[source] |= mine
    for place, names in starved.items():
        if received[place] > least_gradient(diagnosis):
            found = _explained(diagnosis, run.sites[place], names, zero)
            if found is not None:
                yield found


def _cancelled(diagnosis: Diagnosis, zero: set[str]) -> dict[int, frozenset[int]]:
    """Return layers that get gradient by several ways whose sum is exactly zero, and where these ways end.

    They end in one Site of what the layer makes, or in one of the layer's own for each time that it is called.
    """
    run, received, inflow = diagnosis.run, diagnosis.column("grad_output"), diagnosis.column("input_rms")
    found: dict[int, frozenset[int]] = {}
    by_parameters: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for site in run.sites:
        if site.parameters and zero.issuperset(site.parameters) and 0 not in site.shape:
            by_parameters[site.parameters].append(site.index)
    arriving = _arriving(diagnosis) if by_parameters else []
    for names, places in by_parameters.items():
        at = frozenset[int]().union(*(arriving[place] for place in places))
        twice = len(places) > 1 and all(received[p] > least_gradient(diagnosis) and inflow[p] != 0 for p in places)
        if at or (twice and any("bias" not in name for name in names)):
            found |= dict.fromkeys(places, at or frozenset(places))
    return found


def _arriving(diagnosis: Diagnosis) -> list[frozenset[int]]:
    """Return, for every Site, the Sites behind which it lies whose gradient cancels as it arrives; empty if none."""
    run, received = diagnosis.run, diagnosis.column("grad_output").tolist()
    arrives = (run.edge_column("contribution", diagnosis.step) > least_gradient(diagnosis)).tolist()
    found: list[frozenset[int] | None] = []  # None: some way from here leads to where there is gradient
    for site, edges in enumerate(run.incoming):  # givers stand before receivers
        above = [found[run.edges[edge].source] for edge in edges]
        if received[site] > 0:
            found.append(None)
        elif sum(arrives[edge] for edge in edges) > 1:
            found.append(frozenset({site}))
        elif None in above:
            found.append(None)
        else:
            found.append(frozenset().union(*(each for each in above if each)))
    return [each or frozenset() for each in found]


def _where_ways_meet(diagnosis: Diagnosis, cancelled: Mapping[int, frozenset[int]]) -> Iterator[GradientCut]:
    """Report gradients that cancel, at the operation from which their ways part."""
    run = diagnosis.run
    together: dict[int, set[str]] = defaultdict(set)
    for place, ends in cancelled.items():
        above = [_above(run, end) for end in ends]
        parting = set.intersection(*above) - ends if len(above) > 1 else above[0]
        forks = [n for n in parting if len(run.outgoing[n]) > 1]
        together[max(forks, default=place)] |= set(run.sites[place].parameters)
    all_of_them = {name for site in run.sites for name in site.parameters}
    for place, names in together.items():
        yield GradientCut(run.sites[place], tuple(sorted(names)), CANCELS, _weight_of(run, names, all_of_them))


def _weight_of(run: Run, names: set[str], all_of_them: set[str]) -> Severity:
    """Return how much it matters that some parameters' gradients cancel: a branch's norm does nothing on 1 x 1 maps."""
    if 2 * len(names) >= len(all_of_them):
        return Severity.ERROR
    layers = any(site.role is Role.WEIGHT and names & set(site.parameters) for site in run.sites)
    return Severity.WARNING if layers else Severity.NOTE


def _above(run: Run, start: int) -> set[int]:
    """Return the Sites that a gradient has passed on its way to one."""
    seen, waiting = set[int](), [start]
    while waiting:
        new = {run.edges[edge].source for edge in run.incoming[waiting.pop()]} - seen
        seen |= new
        waiting += new
    return seen


def _where_it_ends(diagnosis: Diagnosis) -> list[set[int]]:
    """Return, for every Site without gradient, the Sites nearest above it that have some."""
    run, received = diagnosis.run, diagnosis.column("grad_output").tolist()
    contribution = run.edge_column("contribution", diagnosis.step).tolist()
    found: list[set[int]] = []
    for site, edges in enumerate(run.incoming):  # givers stand before receivers
        ends: set[int] = set()
        if not received[site] > 0 and not any(contribution[edge] > 0 for edge in edges):  # else they cancel: x - x
            for source in (run.edges[edge].source for edge in edges):
                ends |= {source} if received[source] > 0 else found[source]
        found.append(ends)
    return found


def _explained(diagnosis: Diagnosis, site: Site, names: set[str], zero: set[str]) -> GradientCut | None:
    parameters = tuple(sorted(names))
    if site.role is Role.NORM and (_of_one_value(diagnosis, site) or not set(site.parameters) - zero):
        return GradientCut(
            site, parameters, "a normalisation of one value, or of values that are all alike", Severity.ERROR
        )
    if site.op in PUT_TOGETHER and (above := _who_left_out(diagnosis.run, site)) is not None:
        return _not_chosen(above, parameters, zero)
    if site.op in PRODUCTS or site.op.startswith("scaled_dot_product") or site.parameters:
        return _product(diagnosis, site, parameters, zero)
    flat = site.role is Role.ACTIVATION or site.op in LIMITS or site.op in STEPS or site.op.startswith(CHOOSES)
    if not flat and 1 not in site.shape[1:] and received_rms(diagnosis, site) < SMALLEST_HALF:
        return GradientCut(site, parameters, UNDERFLOWS, Severity.ERROR)
    return _of_kind(diagnosis, site, parameters)


def _of_kind(diagnosis: Diagnosis, site: Site, parameters: tuple[str, ...]) -> GradientCut:
    """Say why an operation other than a product or a normalisation passes nothing on."""
    if site.op in ("softmax", "log_softmax", "safe_softmax"):
        if 1 in site.shape[1:]:
            severity = Severity.NOTE if diagnosis.depth[site.index] else Severity.ERROR
            return GradientCut(site, parameters, "a softmax over one unit, which is constant", severity)
        return GradientCut(site, parameters, "a softmax that is one-hot for every example", Severity.ERROR)
    if site.op.endswith("_backward") and all(name.endswith("bias") for name in parameters):
        return GradientCut(site, parameters, "it passes nothing on here", Severity.NOTE)  # a slope, as of a penalty
    if site.role is Role.ACTIVATION:
        kind = site.activation or site.op
        what = "off" if kind in ("relu", "threshold", "leaky_relu") else "flat"
        return GradientCut(site, parameters, f"it is {what} for every value of every example", Severity.ERROR)
    if site.op in LIMITS:
        return GradientCut(site, parameters, "every value lies beyond its limits", Severity.ERROR)
    if site.op in STEPS:
        return GradientCut(site, parameters, "its derivative is zero everywhere", Severity.ERROR)
    if site.op in ("div", "true_divide"):
        why = "it divides by what is inf, or so large that nothing is left: it has overflowed"
        return GradientCut(site, parameters, why, Severity.ERROR)
    severity = Severity.NOTE if site.op.startswith(CHOOSES) else Severity.WARNING
    return GradientCut(site, parameters, "it passes nothing on here", severity)


def _who_left_out(run: Run, site: Site) -> Site | None:
    """Return the operation above a concatenation that looked at some parts alone (experts); None if it isn't known."""
    above = site
    while len(run.incoming[above.index]) == 1 and (above is site or above.op in _RESHAPED):
        above = run.sites[run.edges[run.incoming[above.index][0]].source]
    return above if above.op.startswith(CHOOSES) or above.role is Role.WEIGHT else None


def _not_chosen(above: Site, names: tuple[str, ...], zero: set[str]) -> GradientCut | None:
    chooses = above.op.startswith(CHOOSES) and not set(above.parameters) - zero
    return GradientCut(above, names, "it passes nothing on here", Severity.NOTE) if chooses else None


def _of_one_value(diagnosis: Diagnosis, site: Site) -> bool:
    if "norms" not in diagnosis.run.header:
        return site.op == "native_layer_norm" and site.shape[-1:] == (1,)
    return any(norm["values"] < 2 for norm in diagnosis.run.header["norms"])


def _product(diagnosis: Diagnosis, site: Site, names: tuple[str, ...], zero: set[str]) -> GradientCut | None:
    """Return a cut where what a product is zero by gets no gradient itself; None where it is open yet."""
    own = {name for name in site.parameters if not name.endswith("bias")}
    if own - zero and site.op in MATRICES and diagnosis.column("weight_norm")[site.index] > 0:
        lost = diagnosis.column("grad_input")[site.index] == 0 and received_rms(diagnosis, site) > OF_SOME_SIZE
        return GradientCut(site, names, HOOKED, Severity.ERROR) if lost else None
    if own - zero or _learns(diagnosis, site.index, zero):
        return None
    if "Dropout" in site.module_type and math.prod(site.shape) >= MANY_VALUES:
        return GradientCut(site, names, "dropout that drops every value, as with p = 1", Severity.ERROR)
    frozen = not own and len(diagnosis.run.outgoing[site.index]) < 2
    if frozen and site.role is Role.WEIGHT:
        return GradientCut(site, names, "a product with frozen weights that are all zero", Severity.ERROR)
    if frozen:
        return GradientCut(site, names, SWITCHED_OFF, Severity.NOTE)
    return GradientCut(site, names, "a product whose two factors are both zero", Severity.ERROR)


def _learns(diagnosis: Diagnosis, start: int, zero: set[str]) -> bool:
    """Tell whether gradient goes on from a Site to some parameter that is moved by it."""
    run, received = diagnosis.run, diagnosis.column("grad_output")
    seen, waiting = {start}, [start]
    while waiting:
        for edge in run.outgoing[waiting.pop()]:
            target = run.edges[edge].target
            if target in seen or not received[target] > 0 or run.edge_column("contribution")[edge] == 0:
                continue
            if set(run.sites[target].parameters) - zero:
                return True
            seen.add(target)
            waiting.append(target)
    return False


def _merged(cuts: Iterator[GradientCut]) -> Sequence[tuple[GradientCut, int]]:
    """Join cuts that are alike, with how many there are: the one with the most parameters first."""
    alike: dict[tuple[str, Severity], list[GradientCut]] = defaultdict(list)
    for found in cuts:
        alike[found.why, found.severity].append(found)
    merged = []
    for (why, severity), same in alike.items():
        names = tuple(sorted({name for each in same for name in each.parameters}))
        first = max(same, key=lambda each: len(each.parameters))
        merged.append((GradientCut(first.site, names, why, severity), len(same)))
    return sorted(merged, key=lambda pair: (-pair[0].severity.rank, -len(pair[0].parameters)))


def _weighed(run: Run, cuts: Sequence[tuple[GradientCut, int]]) -> Iterator[tuple[GradientCut, int]]:
    """Take a constant zero that leaves most of a network without gradient for more than a term switched off."""
    everything = {name for site in run.sites for name in site.parameters}
    for found, times in cuts:
        most = found.why == SWITCHED_OFF and 2 * len(found.parameters) > len(everything)
        yield (replace(found, severity=Severity.WARNING) if most else found), times


def _finding(diagnosis: Diagnosis, found: tuple[GradientCut, int]) -> Finding:
    where, times = found
    names = where.parameters
    also = f", and at {times - 1} other place{'s' if times > 2 else ''} alike" if times > 1 else ""
    for_now = " for now" if where.severity is Severity.NOTE else ""
    does = "gets one and passes exactly zero on"
    if where.why == CANCELS:
        does = "sends the same along two ways, with opposite signs, and they cancel"
    if where.why == BEHIND_WEIGHTS:
        does = "gets one, and it is lost on the way to its weights"
    text = (
        f"{few(names)} {'gets' if len(names) == 1 else 'get'} no gradient{for_now}: "
        f"{called(diagnosis.run, where.site)} {does}{also} ({where.why})."
    )
    received = float(diagnosis.column("grad_output")[where.site.index])
    numbers = {"received": received, "parameters": float(len(names))}
    equation = "BP2 with phi' = 0, or W = 0 and x = 0: delta^l = (W^T delta^{l+1}) * phi'(z^l), dC/dW = delta x^T"
    limit = "exactly zero, out of a gradient that is no underflow"
    return Finding(
        "UT109", "gradient cut", where.severity, (where.site.index,), where.site.name, text, numbers, limit, equation
    )
