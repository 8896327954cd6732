"""UR4xx, level D: the likelihood that a loss is meant to be."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from undertow.diagnosis import Diagnosis
from undertow.operations import REGRESSION_LOSSES
from undertow.remedies.facts import known_facts
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.replacing import Replacing
from undertow.training import Training

TINY, NEARLY = 1e-6, 1e-3


@remedy("UR408", "log-probabilities for the loss that asks for them", "D", ["UT103", "UT704", "UT405"])
def normalised(training: Training) -> Training:
    """Put a log-softmax in front of a loss that takes its input for log-probabilities, and a sigmoid where one is due.

    What it changes:
        While the loss is computed, ``nll_loss`` gets its input through a log-softmax, or through a logarithm if it is
        probabilities, as ``kl_div`` does; and ``binary_cross_entropy`` through a sigmoid if it isn't between 0 and 1;
        so does ``log`` of what isn't positive.
    When:
        ``nll_loss`` of plain outputs has no lower bound: the loss falls for ever and says nothing.
    Predicts:
        The loss is that of an even guess to begin with, and not negative.
    References:
        PyTorch documentation, NLLLoss: "the input given through a forward call is expected to contain
        log-probabilities of each class".
    """
    return replace(training, loss=NormalisedLoss(training.loss))


@dataclass(frozen=True)
class NormalisedLoss:
    """A loss whose likelihoods are ones."""

    loss: Any

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        """Compute it."""
        with Replacing(_LIKELIHOODS):
            made: Tensor = self.loss(model, batch)
            return made


def _likely(func: Any, x: Tensor, *rest: Any, **named: Any) -> Any:
    axis = 1 if x.ndim > 1 else 0
    shares = bool((x >= 0).all()) and bool((x.sum(axis) - 1).abs().max() < NEARLY)
    return func(x.clamp(min=TINY).log() if shares else x.log_softmax(axis), *rest, **named)


def _logged(func: Any, x: Tensor, *rest: Any, **named: Any) -> Any:
    return func(x.clamp(min=TINY).log() if bool((x >= 0).all()) else x, *rest, **named)


def _probable(func: Any, x: Tensor, *rest: Any, **named: Any) -> Any:
    return func(x if bool(((x >= 0) & (x <= 1)).all()) else x.sigmoid(), *rest, **named)


def _positive(func: Any, x: Tensor, *rest: Any, **named: Any) -> Any:
    return func(x, *rest, **named) if bool((x > 0).all()) or not x.ndim else x.log_softmax(-1)


_LIKELIHOODS = {"nll_loss": _likely, "binary_cross_entropy": _probable, "log": _positive, "kl_div": _logged}


@normalised.proposes
def _proposed_likelihood(diagnosis: Diagnosis) -> Iterator[Proposal]:
    likely = [site for site in diagnosis.run.sites if "nll" in site.op.lower()]
    soft = any("softmax" in site.op.lower() for site in diagnosis.run.sites)
    logs = any(site.op.lower().startswith("log") and "softmax" not in site.op.lower() for site in diagnosis.run.sites)
    calls = known_facts(diagnosis).get("survey", {}).get("calls", ())
    plain = "nll_loss" in calls and not {"log_softmax", "log", "logsumexp", "logsigmoid"} & set(calls)
    if plain or ("kl_div" in calls and not {"log_softmax", "log"} & set(calls)):
        yield Proposal({}, "the loss takes its input for log-probabilities, and no logarithm is in front of it", 1.0)
    elif likely and not soft and not logs:
        yield Proposal({}, "the loss takes its input for log-probabilities, and no softmax is in front of it", 1.0)
    elif not diagnosis.finite or any(finding.code == "UT103" for finding in diagnosis.findings):
        yield Proposal({}, "the loss is no number: a logarithm may be given what isn't positive", 0.6)


@normalised.written
def _likelihood_lines() -> str:
    return (
        "# in the loss: F.cross_entropy in place of F.nll_loss, F.binary_cross_entropy_with_logits in place of its kin"
    )


@remedy("UR409", "cross entropy in place of squared error", "D", ["UT704", "UT201"])
def likelihood(training: Training) -> Training:
    """Take the likelihood of the classes for a loss where squared differences to zeros and ones were taken.

    What it changes:
        ``mse_loss``, ``l1_loss`` and their kin with targets of zeros and ones become cross entropy: of probabilities if
        the outputs are ones, else of logits.
    When:
        A classifier is trained by squared error: behind a saturated sigmoid or softmax it has no slope where it is most
        wrong.
    Predicts:
        The slope of the output's activation cancels: the gradient at the head is output minus target.
    References:
        Nielsen 2015, chapter 3 (the cross-entropy cost function); Goodfellow, Bengio, Courville 2016, section 6.2.2.
    """
    return replace(training, loss=_AsLikelihood(training.loss))


@dataclass(frozen=True)
class _AsLikelihood:
    loss: Any

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        with Replacing(dict.fromkeys(REGRESSION_LOSSES, _as_likelihood)):
            made: Tensor = self.loss(model, batch)
            return made


def _as_likelihood(func: Any, made: Tensor, target: Tensor, *rest: Any, **named: Any) -> Any:
    if made.shape != target.shape or not bool(((target == 0) | (target == 1)).all()):
        return func(made, target, *rest, **named)
    one_of_many = made.ndim > 1 and made.shape[1] > 1 and bool((target.sum(1) == 1).all())
    if bool(((made >= 0) & (made <= 1)).all()):
        sure = made.clamp(TINY, 1 - TINY)
        if one_of_many and bool((made.sum(1) - 1).abs().max() < NEARLY):
            return -(target * sure.log()).sum(1).mean()
        return functional.binary_cross_entropy(sure, target)
    if one_of_many:
        return functional.cross_entropy(made, target)
    return functional.binary_cross_entropy_with_logits(made, target)


@likelihood.proposes
def _proposed_cross_entropy(diagnosis: Diagnosis) -> Iterator[Proposal]:
    squared = any("mse" in site.op.lower() or "l1_loss" in site.op.lower() for site in diagnosis.run.sites)
    targets = known_facts(diagnosis).get("targets", {})
    if squared and (targets.get("binary") or targets.get("classes")):
        yield Proposal({}, "targets are zeros and ones, and the loss takes them for any numbers", 0.75)


@likelihood.written
def _cross_entropy_lines() -> str:
    return "# in the loss: F.binary_cross_entropy(model(x), y), or F.cross_entropy of logits, in place of F.mse_loss"
