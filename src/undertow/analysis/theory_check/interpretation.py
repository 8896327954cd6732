"""Say in words what it means where measurement and theory agree, and where they don't."""

import math
from statistics import median

from undertow.analysis.theory_check.gain_model import BY_CHANCE, ROUNDING, SQUARES
from undertow.analysis.theory_check.prediction import SegmentPrediction, TheoryCheck
from undertow.analysis.theory_check.statistics import Moments, Statistics
from undertow.record import Role, Run

LOSS, GROWTH = -1.3, 2.5
"""Decades that theory must expect from end to end before it is called a fault; as UT101 and UT102 have it."""

AGREEING = 0.5
MOST_OF_IT = 0.7
UNLIKE = 2.0
"""A weight variance this many times larger or smaller than the median is not like the others."""

LEAST_CAUSE = 0.5
"""Part of a departure that a cause must make to be named."""


def summary(found: TheoryCheck) -> str:
    """Theory against measurement in a sentence or two, from end to end.

    Example:
        >>> from undertow.analysis.theory_check import TheoryCheck, SegmentPrediction
        >>> summary(TheoryCheck((SegmentPrediction(0, 2, "fc", measured=-1.6, expected=-1.5, spread=0.05),)))
        'Theory expects -1.50 decades, give or take 0.05; measured are -1.60. Such a start brings this loss of...'
        >>> summary(TheoryCheck((SegmentPrediction(0, 2, "fc", measured=-1.1, reason="attention"),)))
        'Theory says nothing of this network: it holds attention.'
    """
    if not found.predictions:
        return ""
    if not found.covered:
        return f"Theory says nothing of this network: it holds {_listed(found.reasons)}."
    part = f" over {len(found.covered)} of {len(found.predictions)} segments" if found.reasons else ""
    text = (
        f"Theory expects {found.expected:+.2f} decades{part}, give or take {found.spread:.2f}; "
        f"measured are {found.measured:+.2f}. {_meaning(found)}"
    )
    return f"{text} No theory for {_listed(found.reasons)}." if found.reasons else text


def _meaning(found: TheoryCheck) -> str:
    agreeing = min(found.measured, found.end_to_end, key=lambda each: each * math.copysign(1.0, found.expected))
    # What normalisations elsewhere make up for is no loss.
    if not LOSS < found.expected < GROWTH and agreeing / found.expected >= AGREEING:
        word = "loss" if found.expected < 0 else "growth"
        odd = odd_one(found)
        if odd is not None:
            return f"Most of the {word} is at {odd.name}: {_oddity(found, odd)}."
        return f"Such a start brings this {word} of gradient: change the initialisation or the activation."
    if found.deviates:
        at = f", the most at {found.deviating[0].name}" if found.deviating else ", though no segment does alone"
        return f"They differ by more than chance{at}: {_main_cause(found)}."
    if found.deviating:
        count = len(found.deviating)
        return f"They differ by more than chance at {count} segment{'es' if count > 1 else ''}."
    return "Nothing departs from it by more than chance."


def _oddity(found: TheoryCheck, odd: SegmentPrediction) -> str:
    typical = typical_weight_var(found)
    if not math.isnan(odd.weight_var) and abs(math.log(odd.weight_var / typical)) > math.log(UNLIKE):
        return f"it is this layer's weights (n_in Var W = {odd.weight_var:.2g} there, the median is {typical:.2g})"
    return f"it is what goes into the activation, z of variance {odd.q:.2g}: change the inputs' scale"


def _main_cause(found: TheoryCheck) -> str:
    gap = found.measured - found.expected
    cause = max(found.deviation, key=lambda each: math.copysign(1.0, gap) * found.deviation[each], default="")
    return {
        "weights": "the weights are not independent of this gradient, as after training",
        "slope": "the activations are not where independent weights and inputs of these sizes would put them",
        "alignment": "the gradient and the activations are not independent of each other",
    }.get(cause, "branches and skips are not independent of each other")


def odd_one(found: TheoryCheck) -> SegmentPrediction | None:
    """The segment that makes most of what is expected, if there is one."""
    if len(found.covered) < 3 or not found.expected:  # of two, one always makes most
        return None
    sign = math.copysign(1.0, found.expected)
    largest = max(found.covered, key=lambda each: sign * each.expected)
    return largest if sign * largest.expected > MOST_OF_IT * abs(found.expected) else None


def typical_weight_var(found: TheoryCheck) -> float:
    """The median n_in Var W of the segments that begin with a layer; nan if there are none."""
    known = [each.weight_var for each in found.covered if not math.isnan(each.weight_var)]
    return median(known) if known else math.nan


def saying(statistics: Statistics, prediction: SegmentPrediction) -> str:
    """Return why a segment departs from theory: the cause that makes at least half of it."""
    gap = prediction.measured - prediction.expected
    cause = max(prediction.deviation, key=lambda each: math.copysign(1.0, gap) * prediction.deviation[each], default="")
    size = prediction.deviation.get(cause, 0.0)
    if size / gap < LEAST_CAUSE:
        return "branch and skip are not independent of each other" if prediction.residual else "several causes together"
    if cause == "weights":
        return _of_weights(statistics, prediction, size)
    activation = _activation(statistics, prediction)
    if cause == "alignment" or activation is None:
        return f"it is the gradient: it arrives where the activation is {'steep' if size > 0 else 'flat'}"
    return _of_slope(statistics, *activation, size)


def _of_weights(statistics: Statistics, prediction: SegmentPrediction, size: float) -> str:
    names = _listed(tuple(statistics.run.sites[layer].name for layer in prediction.layers))
    along = "stretch" if size > 0 else "shrink"
    return f"it is the weights of {names}: they {along} this gradient x {10**size:.2g} more than independent ones would"


def _of_slope(statistics: Statistics, place: int, found: Moments, size: float) -> str:
    run = statistics.run
    site = run.sites[place]
    layer = run.edges[run.outgoing[place][0]].target
    name = run.sites[layer].name
    off = f"{site.activation}' is x {10**size:.2g} of what a normal z of variance {found.q:.2g} gives"
    if statistics.bias_var[layer] > found.q / 2:
        return f"it is the biases of {name}: they outweigh its inputs, and have a mean of their own ({off})"
    signal = _signal(statistics, place, found.q)
    if abs(signal) > BY_CHANCE * math.sqrt(2 / run.sites[layer].n_out) / SQUARES + ROUNDING:
        alike = run.column("input_likeness", statistics.step)[layer]
        shared = f", {alike:.0%} of which all examples share," if alike >= LEAST_CAUSE else ""
        more = "larger" if signal > 0 else "smaller"
        return (
            f"correlated inputs: what comes into {name}{shared} is not independent of its weights, which make z of it "
            f"that is x {10 ** abs(signal):.2g} {more} than expected ({off})"
        )
    return f"the pre-activations of {name} are not normal around zero ({off})"


def _signal(statistics: Statistics, place: int, q: float) -> float:
    """Decades by which an activation's z is larger than expected; 0 if that isn't known."""
    mean_square = float(statistics.mean_square[place])
    return math.log10(mean_square / q) / 2 if mean_square > 0 and q > 0 else 0.0


def _activation(statistics: Statistics, prediction: SegmentPrediction) -> tuple[int, Moments] | None:
    """The activation of the segment whose slope is furthest from theory's."""
    inside = _inside(statistics.run, prediction)
    known = [(place, statistics.moments[place]) for place in inside if place in statistics.moments]
    slope = statistics.run.column("derivative_rms", statistics.step)

    def off(pair: tuple[int, Moments]) -> float:
        return abs(math.log(max(float(slope[pair[0]]) ** 2, 1e-300) / max(pair[1].slope2, 1e-300)))

    return max(known, key=off, default=None)


def _inside(run: Run, prediction: SegmentPrediction) -> list[int]:
    sites = range(prediction.start, prediction.end)
    return [place for place in sites if run.sites[place].role is Role.ACTIVATION]


def _listed(names: tuple[str, ...], most: int = 4) -> str:
    shown = list(names[:most]) + ([f"{len(names) - most} more"] if len(names) > most else [])
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]])) if shown else ""
