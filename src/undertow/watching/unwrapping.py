"""Finds the user's own model and optimizer inside what wraps them."""

from typing import Any

from torch import nn
from torch.optim import Optimizer

WRAPPERS = ("DistributedDataParallel", "DataParallel", "_FabricModule")
"""Classes, by name, that hold the user's own module as ``module``: torch's, and Lightning Fabric's."""


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the user's own module, without what compiles it or runs it in parallel: names are its own."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and type(model).__name__ in WRAPPERS:
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def is_compiled(model: nn.Module) -> bool:
    """Tell whether any part of a model was handed to torch.compile."""
    return any(
        hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None
        for module in model.modules()
    )


def innermost(optimizer: Any) -> Any:
    """Return the optimizer whose steps count, behind those that pass them on (Accelerate's, Lightning's).

    One of torch's by its class counts itself, whatever it holds: see `bases`.
    """
    seen: set[int] = set()
    while not _own_hooks(optimizer) and id(optimizer) not in seen:
        seen.add(id(optimizer))
        inner = getattr(optimizer, "optimizer", None)
        held = [inner] if inner is not None else _optimizers_in(optimizer) or _passes_on(optimizer)
        if len(held) != 1:
            break
        optimizer = held[0]
    return optimizer


def bases(optimizer: Optimizer) -> list[Optimizer]:
    """Return the optimizers that one holds and that step its parameters: Lookahead's, SAM's, those of a chain.

    Whoever holds others may call them in a step of its own, or be stepped by them alone, as SAM is by ``second_step``.

    Example:
        >>> import torch
        >>> class Outer(torch.optim.SGD):
        ...     pass
        >>> weight = torch.ones(2, requires_grad=True)
        >>> outer = Outer([weight], lr=0.1)
        >>> outer.inner = torch.optim.Adam([weight])
        >>> [type(each).__name__ for each in bases(outer)]
        ['Adam']
    """
    found: list[Optimizer] = []
    waiting: list[Optimizer] = [optimizer]
    mine = {id(p) for group in optimizer.param_groups for p in group["params"]}
    while waiting:
        for each in _optimizers_in(waiting.pop()):
            steps = {id(p) for group in each.param_groups for p in group["params"]}
            if steps & mine and not any(each is known for known in (optimizer, *found)):
                found.append(each)
                waiting.append(each)
    return found


def _optimizers_in(holder: object) -> list[Optimizer]:
    """Return the optimizers among an object's attributes, and in lists of them."""
    values = getattr(holder, "__dict__", {}).values()
    parts = (each for value in values for each in (value if isinstance(value, list | tuple) else (value,)))
    return [each for each in parts if isinstance(each, Optimizer)]


def _passes_on(holder: object) -> list[Any]:
    """Return what wraps an optimizer within another that does."""
    values = getattr(holder, "__dict__", {}).values()
    return [each for each in values if _optimizers_in(each) and callable(getattr(each, "step", None))]


def _own_hooks(optimizer: object) -> bool:
    # In its own __dict__: a wrapper that passes attributes on would answer for the optimizer that it wraps.
    return "_optimizer_step_post_hooks" in getattr(optimizer, "__dict__", {})
