"""Try on copies what an optimizer would do to the weights."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer


class NotJudgedError(Exception):
    """The optimizer's step can't be tried; the message says why."""


def trial_step(
    optimizer: Optimizer, parameters: Mapping[str, Tensor], without_decay: bool = False
) -> dict[str, Tensor]:
    """Return what the optimizer's next step adds to each parameter, weight decay included, by name.

    The optimizer is copied together with its state and its parameters; the originals are only read.

    Args:
        optimizer: holds some of ``parameters``.
        parameters: by name, ``.grad`` filled.
        without_decay: leave weight decay out of the step.

    Raises:
        NotJudgedError: it needs a closure, holds none of the parameters, or can't be copied.

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
        >>> w.grad = torch.tensor([1.0, 0.0])
        >>> step = trial_step(torch.optim.SGD([w], lr=0.5), {"w": w})
        >>> step["w"].tolist(), w.tolist()
        ([-0.5, 0.0], [1.0, 2.0])
    """
    kind = type(optimizer).__name__
    if isinstance(optimizer, torch.optim.LBFGS):
        raise NotJudgedError(f"{kind} needs a closure, which a trial step can't give it")
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    mine = {name: p for name, p in parameters.items() if id(p) in held and p.grad is not None}
    if not mine:
        raise NotJudgedError(f"{kind} holds none of the model's parameters that got a gradient")
    twins: dict[int, Tensor] = {}
    try:
        trial = copy.deepcopy(optimizer, twins)  # the memo says who became whom
        for p in mine.values():
            twins[id(p)].grad = p.grad.clone() if p.grad is not None else None
        for group in trial.param_groups if without_decay else ():
            group["weight_decay"] = 0.0
        # The bare method: hooks on steps are for steps that count.
        getattr(type(optimizer).step, "__wrapped__", type(optimizer).step)(trial)
    except Exception as error:
        raise NotJudgedError(f"{kind} could not be tried on a copy: {error}") from error
    return {name: (twins[id(p)] - p).detach() for name, p in mine.items()}
