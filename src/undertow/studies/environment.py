"""On what a result was computed: enough to say whether the same bits can be expected again."""

import os
import platform
from importlib.metadata import version
from typing import Any

import torch

DECIDES_BITS = ("torch", "numpy", "cpu_capability", "threads", "machine")
"""Names of what must be the same, besides the members, for float32 results to be identical."""


def environment() -> dict[str, Any]:
    """Versions and machine, without anything that names the user or the place.

    Example:
        >>> environment()["threads"]
        1
    """
    return {
        "undertow": version("undertow"),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "processors": os.cpu_count(),
        "threads": 1,  # of each process: see undertow.studies.tasks
    }
