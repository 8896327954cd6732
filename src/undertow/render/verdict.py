"""Say in few words what a diagnosis comes to: the verdict, and the sentences that every rendering shares."""

import math

from undertow.analysis.attribution import product
from undertow.analysis.theory_check import SegmentPrediction
from undertow.analysis.theory_check.gain_model import BY_CHANCE
from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Severity

WORTH_SAYING = 0.02
"""Decades that a cause must make to be named."""

BY_SCALE = ("UT101", "UT102")
"""Findings on the gradient's size, which the causes explain."""


def verdict(diagnosis: Diagnosis) -> tuple[str, str]:
    """Return the verdict in two or three words, and in a sentence or two.

    Example:
        >>> from undertow.record import Run
        >>> verdict(Diagnosis(Run({}, ())))
        ('no weights', 'No gradient goes through any layer with weights.')
    """
    worst = next((f for f in diagnosis.findings if f.severity is not Severity.NOTE), None)
    if worst is not None:
        return worst.name, _sentences(worst, diagnosis)
    if diagnosis.gradient_path is None:
        return "no weights", "No gradient goes through any layer with weights."
    found = diagnosis.gradient_path.decay()
    return "nothing wrong on the gradient's way", (
        f"The gradient changes by {found.total:+.2f} decades over {len(diagnosis.gradient_path.waypoints)} layers and "
        f"joins, {found.rate:+.3f} from one to the next."
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


def _sentences(worst: Finding, diagnosis: Diagnosis) -> str:
    if diagnosis.gradient_path is None or worst.code not in BY_SCALE:
        return worst.message
    waypoints = diagnosis.gradient_path.decay().waypoints
    causes = product(gain for gain in diagnosis.gains if waypoints[0] <= gain.start and gain.end <= waypoints[-1])
    decades = {cause: math.log10(factor) for cause, factor in causes.items() if factor > 0}
    ranked = sorted(decades.items(), key=lambda item: -abs(item[1]))
    shown = [f"{cause} {d:+.2f}" for cause, d in ranked if abs(d) >= WORTH_SAYING]
    return f"{worst.message} In decades: {', '.join(shown)}."
