"""Describe what optimizers hold of a model, and what their next step would do to it: facts for the header of a Run."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from undertow.examination.trial import NotJudgedError, trial_step
from undertow.measure import long_momentum

FAR_APART = 0.1
"""Part of the largest learning rate under which another is told."""

_SETTINGS = (("lr", "lr"), ("epsilon", "eps"))

Steps = dict[str, Tensor]


def try_optimizers(
    optimizers: Sequence[Optimizer], parameters: Mapping[str, Tensor], loss: float
) -> tuple[Steps | None, dict[str, Any]]:
    """Try the next step of every optimizer on copies.

    Args:
        optimizers: read, and left as they are.
        parameters: the model's, by name, ``.grad`` filled.
        loss: that the gradients are of.

    Returns:
        What would be added to each parameter, by name; None without an optimizer, or if none can be tried. And what
        to say of it in the header, as JSON values.

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
        >>> w.grad = torch.tensor([1.0, 0.0])
        >>> steps, told = try_optimizers([torch.optim.SGD([w], lr=0.5)], {"w": w}, loss=2.0)
        >>> steps["w"].tolist(), told["optimizer"], told["reach"]
        ([-0.5, 0.0], 'SGD', 0.25)
    """
    if not optimizers:
        return None, {"optimizer": "none: gradient descent assumed"}
    told: dict[str, Any] = {**_settings(optimizers), **held_facts(optimizers, parameters)}
    steps: Steps = {}
    reasons = []
    for optimizer in optimizers:
        try:
            steps |= trial_step(optimizer, parameters)
        except NotJudgedError as reason:
            reasons.append(str(reason))
    if not steps:
        return None, {**told, "optimizer": f"not judged: {reasons[0]}", "optimizer given": told["optimizer"]}
    return steps, told | _step_facts(optimizers, parameters, steps, loss)


def _settings(optimizers: Sequence[Optimizer]) -> dict[str, Any]:
    group = optimizers[0].param_groups[0]
    settings = {key: float(group[name]) for key, name in _SETTINGS if name in group}
    names = ", ".join(type(each).__name__ for each in optimizers)
    return {"optimizer": names, **settings, **long_momentum(optimizers)}


def held_facts(optimizers: Sequence[Optimizer], parameters: Mapping[str, Tensor]) -> dict[str, Any]:
    """Compare what optimizers hold with what gradient reaches.

    Returns:
        ``held``: ``reached`` (parameters that optimizers hold and gradient reaches), ``foreign`` (held, and none of
        the model's), ``frozen`` and ``unreached`` (held, the model's, and without gradient), ``missing`` (names of
        parameters that get gradient and that nobody holds), ``missing share`` (their part of the squared gradient),
        ``whole modules`` (whether these may be another optimizer's: there is one, and it holds none of their modules);
        and ``rates``: ``zero`` (names of those that get gradient, under a learning rate of 0), ``begun`` (whether an
        optimizer has taken steps), ``initial`` (the largest learning rate that a scheduler started from) and, where
        learning rates are far apart, ``of`` (the rate of each parameter, by name).
    """
    groups = {id(p): group for each in optimizers for group in each.param_groups for p in group["params"]}
    names = {id(p): name for name, p in parameters.items()}
    mine = {names[key]: group for key, group in groups.items() if key in names}
    reached = {name for name, p in parameters.items() if p.grad is not None}
    missing = [name for name in parameters if name in reached and name not in mine]
    held = {
        "reached": len(reached & mine.keys()),
        "foreign": sum(key not in names for key in groups),
        "frozen": sum(not parameters[name].requires_grad for name in mine),
        "unreached": sum(parameters[name].requires_grad and name not in reached for name in mine),
        "missing": missing,
        "missing share": _part(missing, reached, parameters),
        "whole modules": len(optimizers) == 1 and _whole_modules(missing, mine.keys(), parameters),
    }
    zero = [name for name in parameters if name in reached and name in mine and float(mine[name].get("lr", 1.0)) == 0]
    initial = max((float(group.get("initial_lr", 0.0)) for group in mine.values()), default=0.0)
    rates = {"zero": zero, "begun": any(each.state for each in optimizers), "initial": initial, **_far_apart(mine)}
    return {"held": held, "rates": rates}


def _far_apart(held: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the learning rate of every parameter, by its group, if they differ by more than a factor of ten."""
    of = {name: float(group["lr"]) for name, group in held.items() if "lr" in group}
    return {"of": of} if of and min(of.values()) < FAR_APART * max(of.values()) else {}


def _whole_modules(missing: Sequence[str], held: Collection[str], parameters: Mapping[str, Tensor]) -> bool:
    """Tell whether what is missing makes up networks of its own: children of the model, of two matrices or more."""
    tops = {name.partition(".")[0] for name in missing}
    matrices = Counter(name.partition(".")[0] for name in missing if parameters[name].dim() > 1)
    return all(matrices[top] > 1 for top in tops) and not tops & {name.partition(".")[0] for name in held}


def _part(some: Sequence[str], reached: Collection[str], parameters: Mapping[str, Tensor]) -> float:
    if not some:
        return 0.0
    whole = sum(_square(parameters[name].grad) for name in reached)
    return sum(_square(parameters[name].grad) for name in some) / whole if whole else 0.0


def _square(tensor: Tensor | None) -> float:
    return 0.0 if tensor is None else float(_wide(tensor).abs().square().sum())


def _wide(tensor: Tensor) -> Tensor:
    """Return a tensor in a precision that holds squares."""
    dense = tensor.detach().to_dense()
    return dense.to(torch.complex128 if dense.is_complex() else torch.float64) if dense.device.type != "mps" else dense


def _step_facts(
    optimizers: Sequence[Optimizer], parameters: Mapping[str, Tensor], steps: Steps, loss: float
) -> dict[str, Any]:
    finite = {name for name in steps if _finite(parameters[name].grad) and _finite(parameters[name])}
    lost = [name for name in steps if name in finite and not _finite(steps[name])]
    told: dict[str, Any] = {"step not finite": lost}
    if lost:
        return told | {"dtypes of steps": sorted({str(parameters[name].dtype) for name in lost})}
    if loss and len(finite) == len(steps):
        sizes = ((_square(parameters[name].grad), _square(step)) for name, step in steps.items())
        told["reach"] = sum((gradient * step) ** 0.5 for gradient, step in sizes) / abs(loss)
    if (accumulated := _accumulated(optimizers)) is not None:
        told["accumulated"] = accumulated
    if (stuck := _stuck(parameters, steps)) is not None:
        told["stuck"] = stuck
    decay = max(float(group.get("weight_decay") or 0.0) for each in optimizers for group in each.param_groups)
    return told | ({"decay": {"weight_decay": decay, **_decay_facts(optimizers, parameters, steps)}} if decay else {})


def _stuck(parameters: Mapping[str, Tensor], steps: Steps) -> float | None:
    """Return the part of the gradient, by size, on numbers in half precision that the step leaves as they are."""
    pull = lost = 0.0
    for name, step in steps.items():
        parameter, gradient = parameters[name], parameters[name].grad
        if parameter.dtype in (torch.bfloat16, torch.float16) and gradient is not None and not gradient.is_sparse:
            size = gradient.detach().float().abs()
            pull += float(size.sum())
            lost += float((size * (step == 0)).sum())
    return lost / pull if pull else None


def _accumulated(optimizers: Sequence[Optimizer]) -> float | None:
    """Return what Adagrad's next step adds to its accumulators as a part of what they began with; None if with 0."""
    added = began = 0.0
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            start = float(group.get("initial_accumulator_value") or 0.0)
            for parameter in group["params"] if start else ():
                if (total := optimizer.state.get(parameter, {}).get("sum")) is not None:
                    added += _square(parameter.grad) + float((_wide(total) - start).sum())
                    began += start * total.numel()
    return added / began if began else None


def _finite(tensor: Tensor | None) -> bool:
    return tensor is None or bool(torch.isfinite(tensor.detach().to_dense()).all())


def _inner(gradient: Tensor | None, step: Tensor) -> float:
    return 0.0 if gradient is None else float((_wide(gradient).conj() * _wide(step)).sum().real)


def _decay_facts(optimizers: Sequence[Optimizer], parameters: Mapping[str, Tensor], steps: Steps) -> dict[str, float]:
    """Compare the step with what it would be without weight decay, over matrices.

    Returns:
        ``pull``: norm of their difference / norm of the step without, over those that would move without it (what gets
        no gradient at all, as layers behind a head of zeros, is left out); ``matrices``: the part of the matrices in
        which that is more than 1; ``shrinks``: the part of its norm that the weights lose in such a step by decay.
    """
    bare: Steps = {}
    for optimizer in optimizers:
        try:
            bare |= trial_step(optimizer, parameters, without_decay=True)
        except NotJudgedError:
            return {}
    matrices = [name for name in steps if name in bare and parameters[name].dim() > 1]
    pulls = {name: (_square(steps[name] - bare[name]), _square(bare[name])) for name in matrices}
    decayed = [name for name in matrices if pulls[name][0] > 0]
    if not decayed:
        return {}
    moving = [name for name in decayed if pulls[name][1] > 0]
    decay, learning = (sum(pulls[name][k] for name in moving) ** 0.5 for k in (0, 1))
    weight = sum(_square(parameters[name]) for name in decayed)
    towards_zero = -sum(_inner(parameters[name], steps[name] - bare[name]) for name in decayed)
    return {
        "pull": decay / learning if learning else 0.0,
        "matrices": sum(pulls[name][0] > pulls[name][1] for name in moving) / len(matrices),
        "shrinks": towards_zero / weight if weight else 0.0,
    }
