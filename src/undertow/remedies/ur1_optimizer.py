"""UR1xx, level A: which optimizer, and with which numbers."""

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from torch.optim import AdamW, Optimizer

from undertow.diagnosis import Diagnosis
from undertow.remedies.changing import on_optimizer
from undertow.remedies.facts import known_facts, unlearned
from undertow.remedies.registry import Proposal, remedy
from undertow.training import Training

ADAPTIVE = ("Adam", "RMSprop", "Adagrad", "Adadelta", "Lion", "Adafactor", "Muon")


ADAM_LR = 1e-3


HEAVY = 0.97
"""Momentum above this averages more than 30 steps, and overshoots."""


LARGE_EPSILON = 1e-4


@remedy("UR102", "Adam at its own learning rate", "A", ["UT104", "UT101", "UT401", "UT408", "UT704", "UT102"])
def adam(training: Training, lr: float = ADAM_LR) -> Training:
    """Take AdamW over the same parameters, at its usual learning rate.

    What it changes:
        The optimizer. Each layer's step no longer depends on the scale of its gradient; weight decay is carried over,
        decoupled.
    When:
        Layers learn at very unequal speed, or the learning rate of another optimizer is hard to find. It does nothing
        to the gradient itself: where more than six decades are lost, epsilon swallows what arrives (UT402).
    Predicts:
        The front layers' share of the step rises from their share of the gradient to about their number's.
    References:
        Kingma, Ba 2015; Loshchilov, Hutter 2019 (decoupled weight decay).
    """
    return on_optimizer(training, partial(_to_adam, lr=lr))


def _to_adam(optimizer: Optimizer, lr: float) -> Optimizer:
    groups = [{"params": g["params"], "weight_decay": g.get("weight_decay", 0.0)} for g in optimizer.param_groups]
    return AdamW(groups, lr=lr)


@adam.proposes
def _proposed_adam(diagnosis: Diagnosis) -> Iterator[Proposal]:
    facts = known_facts(diagnosis)
    optimizer = str(diagnosis.run.header.get("optimizer", ""))
    lr = float(facts.get("lr", diagnosis.run.header.get("lr", math.nan)))
    if odd := _odd_numbers(optimizer, lr, facts):
        yield Proposal({"lr": ADAM_LR}, odd, 0.75)
        yield Proposal({"lr": 10 * ADAM_LR}, odd, 0.45)
    elif "Adam" not in optimizer and unlearned(diagnosis):
        yield Proposal({"lr": ADAM_LR}, "the training doesn't learn; Adam is the usual one", 0.65)
        yield Proposal({"lr": 10 * ADAM_LR}, "the same with longer steps, for a short training", 0.5)
    elif not any(name in optimizer for name in ADAPTIVE):
        slow = any(finding.code in ("UT104", "UT101") for finding in diagnosis.findings)
        yield Proposal({"lr": ADAM_LR}, "its steps don't depend on the gradient's scale", 0.7 if slow else 0.5)
        yield Proposal({"lr": 10 * ADAM_LR}, "the same with longer steps, for a short training", 0.4)


def _odd_numbers(optimizer: str, lr: float, facts: Mapping[str, Any]) -> str:
    """Return what is unusual about an optimizer's numbers, in words; empty if nothing is."""
    adaptive = any(name in optimizer for name in ADAPTIVE)
    if adaptive and not 0.2 < lr / ADAM_LR < 20:
        return f"{optimizer}'s learning rate is {lr:g}; Adam's usual one is {ADAM_LR:g}"
    if facts.get("momentum", 0.0) > HEAVY:
        return f"{optimizer}'s momentum is {facts['momentum']:g}"
    if adaptive and facts.get("eps", 0.0) > LARGE_EPSILON:
        return f"{optimizer}'s epsilon is {facts['eps']:g}"
    if adaptive and facts.get("beta2", 1.0) < 0.8:
        return f"{optimizer}'s second beta is {facts['beta2']:g}: a step is divided by the last few gradients"
    return ""


@adam.written
def _adam_lines(lr: float = ADAM_LR) -> str:
    return (
        'groups = [{"params": group["params"], "weight_decay": group.get("weight_decay", 0.0)}\n'
        "          for group in optimizer.param_groups]\n"
        f"optimizer = torch.optim.AdamW(groups, lr={lr:g})"
    )


@remedy("UR105", "a smaller or larger epsilon for Adam", "A", ["UT402", "UT410"])
def epsilon(training: Training, eps: float = 1e-12) -> Training:
    """Set Adam's epsilon.

    What it changes:
        ``group["eps"]``, the number that is added to the root of Adam's second moment.
    When:
        Gradients are as small as epsilon, so that steps shrink with them (smaller), or epsilon is zero in the
        parameters' precision, so that 0 / 0 becomes nan (larger).
    Predicts:
        The update ratio returns to the learning rate's scale.
    References:
        Kingma, Ba 2015; Wortsman et al. 2023 (small-scale proxies), section 3.4.
    """
    return on_optimizer(training, partial(_set, name="eps", value=eps))


def _set(optimizer: Optimizer, name: str, value: Any) -> None:
    for group in optimizer.param_groups:
        if name in group:
            group[name] = value


@epsilon.proposes
def _proposed_epsilon(diagnosis: Diagnosis) -> Iterator[Proposal]:
    codes = {finding.code for finding in diagnosis.findings}
    large = float(known_facts(diagnosis).get("eps", 0.0))
    if large > LARGE_EPSILON:
        yield Proposal({"eps": 1e-8}, f"epsilon is {large:g}: it is added to every divisor", 0.85)
    if "UT402" in codes:
        yield Proposal({"eps": 1e-12}, "gradients are as small as Adam's epsilon", 0.7)
    if "UT410" in codes:
        yield Proposal({"eps": 1e-4}, "Adam's epsilon is zero in this precision", 0.8)


@epsilon.written
def _epsilon_lines(eps: float = 1e-12) -> str:
    return f'for group in optimizer.param_groups:\n    group["eps"] = {eps:g}'


@remedy("UR106", "a shorter memory for Adam's second moment", "A", ["UT405"])
def beta2(training: Training, value: float = 0.95) -> Training:
    """Let Adam forget gradients of long ago.

    What it changes:
        ``group["betas"][1]``: at 0.95 the variance is that of the last 20 steps, at 0.999 of the last 1,000.
    When:
        Updates jump before the loss does: the variance is still that of smaller gradients.
    Predicts:
        Nothing at the start; spikes are shorter and fewer.
    References:
        Chowdhery et al. 2022 (PaLM), section 5.1; Wortsman et al. 2023.
    """
    return on_optimizer(training, partial(_set_beta2, value=value))


def _set_beta2(optimizer: Optimizer, value: float) -> None:
    for group in optimizer.param_groups:
        if "betas" in group:
            group["betas"] = (group["betas"][0], value)


@beta2.proposes
def _proposed_beta2(diagnosis: Diagnosis) -> Iterator[Proposal]:
    adam_like = "Adam" in str(diagnosis.run.header.get("optimizer", ""))
    if adam_like and any(finding.code == "UT405" for finding in diagnosis.findings):
        yield Proposal({"value": 0.95}, "the loss spikes under Adam", 0.5)


@beta2.written
def _beta2_lines(value: float = 0.95) -> str:
    return f'for group in optimizer.param_groups:\n    group["betas"] = (group["betas"][0], {value:g})'


@remedy("UR108", "less weight decay", "A", ["UT409"])
def decay(training: Training, weight_decay: float = 0.0) -> Training:
    """Set the weight decay of every group.

    What it changes:
        ``group["weight_decay"]``.
    When:
        Decay makes most of the step, weights shrink and outputs become constant.
    Predicts:
        The part of the step that is decay goes.
    References:
        Loshchilov, Hutter 2019; Krogh, Hertz 1992.
    """
    return on_optimizer(training, partial(_set, name="weight_decay", value=weight_decay))


@decay.proposes
def _proposed_decay(diagnosis: Diagnosis) -> Iterator[Proposal]:
    strength = float(known_facts(diagnosis).get("decay", 0.0))
    if any(finding.code == "UT409" for finding in diagnosis.findings):
        yield Proposal({"weight_decay": 0.0}, "most of a step is weight decay", 0.9)
    elif strength > 0.01:
        yield Proposal({"weight_decay": 0.0}, f"weight decay is {strength:g}", 0.6)


@decay.written
def _decay_lines(weight_decay: float = 0.0) -> str:
    return f'for group in optimizer.param_groups:\n    group["weight_decay"] = {weight_decay:g}'


@remedy("UR111", "a usual momentum", "A", ["UT405", "UT401", "UT103"])
def momentum(training: Training, value: float = 0.9) -> Training:
    """Set the momentum of SGD, or Adam's first beta, to 0.9.

    What it changes:
        ``group["momentum"]``, ``group["betas"][0]``.
    When:
        Momentum is so near one that steps go on along gradients of hundreds of steps ago.
    Predicts:
        The average reaches over 10 steps; SGD's steps are shorter by (1 - old) / (1 - new).
    References:
        Sutskever, Martens, Dahl, Hinton 2013.
    """
    return on_optimizer(training, partial(_set_momentum, value=value))


def _set_momentum(optimizer: Optimizer, value: float) -> None:
    for group in optimizer.param_groups:
        if "momentum" in group:
            group["momentum"] = value
        elif "betas" in group:
            group["betas"] = (value, *group["betas"][1:])


@momentum.proposes
def _proposed_momentum(diagnosis: Diagnosis) -> Iterator[Proposal]:
    now = float(known_facts(diagnosis).get("momentum", 0.0))
    if now > HEAVY:
        yield Proposal({"value": 0.9}, f"momentum is {now:g}: it averages {1 / max(1 - now, 1e-6):.0f} steps", 0.85)


@momentum.written
def _momentum_lines(value: float = 0.9) -> str:
    return (
        "for group in optimizer.param_groups:\n"
        '    if "momentum" in group:\n'
        f'        group["momentum"] = {value:g}\n'
        '    elif "betas" in group:\n'
        f'        group["betas"] = ({value:g}, *group["betas"][1:])'
    )
