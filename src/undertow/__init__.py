"""undertow: why is this deep network hard to train?

The current that runs back beneath the waves: how fast each layer learns, where the gradient fades or blows up on its
way from the loss to the first layer, and why.
"""

from importlib import import_module
from typing import Any

_FROM = {"examine": "undertow.examination"}
"""Functions, and the modules that they are loaded from when they are first asked for."""

__all__ = ["examine", "lab", "theory"]


def __getattr__(name: str) -> Any:
    """Load a part of undertow when it is first asked for: ``import undertow`` itself loads no torch.

    Example:
        >>> import undertow
        >>> round(undertow.theory.meanfield.chi("sigmoid", weight_var=1.0, bias_var=1.0), 3)
        0.042
    """
    if name in _FROM:
        return getattr(import_module(_FROM[name]), name)
    if name in __all__:
        return import_module(f"undertow.{name}")
    raise AttributeError(f"module 'undertow' has no attribute {name!r}; it has: {', '.join(__all__)}")
