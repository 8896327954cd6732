"""Finds the user's own model and optimizer inside what wraps them."""

from typing import Any

from torch import nn

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
    """Return the optimizer that takes the steps, behind those that pass them on (Accelerate's, Lightning's)."""
    while not _own_hooks(optimizer) and (inner := getattr(optimizer, "optimizer", None)) is not None:
        optimizer = inner
    return optimizer


def _own_hooks(optimizer: object) -> bool:
    # In its own __dict__: a wrapper that passes attributes on would answer for the optimizer that it wraps.
    return "_optimizer_step_post_hooks" in getattr(optimizer, "__dict__", {})
