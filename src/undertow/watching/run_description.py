"""Describe the model, the optimizer and the machine in the header of a watched Run."""

import math
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import torch
from torch.optim import Optimizer

from undertow.measure import long_momentum
from undertow.watching.unwrapping import bases
from undertow.watching.watch_target import WatchTarget


def describe(target: WatchTarget) -> dict[str, Any]:
    """Describe the model, its optimizer and the machine, as JSON values."""
    parameters = [each.parameter for each in target.parameters] or list(target.model.parameters())
    group = target.optimizers[0].param_groups[0]
    settings = {key: group.get(name) for key, name in (("lr", "lr"), ("epsilon", "eps"))}
    return {
        "model": type(target.model).__name__.removeprefix("FSDP"),
        "parameters": sum(p.numel() for p in parameters),
        "devices": sorted({str(p.device) for p in parameters}),
        "dtypes": sorted({str(p.dtype) for p in parameters}),
        "optimizer": ", ".join(type(each).__name__ for each in target.optimizers),
        **{key: float(value) for key, value in settings.items() if isinstance(value, float) and math.isfinite(value)},
        **_decay(target.optimizers),
        **long_momentum(target.optimizers),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _decay(optimizers: Sequence[Optimizer]) -> dict[str, Any]:
    """Describe the weight decay, where there is any: its size, and whether the gradient is left out of it."""
    groups = [(each, group) for each in optimizers for group in each.param_groups if group.get("weight_decay")]
    if not groups:
        return {}
    decay = max(float(group["weight_decay"]) for _, group in groups)
    decoupled = all(group.get("decoupled_weight_decay") or _decouples(each) for each, group in groups)
    return {"decay": {"weight_decay": decay, "decoupled": bool(decoupled)}}


def _decouples(optimizer: Optimizer) -> bool:
    names = [type(each).__name__ for each in (optimizer, *bases(optimizer))]
    return any(
        kind in name for name in names for kind in ("AdamW", "SGDW", "Lion", "Muon", "Adafactor", "LAMB", "Lamb")
    )
