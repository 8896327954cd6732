"""UR4xx, level D: what a loss asks for besides."""

from collections.abc import Iterator
from dataclasses import replace

from undertow.diagnosis import Diagnosis
from undertow.remedies.facts import known_facts, unlearned
from undertow.remedies.penalties import Unpenalised
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.rewiring import RewiredLoss
from undertow.training import Training


@remedy("UR417", "a loss without a penalty on weights", "D", ["UT409", "UT704"])
def unpenalised(training: Training) -> Training:
    """Let no gradient come from the size of weights that the loss adds.

    What it changes:
        While the loss is computed, sizes of parameters that are taken outside of every module's forward pass (``abs``,
        ``norm``, ``square``, ``** 2``) are constants: the penalty is still in the number, and weights don't shrink by
        it.
    When:
        An L1 or L2 penalty is so strong that weights go to zero, and with them what the network can say.
    Predicts:
        The gradient is that of the data alone.
    References:
        Krogh, Hertz 1992; Loshchilov, Hutter 2019.
    """
    return replace(training, loss=RewiredLoss(training.loss, Unpenalised()))


@unpenalised.proposes
def _proposed_freedom(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if known_facts(diagnosis).get("survey", {}).get("penalised"):
        strong = unlearned(diagnosis) or any(finding.code == "UT409" for finding in diagnosis.findings)
        yield Proposal({}, "the loss holds a penalty on weights", 0.8 if strong else 0.4)


@unpenalised.written
def _freedom_lines() -> str:
    return "# in the loss: leave out the sum over model.parameters(), or make its factor a thousandth of what it is"
