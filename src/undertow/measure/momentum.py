"""How long an optimizer's average of gradients remembers: a setting that is looked at where it is out of the usual."""

from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer

LONG = 0.99
"""Momentum from which on it is worth a word in a Run's header: an average over a hundred steps and more."""


def long_momentum(optimizers: Sequence[Optimizer]) -> dict[str, Any]:
    """Describe momentum that is nearer to 1 than usual, for the header of a Run; nothing where there is none.

    Args:
        optimizers: of which the one with the longest memory is described.

    Returns:
        ``momentum``: ``first``, of the gradient's average, ``second``, of its square's (None without), ``setting``, the
        name that the optimizer has for it, and the ``optimizer``.

    Example:
        >>> import torch
        >>> weights = [torch.nn.Parameter(torch.ones(1))]
        >>> long_momentum([torch.optim.SGD(weights, 0.1, momentum=0.999)])["momentum"]["first"]
        0.999
        >>> long_momentum([torch.optim.Adam(weights)])
        {}
    """
    found = [_of_group(each, group) for each in optimizers for group in each.param_groups]
    longest = max(found, key=lambda each: float(each["first"]), default=None)
    return {} if longest is None or longest["first"] < LONG else {"momentum": longest}


def _of_group(optimizer: Optimizer, group: dict[str, Any]) -> dict[str, Any]:
    betas = group.get("betas")
    numbers = (
        [float(each) for each in betas if isinstance(each, int | float)] if isinstance(betas, tuple | list) else []
    )
    momentum = group.get("momentum")
    first = numbers[0] if numbers else float(momentum) if isinstance(momentum, int | float) else 0.0
    return {
        "first": first,
        "second": numbers[1] if len(numbers) > 1 else None,
        "setting": "betas" if numbers else "momentum",
        "optimizer": type(optimizer).__name__,
    }
