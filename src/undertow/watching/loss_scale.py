"""`LossScale`: the factor by which mixed precision enlarges gradients, and whether it skipped the optimizer.

`torch.amp.GradScaler` multiplies the loss, divides the gradients before the optimizer takes them, and leaves the
optimizer out where one isn't finite. Its scale stays on the device: it is copied there, never read here. That it was
updated shows in the tensor's version, which the host knows.
"""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from undertow.measure import sent

HOLDERS = ("_scaler", "scaler", "grad_scaler")
"""Attributes in which wrappers keep their scaler."""

DEEPEST = 4
"""Wrappers around wrappers that are opened."""


class LossScale:
    """Follows the loss scale of a scaler.

    Args:
        scaler: a ``torch.amp.GradScaler``, what behaves like one, or what wraps one (timm's ``NativeScaler``,
            Lightning's precision plugin, an ``Accelerator``); None if there is none, or nobody said.

    Raises:
        TypeError: it is none of these.

    Attributes:
        active: whether losses are scaled.
        adopted: called, if it is still there, when a scaler is found that nobody handed over.

    Example:
        >>> import torch
        >>> scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        >>> loss_scale = LossScale(scaler)
        >>> _ = scaler.scale(torch.ones(()))
        >>> loss_scale.scale().item()
        8.0
    """

    def __init__(self, scaler: Any = None) -> None:
        self._scaler = innermost_scaler(scaler)
        self.active = self._scaler is not None and bool(getattr(self._scaler, "is_enabled", lambda: True)())
        self.adopted: Callable[[], Callable[[], None] | None] = lambda: None
        self._version = self._now()

    def adopt(self, scaler: Any) -> None:
        """Follow a scaler that nobody handed over: it has scaled a loss of the model."""
        self._scaler, self.active = scaler, True
        self._version = self._now()
        tell = self.adopted()
        if tell is not None:
            tell()

    def scale(self) -> Tensor | None:
        """Return the scale that is in force, a copy on its device; None if it is 1 or unknown."""
        # Private, as get_scale() would wait for the device.
        current = getattr(self._scaler, "_scale", None) if self.active else None
        return current.detach().clone() if isinstance(current, Tensor) else None

    def sent(self) -> Callable[[], float]:
        """Send the scale that is in force; what is returned waits for it."""
        scale = self.scale()
        coming = sent([] if scale is None else [scale])
        return lambda: float(next(iter(coming()), math.nan))

    def before(self) -> Callable[[], float]:
        """Send the scale that was in force before the update of a skipped step; what is returned waits for it."""
        coming, backoff = self.sent(), float(getattr(self._scaler, "get_backoff_factor", lambda: 0.5)())
        return lambda: coming() / backoff

    def updated(self) -> bool:
        """Tell whether the scaler was updated since this was last asked: then an iteration is over, stepped or not."""
        version = self._now()
        changed = version != self._version
        self._version = version
        return changed

    def unscaled(self, optimizer: object) -> bool:
        """Tell whether the gradients of an optimizer were divided by the scale already."""
        states = getattr(self._scaler, "_per_optimizer_states", None) if self.active else None
        if not states or id(optimizer) not in states:
            return not self.active
        # By name: the enumeration that the stage is of is private to torch.
        return getattr(states[id(optimizer)].get("stage"), "name", "") != "READY"

    def misuse(self, optimizer: object) -> dict[str, float]:
        """Tell, as an optimizer is about to step, whether it does so beside the scaler: 1 or 0, by name of a scalar.

        Returns:
            ``stepped_scaled``: its gradients are still multiplied by the scale; ``stepped_again``: the scaler had its
            own step already. Empty where there is no scaler, or where it doesn't say.
        """
        states = getattr(self._scaler, "_per_optimizer_states", None) if self.active else None
        if states is None or not isinstance(getattr(self._scaler, "_scale", None), Tensor):
            return {}
        stage = getattr(states[id(optimizer)].get("stage"), "name", "") if id(optimizer) in states else "READY"
        scaled = stage == "READY" and left_to_the_optimizer(optimizer)[0] is None
        return {"stepped_scaled": float(scaled), "stepped_again": float(stage == "STEPPED")}

    def _now(self) -> int:
        current = getattr(self._scaler, "_scale", None) if self.active else None
        return current._version if isinstance(current, Tensor) else 0


def innermost_scaler(scaler: Any) -> Any:
    """Return the scaler behind what wraps it, None if there is none.

    Raises:
        TypeError: it is no scaler, and none is found in it.

    Example:
        >>> from types import SimpleNamespace
        >>> import torch
        >>> scaler = torch.amp.GradScaler("cpu")
        >>> innermost_scaler(SimpleNamespace(_scaler=scaler)) is scaler, innermost_scaler(None)
        (True, None)
    """
    inner = scaler
    for _ in range(DEEPEST):
        if inner is None or all(callable(getattr(inner, name, None)) for name in ("scale", "step", "update")):
            return inner
        held = next((name for name in HOLDERS if hasattr(inner, name)), None)
        if held is None:
            break
        inner = getattr(inner, held)
    raise TypeError(
        f"scaler is a {type(scaler).__name__}, neither a torch.amp.GradScaler nor a wrapper around one in its "
        f"attribute {', '.join(HOLDERS)}: hand over the GradScaler, or leave it out and it is found at its first loss"
    )


def left_to_the_optimizer(optimizer: object) -> tuple[Tensor | None, Tensor | None]:
    """Return the scale that a fused optimizer divides by itself, and the flag for it to skip; None where it needn't."""
    scale, flag = getattr(optimizer, "grad_scale", None), getattr(optimizer, "found_inf", None)
    return (scale if isinstance(scale, Tensor) else None), (flag if isinstance(flag, Tensor) else None)
