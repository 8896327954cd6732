"""Describe a training by numbers that a diagnosis of its model alone doesn't hold: remedies are prescribed by them."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, WeightedRandomSampler

from undertow.diagnosis import Diagnosis
from undertow.remedies.anatomy import fresh
from undertow.remedies.dropping import rates_of
from undertow.remedies.loss_inputs import LossInputs, bare_weights, looked_at
from undertow.remedies.survey import Survey, surveyed
from undertow.tape.tensors import tensors_in
from undertow.training import Training, random_numbers_kept

KEY = "training"
"""Where a Run's header holds them."""

SAMPLED = 16
MOST_CLASSES = 100
LITTLE = 0.3
"""Part of its first value that the loss of a training falls by, if it learns at all."""

BOUNDED = {"sigmoid": (0.0, 1.0), "softmax": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, math.inf)}
"""What an activation at the end of a model can reach."""


def known_facts(diagnosis: Diagnosis) -> Mapping[str, Any]:
    """Return the facts that a diagnosis was given, empty if none."""
    facts: Mapping[str, Any] = diagnosis.run.header.get(KEY, {})
    return facts


def unlearned(diagnosis: Diagnosis) -> bool:
    """Tell whether the training was seen not to learn: then also what nothing speaks for is worth a try."""
    fell = known_facts(diagnosis).get("fell")
    if fell is None:
        return any(finding.code == "UT704" for finding in diagnosis.findings)
    return not fell >= LITTLE


def with_facts(diagnosis: Diagnosis, training: Training, fell: float = math.nan) -> Diagnosis:
    """Return a diagnosis that knows how its model is trained.

    Args:
        diagnosis: of the training's model.
        training: as it is.
        fell: part of its first value that the loss has fallen by; nan where it was lost.
    """
    header = {**diagnosis.run.header, KEY: {**facts_of(training), "fell": fell}}
    return replace(diagnosis, run=replace(diagnosis.run, header=header))


def facts_of(training: Training) -> dict[str, Any]:
    """Return numbers of a training's optimizer, loop, model and data.

    Example:
        >>> x = torch.ones(8, 2)
        >>> make = lambda model: torch.optim.SGD(model.parameters(), lr=0.1)
        >>> facts = facts_of(Training(lambda: nn.Linear(2, 1), [(x, 50 * x[:, :1])], lambda m, b: m(b[0]).sum(), make))
        >>> facts["inputs"]["rms"], facts["targets"]["mean"], facts["clip"], facts["lr"]
        (1.0, 50.0, None, 0.1)
    """
    model = fresh(training)
    with random_numbers_kept():
        optimizer = training.optimizer(model)
    survey = _survey(model, training)  # a model may make layers at its first pass: no optimizer holds those
    batches = training.sample(SAMPLED)
    return {
        **_of_optimizer(optimizer, model),
        "scheduled": training.scheduler is not None,
        "clip": training.clip_grad_norm,
        "half": training.autocast is torch.float16,
        "dropout": max([survey.dropped, *rates_of(model)]),
        "end": survey.end,
        "survey": survey.facts(),
        "loss": _looked_at(model, training).facts(),
        "bare": [f"{path}.{name}".lstrip(".") for _, path, name, _ in bare_weights(model)],
        "inputs": _of_inputs(batches),
        "targets": _of_targets(batches),
        "examples": _examples(batches),
        "foretells": bool(batches) and _foretells(batches[0]),
        "unsampled": unsampled(training),
        "reached": _reached(model, training),
        "narrowest": _narrowest(model),
    }


def _survey(model: nn.Module, training: Training) -> Survey:
    try:
        return surveyed(model, training)
    except Exception:  # whatever a user's loss may raise: that is found out elsewhere
        return Survey()


def _looked_at(model: nn.Module, training: Training) -> LossInputs:
    try:
        return looked_at(model, training)
    except Exception:  # whatever a user's loss may raise: that is found out elsewhere
        return LossInputs()


def _of_optimizer(optimizer: Optimizer, model: nn.Module) -> dict[str, Any]:
    group = optimizer.param_groups[0]
    held = {id(p) for each in optimizer.param_groups for p in each["params"]}
    betas = group.get("betas", (math.nan, math.nan))
    return {
        "optimizer": type(optimizer).__name__,
        "lr": float(group.get("lr", math.nan)),
        "momentum": float(group.get("momentum", betas[0])),
        "beta2": float(betas[1]),
        "eps": float(group.get("eps", math.nan)),
        "decay": float(group.get("weight_decay", 0.0)),
        "lacking": sum(p.requires_grad and id(p) not in held for p in model.parameters()),
        "frozen": sum(not p.requires_grad for p in model.parameters()),
        "kept_gradients": _keeps_gradients(optimizer),
    }


def _keeps_gradients(optimizer: Optimizer) -> bool:
    """Tell whether an optimizer's ``zero_grad`` leaves gradients as they are; a fresh model's have none to lose."""
    first = next((p for group in optimizer.param_groups for p in group["params"]), None)
    if first is None:
        return False
    first.grad = torch.ones_like(first)
    optimizer.zero_grad(set_to_none=True)
    kept = first.grad is not None and bool(first.grad.any())
    first.grad = None
    return kept


def _reached(model: nn.Module, training: Training) -> int:
    """Return how many of a fresh model's parameters get a gradient; -1 where the loss can't be computed."""
    try:
        with random_numbers_kept():
            training.loss(model, training.sample(1)[0]).backward()
    except Exception:  # whatever a user's loss may raise: that is found out elsewhere
        return -1
    return sum(p.grad is not None for p in model.parameters())


def _narrowest(model: nn.Module) -> int:
    """Return the features of the narrowest linear layer in front of another one; 0 if there is none."""
    taken = {module.in_features for module in model.modules() if isinstance(module, nn.Linear)}
    made = [module.out_features for module in model.modules() if isinstance(module, nn.Linear)]
    return min((each for each in made if each in taken), default=0)


def _examples(batches: list[Any]) -> int:
    """Return how many examples a batch has, the median; 0 where nobody can tell."""
    sizes = sorted(
        len(first) for batch in batches if (first := next(iter(tensors_in(batch)), None)) is not None and first.ndim
    )
    return sizes[len(sizes) // 2] if sizes else 0


def _foretells(batch: Any) -> bool:
    """Tell whether targets are what goes in, a step later."""
    target = target_of(batch)
    if target is None or target.ndim != 2 or target.shape[1] < 2:
        return False
    same = (each for each in tensors_in(batch) if each is not target and each.shape == target.shape)
    return any(torch.equal(each[:, 1:], target[:, :-1]) for each in same)


def unsampled(training: Training) -> float:
    """Return which part of the data a sampler with weights can't draw, as it has fewer weights than there are examples.

    Example:
        >>> from torch.utils.data import DataLoader, WeightedRandomSampler
        >>> few = DataLoader(list(range(8)), sampler=WeightedRandomSampler([0.5, 0.5], 8))
        >>> make = lambda model: torch.optim.SGD(model.parameters(), lr=0.1)
        >>> unsampled(Training(lambda: nn.Linear(2, 1), few, lambda m, b: m(b).sum(), make))
        0.75
    """
    loader = training.batches
    sampler = getattr(loader, "sampler", None)
    if not isinstance(loader, DataLoader) or not isinstance(sampler, WeightedRandomSampler):
        return 0.0
    many = len(loader.dataset)  # type: ignore[arg-type]  # what has a sampler has a length
    return max(0.0, 1 - len(sampler.weights) / many)


def _of_inputs(batches: list[Any]) -> dict[str, float]:
    """Return root mean square of the first tensor of numbers, and how unequal the scales of its features are."""
    first = [next((t for t in tensors_in(batch) if t.is_floating_point()), None) for batch in batches]
    rows = [x.detach().double().flatten(1) for x in first if x is not None and x.ndim > 1]
    rows = [x for x in rows if x.shape[1] == rows[0].shape[1]]
    if not rows:
        return {}
    x = torch.cat(rows)
    missing = ~x.isfinite()
    x = x.masked_fill(missing, 0.0)
    scale = (x.square().sum(0) / (~missing).sum(0).clamp(min=1)).sqrt()
    scale = scale[scale > 0]
    spread = float(scale.quantile(0.9) / scale.quantile(0.1)) if len(scale) else 1.0
    rms = float((x.square().sum() / (~missing).sum().clamp(min=1)).sqrt())
    missed = float(missing.double().mean())
    return {"rms": rms, "spread": spread, "missing": missed, "features": int(x.shape[1])}


def _of_targets(batches: list[Any]) -> dict[str, Any]:
    """Return the moments of targets that are numbers, or how much alike classes are within a batch."""
    last = [target for batch in batches if (target := target_of(batch)) is not None]
    if not last:
        return {}
    values = torch.cat([target.detach().flatten().double() for target in last])
    within = [float(target.double().std()) for target in last if target.numel() > 1]
    total = float(values.std()) if len(values) > 1 else 0.0
    sorted_by = sum(within) / (len(within) * total) if within and total > 0 and len(last) > 2 else 1.0
    return {
        "mean": float(values.mean()),
        "deviation": total,
        "lowest": float(values.min()),
        "highest": float(values.max()),
        "within": sorted_by,
        "numbers": _are_numbers(last[0]),
        "steps": int(last[0].shape[1]) if last[0].ndim > 1 and not last[0].is_floating_point() else 0,
        "padding": _padding(last[0]),
        "orders": float(values.log10().std()) if total > 0 and float(values.min()) > 0 else 0.0,
        "binary": last[0].is_floating_point() and not _are_numbers(last[0]),
        "classes": _shares(values) if not _are_numbers(last[0]) else [],
    }


PADDED, ELSEWHERE = 0.3, 0.05
"""Part of the steps that is padding, from which on it matters; and of the class's places that may be elsewhere."""


def _padding(target: Tensor) -> list[float]:
    """Return the class that sequences are filled up with, and the part of the steps that it fills; nothing if none."""
    if target.ndim != 2 or target.is_floating_point() or target.shape[1] < 3:
        return []
    filler = int(target[:, -1].mode().values)
    same = target == filler
    behind = same.flip(1).long().cumprod(1).bool()
    filled = float(behind.double().mean())
    plain = filled >= PADDED and int(behind.sum()) >= (1 - ELSEWHERE) * int(same.sum())
    return [filler, filled] if plain and filled < 1 else []


def _shares(values: Tensor) -> list[float]:
    """Return the share of each class among targets; none where there are too many classes for that to say anything."""
    counts = values.unique(return_counts=True)[1]
    return [float(count) / len(values) for count in counts] if 2 <= len(counts) <= MOST_CLASSES else []


def _are_numbers(target: Tensor) -> bool:
    return bool(target.is_floating_point() and not ((target == 0) | (target == 1)).all())


def target_of(batch: Any) -> Tensor | None:
    """Return what a batch ends with, if that can be its targets: the last of several tensors.

    What is all alike, as weights and masks are, is passed over if there is another behind the first.

    Example:
        >>> target_of((torch.ones(2, 3), torch.zeros(2))).shape
        torch.Size([2])
        >>> target_of(torch.ones(2, 3))
    """
    every = tensors_in(batch)
    found = [each for each in every[1:] if every[0].ndim and each.ndim and len(each) == len(every[0])]
    if not found or found[-1] is not every[-1]:
        return None
    telling = [each for each in found if each.dtype != torch.bool and bool((each != each.flatten()[:1]).any())]
    return (telling or found)[-1]
