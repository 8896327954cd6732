"""What the header of a watched Run says about the model, the optimizer and the machine."""

import math
import platform
from datetime import UTC, datetime
from typing import Any

import torch

from undertow.watching.watch_target import WatchTarget


def describe(target: WatchTarget) -> dict[str, Any]:
    """Describe the model, its optimizer and the machine, as JSON values."""
    parameters = [each.parameter for each in target.parameters]
    group = target.optimizers[0].param_groups[0]
    settings = {key: group.get(name) for key, name in (("lr", "lr"), ("epsilon", "eps"))}
    return {
        "model": type(target.model).__name__.removeprefix("FSDP"),
        "parameters": sum(p.numel() for p in parameters),
        "devices": sorted({str(p.device) for p in parameters}),
        "dtypes": sorted({str(p.dtype) for p in parameters}),
        "optimizer": ", ".join(type(each).__name__ for each in target.optimizers),
        **{key: float(value) for key, value in settings.items() if isinstance(value, float) and math.isfinite(value)},
        "torch": torch.__version__,
        "python": platform.python_version(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
