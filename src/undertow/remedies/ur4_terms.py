"""UR4xx, level D: terms of a loss that aren't of one size."""

from collections.abc import Iterator
from dataclasses import replace

from undertow.diagnosis import Diagnosis
from undertow.remedies.anatomy import fresh
from undertow.remedies.facts import known_facts, unlearned
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.rewiring import RewiredLoss
from undertow.remedies.survey import surveyed
from undertow.remedies.terms import Weighed
from undertow.training import Training

MOST_TERMS = 4
SMALL = (1e-2,)
"""Factor of a term, where nobody knows how large its gradient is."""

FURTHER = 0.01
"""Part of what makes two gradients equal, for a term that shall only keep another in bounds."""


@remedy("UR418", "one term of the loss weighed less", "D", ["UT507", "UT704"])
def weighed(training: Training, term: int = 1, factor: float = 0.01) -> Training:
    """Multiply one of the terms that the loss adds up.

    What it changes:
        One side of a sum of two numbers in the loss, outside of every module's forward pass. The score stays.
    When:
        A term's gradient is so much larger than another's that the shared layers learn for it alone: a divergence that
        is added up beside an error that is a mean, losses in different units.
    Predicts:
        The ratio of the two gradients is multiplied by the factor.
    References:
        Kendall, Gal, Cipolla 2018; Chen et al. 2018 (GradNorm); Higgins et al. 2017 (beta-VAE).
    """
    if not 0 <= term <= surveyed(fresh(training), training).sums:
        raise ValueError(f"the loss adds up no {term + 1} terms")
    return replace(training, loss=RewiredLoss(training.loss, Weighed(term, factor)))


@weighed.proposes
def _proposed_weights(diagnosis: Diagnosis) -> Iterator[Proposal]:
    sums = int(known_facts(diagnosis).get("survey", {}).get("sums", 0))
    drowned = [finding for finding in diagnosis.findings if finding.code == "UT507"]
    ratio = min((float(each.evidence.get("ratio", 1.0)) for each in drowned), default=0.0)
    factors = (ratio, FURTHER * ratio) if ratio > 0 else SMALL
    if sums and (drowned or unlearned(diagnosis)):
        for term in range(min(MOST_TERMS, sums + 1)):
            for place, factor in enumerate(factors):
                urgency = (0.8 if drowned else 0.35) - 0.05 * place
                yield Proposal(
                    {"term": term, "factor": float(f"{factor:.2g}")}, "its terms aren't of one size", urgency
                )


@weighed.written
def _weight_lines(term: int = 1, factor: float = 0.01) -> str:
    return f"# in the loss: multiply its term number {term + 1} by {factor:g}"
