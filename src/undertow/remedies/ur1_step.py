"""UR1xx, level A: the length and the form of the optimizer's steps. The model stays as it is."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LinearLR, LRScheduler, SequentialLR

from undertow.diagnosis import Diagnosis
from undertow.record import Role
from undertow.remedies.changing import on_model, on_optimizer
from undertow.remedies.facts import known_facts, unlearned
from undertow.remedies.registry import Proposal, remedy
from undertow.training import Training

GOOD_RATIO = 0.01
"""||dw|| / ||w|| of a step that is neither reckless nor timid; 0.001 is usual late in a training."""

ADAPTIVE = ("Adam", "RMSprop", "Adagrad", "Adadelta", "Lion", "Adafactor", "Muon")
ADAM_LR = 1e-3
HEAVY = 0.97
"""Momentum above this averages more than 30 steps, and overshoots."""

LARGE_EPSILON = 1e-4
FEW_AT_LEAST = 0.3
"""Deviation of targets within batches, as a part of that over all, under which batches are sorted."""

POOLED = 256
"""Batches that are mixed with one another."""

WARM_FROM = 0.01


@remedy(
    "UR101", "scale the learning rate", "A", ["UT401", "UT405", "UT406", "UT103", "UT408", "UT402", "UT704", "UT202"]
)
def scale_lr(training: Training, factor: float) -> Training:
    """Multiply the learning rate of every group.

    What it changes:
        ``group["lr"]``, before a scheduler reads it. A step's length under SGD is proportional to it, under Adam equal
        to it up to shape.
    When:
        Steps change weights by far more or far less than a hundredth of themselves, or the loss jumps, becomes nan, or
        doesn't move though gradients are in order.
    Predicts:
        The update ratio is multiplied by the factor.
    References:
        Smith 2017 (cyclical learning rates); CS231n, "ratio of weights:updates".
    """
    return on_optimizer(training, partial(_scale_lr, factor=factor))


def _scale_lr(optimizer: Optimizer, factor: float) -> None:
    for group in optimizer.param_groups:
        for name in ("lr", "initial_lr"):
            if name in group:
                group[name] = group[name] * factor


@scale_lr.proposes
def _proposed_factors(diagnosis: Diagnosis) -> Iterator[Proposal]:
    ratio = typical_ratio(diagnosis)
    if math.isfinite(ratio) and ratio > 0 and not 0.1 < ratio / GOOD_RATIO < 10:
        factor = float(10.0 ** np.round(np.log10(GOOD_RATIO / ratio)))
        yield Proposal({"factor": factor}, f"a step changes the weights by {ratio:.1g} of themselves", 0.9)
    codes = {finding.code for finding in diagnosis.findings}
    down = bool(codes & {"UT401", "UT405", "UT406", "UT103", "UT202"})
    up = bool(codes & {"UT408", "UT402"})
    for factor in (0.1, 0.01):
        yield Proposal({"factor": factor}, "shorter steps", 0.6 if down else 0.3)
    for factor in (10.0, 100.0):
        yield Proposal({"factor": factor}, "longer steps", 0.6 if up else 0.25)


@scale_lr.written
def _scale_lr_lines(factor: float) -> str:
    return f'for group in optimizer.param_groups:\n    group["lr"] *= {factor:g}'


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


@remedy("UR103", "clip the gradient's norm", "A", ["UT102", "UT405", "UT103", "UT107"])
def clip(training: Training, norm: float = 1.0) -> Training:
    """Cut gradients whose norm is larger than a limit down to it.

    What it changes:
        ``torch.nn.utils.clip_grad_norm_`` between the backward pass and the step.
    When:
        Single steps are thrown far by a large gradient: exploding gradients of moderate size, recurrent networks, a
        deep network in its first steps.
    Predicts:
        No step is longer than the learning rate times the limit.
    References:
        Pascanu, Mikolov, Bengio 2013; Zhang, He, Sra, Jadbabaie 2020.
    """
    return replace(training, clip_grad_norm=norm)


@clip.proposes
def _proposed_norms(diagnosis: Diagnosis) -> Iterator[Proposal]:
    squares = np.square(diagnosis.column("weight_grad_norm"))
    norm = float(np.sqrt(np.nansum(squares)))
    loud = any(finding.code in ("UT102", "UT405", "UT103", "UT107") for finding in diagnosis.findings)
    if loud or (math.isfinite(norm) and norm > 10):
        yield Proposal({"norm": 1.0}, f"the gradient's norm is {norm:.2g}", 0.5 if loud else 0.35)
    elif unlearned(diagnosis):
        yield Proposal({"norm": 1.0}, "the training doesn't learn; single batches may throw it far", 0.25)


@clip.written
def _clip_lines(norm: float = 1.0) -> str:
    return f"torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm={norm:g})  # between backward() and step()"


@remedy("UR104", "warm up", "A", ["UT406", "UT401", "UT405", "UT108"])
def warm_up(training: Training, steps: int = 100) -> Training:
    """Raise the learning rate from a hundredth over the first steps.

    What it changes:
        A ``LinearLR`` in front of the scheduler, if there is one.
    When:
        A training breaks in its first steps: Adam's averages hold one or two batches then, and its steps are as long
        as the learning rate, whatever the gradient.
    Predicts:
        The first step's update ratio is a hundredth of what it was.
    References:
        Goyal et al. 2017; Xiong et al. 2020; Ma, Yarats 2019 (2 / (1 - beta2) steps).
    """
    return replace(training, scheduler=_WarmUp(training.scheduler, steps))


@dataclass(frozen=True)
class _WarmUp:
    then: Any
    steps: int

    def __call__(self, optimizer: Optimizer) -> LRScheduler:
        rising = LinearLR(optimizer, start_factor=WARM_FROM, total_iters=self.steps)
        if self.then is None:
            return rising
        return SequentialLR(optimizer, [rising, self.then(optimizer)], milestones=[self.steps])


@warm_up.proposes
def _proposed_warm_up(diagnosis: Diagnosis) -> Iterator[Proposal]:
    found = [finding.code for finding in diagnosis.findings if finding.code in ("UT406", "UT405", "UT108")]
    normalised = any(site.role is Role.ATTENTION for site in diagnosis.run.sites)
    if found or normalised:
        yield Proposal({"steps": 100}, "its first steps are taken at the full learning rate", 0.6 if found else 0.3)


@warm_up.written
def _warm_up_lines(steps: int = 100) -> str:
    return (
        f"warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor={WARM_FROM:g}, total_iters={steps})\n"
        "# and after every optimizer.step(): warm_up.step()"
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


@remedy("UR107", "give the optimizer the parameters it lacks", "A", ["UT407", "UT105", "UT104"])
def add_parameters(training: Training) -> Training:
    """Add the model's parameters that no group of the optimizer holds.

    What it changes:
        A parameter group more; or, if the optimizer holds none of this model's, one of the same kind over all.
    When:
        Parameters get gradient and no step: they were made after the optimizer, or it is another model's.
    Predicts:
        Their steps are no longer zero.
    References:
        PyTorch documentation, torch.optim: "construct the optimizer after moving or changing the model".
    """
    return replace(training, optimizer=_Complete(training.optimizer))


@dataclass(frozen=True)
class _Complete:
    make: Any

    def __call__(self, model: nn.Module) -> Optimizer:
        optimizer: Optimizer = self.make(model)
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        lacking = [p for p in model.parameters() if p.requires_grad and id(p) not in held]
        if len(lacking) == sum(p.requires_grad for p in model.parameters()):
            settings = {key: value for key, value in optimizer.param_groups[0].items() if key in optimizer.defaults}
            return type(optimizer)(lacking, **settings)
        if lacking:
            optimizer.add_param_group({"params": lacking})
        return optimizer


@add_parameters.proposes
def _proposed_parameters(diagnosis: Diagnosis) -> Iterator[Proposal]:
    lacking = int(known_facts(diagnosis).get("lacking", 0))
    if lacking or any(finding.code == "UT407" for finding in diagnosis.findings):
        yield Proposal({}, "parameters get gradient and no step", 1.0 if lacking != 0 else 0.5)


@add_parameters.written
def _add_parameters_lines() -> str:
    return (
        'held = {id(p) for group in optimizer.param_groups for p in group["params"]}\n'
        "lacking = [p for p in model.parameters() if p.requires_grad and id(p) not in held]\n"
        'optimizer.add_param_group({"params": lacking})'
    )


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


@remedy("UR109", "scale the loss", "A", ["UT404", "UT103"])
def loss_scaling(training: Training) -> Training:
    """Multiply the loss before the backward pass and divide the gradients again before the step.

    What it changes:
        A ``torch.amp.GradScaler`` around loss and optimizer.
    When:
        Gradients are smaller than float16's smallest number.
    Predicts:
        They are 65,536 times as large on their way, and the same at the step.
    References:
        Micikevicius et al. 2018 (mixed precision training), section 3.2.
    """
    return replace(training, loss_scaling=True)


@loss_scaling.proposes
def _proposed_scaling(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if any(finding.code == "UT404" for finding in diagnosis.findings):
        yield Proposal({}, "gradients are too small for float16", 0.8)


@loss_scaling.written
def _loss_scaling_lines() -> str:
    return (
        "scaler = torch.amp.GradScaler()\n"
        "# in the loop: scaler.scale(loss).backward(), scaler.step(optimizer), scaler.update()"
    )


@remedy("UR110", "no schedule of the learning rate", "A", ["UT408"])
def constant_lr(training: Training) -> Training:
    """Leave the learning rate as it is from the first step to the last.

    What it changes:
        The scheduler goes.
    When:
        It has taken the learning rate down to nothing long before the loss stopped falling.
    Predicts:
        Late steps are as long as early ones.
    References:
        PyTorch documentation, torch.optim.lr_scheduler: most schedulers count epochs, not batches.
    """
    return replace(training, scheduler=None)


@constant_lr.proposes
def _proposed_constant(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if any(finding.code == "UT408" for finding in diagnosis.findings):
        yield Proposal({}, "the schedule takes the learning rate down too soon", 0.7)
    elif known_facts(diagnosis).get("scheduled"):
        yield Proposal({}, "a schedule that counts epochs goes through all of them in as many batches", 0.5)


@constant_lr.written
def _constant_lr_lines() -> str:
    return "# leave out scheduler.step(), or call it once an epoch"


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


@remedy("UR112", "gradients that aren't clipped", "A", ["UT403", "UT408"])
def unclipped(training: Training) -> Training:
    """Leave the gradient's norm as it is.

    What it changes:
        ``clip_grad_norm_`` goes.
    When:
        The limit is far under the norm of every gradient, so that all steps have the same, tiny length.
    Predicts:
        Steps are longer by the norm over the limit.
    References:
        Zhang, He, Sra, Jadbabaie 2020.
    """
    return replace(training, clip_grad_norm=None)


@unclipped.proposes
def _proposed_unclipped(diagnosis: Diagnosis) -> Iterator[Proposal]:
    limit = known_facts(diagnosis).get("clip")
    if limit is not None:
        norm = float(np.sqrt(np.nansum(np.square(diagnosis.column("weight_grad_norm")))))
        far = norm > 10 * limit
        yield Proposal({}, f"gradients of norm {norm:.2g} are cut down to {limit:g}", 0.85 if far else 0.3)


@unclipped.written
def _unclipped_lines() -> str:
    return "# leave out clip_grad_norm_, or give it a limit above the usual norm"


@remedy("UR113", "batches in random order", "A", ["UT405", "UT704"])
def shuffled(training: Training) -> Training:
    """Mix the examples of a pass, so that a batch is a sample of all.

    What it changes:
        The order of examples: those of up to 256 batches are dealt out anew, in batches as large as before.
    When:
        Batches hold one class each, or come in the order of a file: each step forgets what the last one learned.
    Predicts:
        The gradient of a batch has the direction of the whole gradient.
    References:
        Bottou 2012 (Stochastic gradient descent tricks), section 4.1; Bengio 2012.
    """
    return replace(training, batches=Shuffled(training.batches))


@dataclass(frozen=True)
class Shuffled:
    """Batches whose examples are dealt out anew; those that aren't tuples of tensors stay as they are."""

    batches: Any

    def __call__(self) -> Iterator[Any]:
        """Yield one pass."""
        made = iter(self.batches() if callable(self.batches) else self.batches)
        while pool := list(islice(made, POOLED)):
            yield from _dealt(pool)


def _dealt(pool: list[Any]) -> Iterator[Any]:
    plain = all(isinstance(b, list | tuple) and all(isinstance(t, Tensor) and t.ndim for t in b) for b in pool)
    if not plain or any(len({len(t) for t in batch}) != 1 for batch in pool):
        yield from (pool[i] for i in torch.randperm(len(pool)).tolist())
        return
    sizes = [len(batch[0]) for batch in pool]
    order = torch.randperm(sum(sizes)).split(sizes)
    whole = [torch.cat(parts) for parts in zip(*pool, strict=True)]
    yield from (tuple(each[places] for each in whole) for places in order)


@shuffled.proposes
def _proposed_order(diagnosis: Diagnosis) -> Iterator[Proposal]:
    within = float(known_facts(diagnosis).get("targets", {}).get("within", 1.0))
    if within < FEW_AT_LEAST:
        yield Proposal({}, f"targets vary {within:.2g} times as much within a batch as over all of them", 0.95)


@shuffled.written
def _shuffled_lines() -> str:
    return "# DataLoader(data, batch_size=..., shuffle=True)"


@remedy("UR114", "frozen parameters trained", "A", ["UT501", "UT704"])
def unfreeze(training: Training) -> Training:
    """Let all parameters take gradient.

    What it changes:
        ``requires_grad`` of every parameter, before the optimizer is made.
    When:
        Parameters are frozen, and what is left to train can't learn it.
    Predicts:
        They move.
    References:
        PyTorch documentation, autograd mechanics: "locally disabling gradient computation".
    """
    return on_model(training, _unfreeze)


def _unfreeze(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.requires_grad_(True)


@unfreeze.proposes
def _proposed_unfreezing(diagnosis: Diagnosis) -> Iterator[Proposal]:
    frozen = int(known_facts(diagnosis).get("frozen", 0))
    if frozen:
        yield Proposal({}, f"{frozen} parameters are frozen", 0.8 if unlearned(diagnosis) else 0.5)


@unfreeze.written
def _unfreeze_lines() -> str:
    return "for parameter in model.parameters():  # before the optimizer is made\n    parameter.requires_grad_(True)"


def typical_ratio(diagnosis: Diagnosis) -> float:
    """Return the median over layers of the optimizer's step over the weights' norm; nan without an optimizer."""
    ratio = diagnosis.column("update_ratio")
    known = [float(ratio[site]) for layer in diagnosis.layers for site in layer.sites if ratio[site] > 0]
    return float(np.median(known)) if known else math.nan
