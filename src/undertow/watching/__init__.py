"""`watch` a training run: full steps now and then, light steps between them, at a cost nobody feels.

Loading this package loads no torch: `RunWriter` needs none, and `watch` loads it when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from undertow.watching.attach import watch
    from undertow.watching.run_writer import RunWriter
    from undertow.watching.watcher import Watcher

__all__ = ["RunWriter", "Watcher", "watch"]

_HOMES = {"RunWriter": "run_writer", "Watcher": "watcher", "watch": "attach"}


def __getattr__(name: str) -> Any:
    """Load what is asked for from its module."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(__all__)}")
