"""UR4xx, levels C and D: what stands behind the last layer."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from undertow.diagnosis import Diagnosis
from undertow.remedies.anatomy import anatomy, fresh, replace_module
from undertow.remedies.changing import on_model
from undertow.remedies.facts import BOUNDED, known_facts
from undertow.remedies.heads import (
    BOUNDING,
    BOUNDING_NAMES,
    SQUASHING,
    SQUASHING_NAMES,
    behind_head,
    head_of,
    identity_lines,
    path_of_head,
)
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.rewiring import RewiredLoss, Rewiring, functions_called, rewire, through
from undertow.remedies.survey import surveyed
from undertow.training import Training


@remedy("UR401", "outputs as logits", "C", ["UT503"])
def logits(training: Training) -> Training:
    """Leave the softmax or sigmoid at the model's end to the loss, which has one of its own.

    What it changes:
        While the loss is computed, the first softmax, log-softmax or sigmoid behind the last layer hands on what it is
        given, wherever it stands: a module, a call in ``forward`` or in the loss. A score gets what it got before.
    When:
        Outputs are squashed twice: softmax before cross entropy, sigmoid before BCEWithLogits.
    Predicts:
        The head's gradient is no longer multiplied by the extra slope, 1/4 at most for a sigmoid.
    References:
        PyTorch documentation, CrossEntropyLoss: "the input is expected to contain the unnormalized logits".
    """
    return replace(training, loss=RewiredLoss(training.loss, _first_behind_head(training)))


def _first_behind_head(training: Training) -> Rewiring:
    return Rewiring(SQUASHING_NAMES, through, head_of(training), behind=True, once=True)


@logits.proposes
def _proposed_logits(diagnosis: Diagnosis) -> Iterator[Proposal]:
    end = known_facts(diagnosis).get("end", "")
    if any(finding.code == "UT503" for finding in diagnosis.findings):
        yield Proposal({}, "outputs are squashed twice", 1.0)
    elif end in ("softmax", "sigmoid") and _squashing_loss(diagnosis):
        yield Proposal({}, f"a {end} stands in front of a loss that may have its own", 0.6)


def _squashing_loss(diagnosis: Diagnosis) -> bool:
    """Tell whether the loss has a softmax or a sigmoid of its own."""
    ops = [site.op.lower() for site in diagnosis.run.sites]
    return any("with_logits" in op or "log_softmax" in op or "cross_entropy" in op for op in ops)


@logits.written
def _logits_lines() -> str:
    return "# in forward(): return what the last layer makes, without softmax or sigmoid; the loss has its own"


@logits.written_for
def _logits_lines_for(training: Training) -> str:
    return identity_lines(training, SQUASHING) or _logits_lines()


@remedy("UR402", "an output without bounds", "D", ["UT705", "UT202", "UT201", "UT109"])
def unbounded(training: Training) -> Training:
    """Take the activation off the model's output.

    What it changes:
        The first ReLU, sigmoid, tanh or clamp behind the last layer, module or function, hands on what it is given.
    When:
        Targets lie where the output's activation can't reach: below zero behind a ReLU, beyond one behind a tanh.
    Predicts:
        Outputs can be any number; dead outputs get gradient again.
    References:
        Goodfellow, Bengio, Courville 2016, section 6.2.2 (output units).
    """
    return on_model(training, _Unbounded(training))


@unbounded.proposes
def _proposed_range(diagnosis: Diagnosis) -> Iterator[Proposal]:
    codes = {finding.code for finding in diagnosis.findings}
    facts = known_facts(diagnosis)
    end, targets = facts.get("end", ""), facts.get("targets", {})
    low, high = BOUNDED.get(end, (-math.inf, math.inf))
    if "UT705" in codes:
        yield Proposal({}, "the output's activation can't reach the targets", 1.0)
    elif end and targets.get("numbers") and (targets["lowest"] < low or targets["highest"] > high):
        reach = f"{targets['lowest']:.3g} to {targets['highest']:.3g}"
        yield Proposal({}, f"targets reach from {reach}, and the output ends with a {end}", 0.95)
    elif end or codes & {"UT202", "UT109"}:
        yield Proposal({}, f"the output ends with a {end or 'bounding activation'}", 0.45)


@unbounded.written
def _range_lines() -> str:
    return "# in forward(): return what the last layer makes, with no activation behind it: targets can be any number"


@unbounded.written_for
def _range_lines_for(training: Training) -> str:
    return identity_lines(training, BOUNDING) or _range_lines()


@dataclass(frozen=True)
class _Unbounded:
    training: Training

    def __call__(self, model: nn.Module) -> None:
        seen = anatomy(model, self.training)
        if modules := behind_head(seen, BOUNDING):
            replace_module(model, modules[0].name, nn.Identity())
            return
        head = path_of_head(seen, model, self.training)
        rewiring = Rewiring(BOUNDING_NAMES, through, head, behind=True, once=True)
        if not functions_called(model, self.training, rewiring):
            raise ValueError("the model has no activation behind its last layer")
        rewire(model, rewiring)


@remedy("UR410", "a sigmoid for an output that is a yes or no", "D", ["UT109", "UT202", "UT704"])
def one_sigmoid(training: Training) -> Training:
    """Take a sigmoid where something else makes a probability of a yes or no.

    What it changes:
        The softmax, ReLU or other bounding function behind the last layer, module or function: of one output, or of
        several that binary cross entropy asks for a yes or no each.
    When:
        A softmax over one number is always 1, one over labels of which several hold lets only one be likely, and what a
        ReLU makes is no probability: nothing, or not half of what is there, can be learned through it.
    Predicts:
        Outputs lie between 0 and 1, and each has a slope.
    References:
        Goodfellow, Bengio, Courville 2016, section 6.2.2.2.
    """
    seen, head = anatomy(fresh(training), training), head_of(training)
    made = seen.made if seen.head is None else seen.head.made
    single = made is not None and made.shape[1 if made.ndim > 3 else -1] == 1
    if not single and "binary_cross_entropy" not in surveyed(fresh(training), training).calls:
        raise ValueError("the last layer has more than one output")
    rewiring = Rewiring(BOUNDING_NAMES, torch.sigmoid, head, behind=True, once=True)
    return on_model(training, partial(_rewired, rewiring=rewiring))


def _rewired(model: nn.Module, rewiring: Rewiring) -> None:
    rewire(model, rewiring)


@one_sigmoid.proposes
def _proposed_sigmoid(diagnosis: Diagnosis) -> Iterator[Proposal]:
    end, survey = known_facts(diagnosis).get("end", ""), known_facts(diagnosis).get("survey", {})
    if end == "softmax" and survey.get("one_class"):
        yield Proposal({}, "the output ends with a softmax over one number, which is always 1", 0.9)
    elif end and end != "sigmoid" and "binary_cross_entropy" in survey.get("calls", ()):
        yield Proposal({}, f"the loss takes its input for a probability, and the output ends with a {end}", 0.9)


@one_sigmoid.written
def _sigmoid_lines() -> str:
    return "# in forward(): torch.sigmoid(self.head(x)) in place of what stands behind the last layer"
