"""undertow: why is this deep network hard to train?

The current that runs back beneath the waves: how fast each layer of a deep network learns, where the gradient fades or
blows up on its way from the loss to the first layer, and why.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from undertow import lab, theory
    from undertow.doctoring import doctor, verify
    from undertow.doctoring.reset import reset_test
    from undertow.examination import examine
    from undertow.remedies import apply, prescribe
    from undertow.report import Report, explain
    from undertow.store import open_run, save_run
    from undertow.sweeping import open_sweep, sweep
    from undertow.training import Training
    from undertow.watching import watch

__all__ = [
    "Report",
    "Training",
    "apply",
    "doctor",
    "examine",
    "explain",
    "lab",
    "open_run",
    "open_sweep",
    "prescribe",
    "reset_test",
    "save_run",
    "sweep",
    "theory",
    "verify",
    "watch",
]

_HOMES = {
    "Training": "undertow.training",
    "apply": "undertow.remedies",
    "doctor": "undertow.doctoring",
    "prescribe": "undertow.remedies",
    "reset_test": "undertow.doctoring.reset",
    "verify": "undertow.doctoring",
    "examine": "undertow.examination",
    "explain": "undertow.report",
    "Report": "undertow.report",
    "open_run": "undertow.store",
    "open_sweep": "undertow.sweeping",
    "save_run": "undertow.store",
    "sweep": "undertow.sweeping",
    "watch": "undertow.watching",
}


def __getattr__(name: str) -> Any:
    """Load a part of undertow when it is first asked for: ``import undertow`` itself loads no torch.

    Example:
        >>> import undertow
        >>> round(undertow.theory.meanfield.chi("sigmoid", weight_var=1.0, bias_var=1.0), 3)
        0.042
        >>> undertow.examin
        Traceback (most recent call last):
        AttributeError: module 'undertow' has no attribute 'examin'; it has: Report, Training, apply, doctor, ...
    """
    if name in _HOMES:
        return getattr(_load(_HOMES[name]), name)
    if name in __all__:
        return _load(f"undertow.{name}")
    raise AttributeError(f"module 'undertow' has no attribute {name!r}; it has: {', '.join(__all__)}")


def _load(module: str) -> Any:
    """Import a module without a trace in Python's random numbers, of which some libraries draw as they load."""
    if module in sys.modules:  # the random numbers' state would take longer than all the rest
        return import_module(module)
    import random

    state = random.getstate()
    try:
        return import_module(module)
    finally:
        random.setstate(state)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
