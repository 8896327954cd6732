"""Say in few words what a diagnosis comes to: the verdict, and the sentences that every rendering shares."""

import math

from undertow.analysis.attribution import product
from undertow.analysis.gradient_path import SMALLEST, Decay, GradientPath
from undertow.analysis.theory_check import SegmentPrediction
from undertow.analysis.theory_check.gain_model import BY_CHANCE
from undertow.diagnosis import Diagnosis
from undertow.formatting import signed
from undertow.record import Finding, Severity
from undertow.rules import RULES
from undertow.rules.registry import holds_for
from undertow.wording import called, sentence, times_of_decades

WORTH_SAYING = 0.02
"""Decades that a cause must make to be named."""

AS_LARGE = 0.1
"""Decades: a gradient that changes by less from end to end is called unchanged."""


def verdict(diagnosis: Diagnosis) -> tuple[str, str]:
    """Return the verdict in two or three words, and in a sentence or two.

    Example:
        >>> from undertow.record import Run
        >>> verdict(Diagnosis(Run({}, ())))
        ('no weights', 'No gradient goes through any layer with weights.')
    """
    worst = next(filter(is_fault, diagnosis.findings), None)
    if worst is not None:
        return worst.name, worst.message
    doubtful = next(filter(is_doubtful, diagnosis.findings), None)
    if doubtful is not None:
        return f"no fault for sure, but {doubtful.name}", doubtful.message
    if diagnosis.gradient_path is None or not diagnosis.gradient_path.waypoints:
        return "no weights", "No gradient goes through any layer with weights."
    return "nothing wrong on the gradient's way", f"{_size(diagnosis.gradient_path)}{_unjudged(diagnosis)}"


def is_fault(finding: Finding) -> bool:
    """Tell whether a finding is a fault, and no mere note."""
    return finding.severity is not Severity.NOTE


def is_doubtful(finding: Finding) -> bool:
    """Tell whether a note may be a fault, which one pass can't tell: a verdict that is silent of it would mislead."""
    return not is_fault(finding) and finding.code in RULES and holds_for(RULES[finding.code].doubtful, finding)


def how_bad(diagnosis: Diagnosis) -> str:
    """Say what the worst finding comes to for the training; empty where there is no fault.

    Example:
        >>> from undertow.record import Run
        >>> late = Finding("UT101", "vanishing", Severity.ERROR, (), "", "")
        >>> how_bad(Diagnosis(Run({}, ()), findings=[late])), how_bad(Diagnosis(Run({}, ())))
        ("Error: it can't learn as it stands.", '')
    """
    worst = next(filter(is_fault, diagnosis.findings), None)
    return "" if worst is None else sentence(f"{worst.severity}: {worst.severity.meaning}.")


def _unjudged(diagnosis: Diagnosis) -> str:
    """Say that nobody looked at the optimizer's steps, where none was given."""
    none = str(diagnosis.run.header.get("optimizer", "")).startswith("none")
    return " No optimizer was given: give it, and its steps are judged, too." if none else ""


def by_cause(diagnosis: Diagnosis, finding: Finding) -> str:
    """Say what makes a finding on the gradient's scale, in decades; empty for any other, and where nothing is known.

    Example:
        >>> from undertow.record import Run
        >>> by_cause(Diagnosis(Run({}, ())), Finding("UT101", "vanishing", Severity.ERROR, (), "", ""))
        ''
    """
    if diagnosis.gradient_path is None or finding.code not in RULES or not RULES[finding.code].by_cause:
        return ""
    waypoints = diagnosis.gradient_path.decay().waypoints
    causes = product(gain for gain in diagnosis.gains if waypoints[0] <= gain.start and gain.end <= waypoints[-1])
    decades = {cause: math.log10(factor) for cause, factor in causes.items() if 0 < factor < math.inf}
    ranked = sorted(decades.items(), key=lambda item: -abs(item[1]))
    shown = ", ".join(f"{cause} {signed(d)}" for cause, d in ranked if abs(d) >= WORTH_SAYING)
    return f"By cause, in decades: {shown}." if shown else ""


def _size(path: GradientPath) -> str:
    """Say how much of the gradient arrives at the front, in factors."""
    found = path.decay()
    first, last = (called(path.run, path.run.sites[found.waypoints[end]]) for end in (0, -1))
    if math.isnan(found.total) or path.gradient[0] <= SMALLEST:
        return f"What {last} gets of the gradient is no number to compare."
    if len(found.waypoints) < 2 or abs(found.total) < AS_LARGE:
        said = f"{last} gets as much gradient as {first}." if first != last else f"{last} gets its gradient."
        return sentence(said)
    return sentence(f"{last} gets {times_of_decades(found.total)} gradient than {first}.")


def change_on_the_way(decay: Decay) -> str:
    """Say how the gradient changes from the loss to the front, in factors and then in decades; no full stop.

    Example:
        >>> change_on_the_way(Decay(-0.9, -4.52, True, (0,)))
        'From the loss to the front the gradient gets 33,000 times smaller (−4.52 decades, −0.90 a layer or join)'
    """
    decades = f"({signed(decay.total)} decades, {signed(decay.rate)} a layer or join)"
    if abs(decay.total) < AS_LARGE:
        return f"From the loss to the front the gradient keeps its size {decades}"
    return (
        f"From the loss to the front the gradient gets {times_of_decades(decay.total, 'smaller', 'larger')} {decades}"
    )


def model_name(diagnosis: Diagnosis) -> str:
    """Return what the model is called."""
    return str(diagnosis.run.header.get("model", "model"))


def headline(diagnosis: Diagnosis) -> str:
    """Return the model and the verdict, as a title.

    Example:
        >>> from undertow.record import Run
        >>> headline(Diagnosis(Run({"model": "Net"}, ())))
        'Net: no weights'
    """
    return f"{model_name(diagnosis)}: {verdict(diagnosis)[0]}"


def loss(diagnosis: Diagnosis) -> float:
    """Return the loss at the step; nan where nobody noted it."""
    steps = diagnosis.run.steps
    return float(steps["loss"][diagnosis.step] if "loss" in steps else diagnosis.run.header.get("loss", math.nan))


def chance_range(prediction: SegmentPrediction) -> tuple[float, float]:
    """Return the gains between which chance alone puts a segment: lowest, highest.

    Example:
        >>> low, high = chance_range(SegmentPrediction(0, 2, "fc2", measured=-0.7, expected=-0.2, spread=0.05))
        >>> round(low, 3), round(high, 3)
        (0.398, 1.0)
    """
    reach = BY_CHANCE * prediction.spread
    return 10 ** (prediction.expected - reach), 10 ** (prediction.expected + reach)
