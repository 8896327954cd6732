"""Trackers by name: `tracker` makes one of ours, or one that a plugin adds by an entry point of ``undertow.trackers``.

::

    from undertow.integrations.tracking import follow
    from undertow.integrations.trackers import tracker

    follow(watcher, tracker("tensorboard", "runs/tensorboard"))
    follow(watcher, "acme")  # of a package that is installed beside undertow
"""

from importlib import import_module
from typing import Any

from undertow import plugins

__all__ = ["OURS", "names", "tracker"]

GROUP = "undertow.trackers"

OURS = {
    "mlflow": "MlflowTracker",
    "tensorboard": "TensorBoardTracker",
    "trackio": "TrackioTracker",
    "wandb": "WandbTracker",
}
"""Names of leaves, and the tracker of each."""


def names() -> list[str]:
    """Return what trackers there are, without loading any.

    Example:
        >>> names()[:2]
        ['mlflow', 'tensorboard']
    """
    return sorted({*OURS, *plugins.names(GROUP)})


def tracker(name: str, *arguments: Any, **settings: Any) -> Any:
    """Make a tracker.

    Args:
        name: a leaf's, or a plugin's entry point's.
        arguments, settings: what its class or function takes.

    Returns:
        What `undertow.integrations.tracking.follow` and the trainers' leaves take.

    Raises:
        LookupError: there is none of that name; those that there are are named.
        ModuleNotFoundError: its package is not installed; the message says what to install.
        undertow.plugins.PluginError: the plugin can't be loaded; the message says why.

    Example:
        >>> tracker("tensorbored")
        Traceback (most recent call last):
        LookupError: there is no tracker 'tensorbored'; there are: mlflow, tensorboard, trackio, wandb
    """
    if name in OURS:
        return getattr(import_module(f"undertow.integrations.{name}"), OURS[name])(*arguments, **settings)
    if name not in plugins.names(GROUP):
        raise LookupError(f"there is no tracker {name!r}; there are: {', '.join(names())}")
    return plugins.named(GROUP, name)(*arguments, **settings)
