"""See whether a sequence attends to its own future in the calls of a model, and hide it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from undertow.remedies.attending import ATTENDING, LOW

HEADS = "multi_head_attention_forward"
MASK = 3
"""Which argument of attention the mask is, counted from 0."""

NEVER = -1e9
"""What is added to scores of the future."""


def looks_ahead(name: str, args: Sequence[Any], keywords: dict[str, Any]) -> bool:
    """Tell whether a call lets the steps of a sequence attend to those behind them.

    Args:
        name: of the function.
        args, keywords: that it is called with.

    Example:
        >>> x, scores = torch.ones(2, 4, 3), torch.zeros(2, 4, 4)
        >>> looks_ahead(ATTENDING, [x, x, x], {}), looks_ahead(ATTENDING, [x, x, x], {"is_causal": True})
        (True, False)
        >>> looks_ahead("softmax", [scores, -1], {}), looks_ahead("softmax", [scores + future(4), -1], {})
        (True, False)
    """
    if name == "softmax":
        x, dim = args[0] if args else None, args[1] if len(args) > 1 else keywords.get("dim")
        return isinstance(x, Tensor) and x.ndim > 2 and _square(x) and dim in (-1, x.ndim - 1) and not _hides(x)
    if name not in (HEADS, ATTENDING) or len(args) < 2 or keywords.get("is_causal"):
        return False
    query, key = args[:2]
    axis = 0 if name == HEADS else -2
    if query.shape != key.shape or query.shape[axis] < 2 or (name == HEADS and query.data_ptr() != key.data_ptr()):
        return False
    mask = _mask(name, args, keywords)
    return mask is None or not _square(mask) or not _hides(_added(mask, shows=name == ATTENDING))


def _square(x: Tensor) -> bool:
    return x.ndim > 1 and x.shape[-1] == x.shape[-2] > 1


def _hides(scores: Tensor) -> bool:
    """Tell whether scores of the future are as low as nothing can be."""
    above = scores[..., *torch.ones(scores.shape[-2:]).triu(1).nonzero().T]
    return bool((above <= LOW).all())


def _mask(name: str, args: Sequence[Any], keywords: dict[str, Any]) -> Any:
    return args[MASK] if name == ATTENDING and len(args) > MASK else keywords.get("attn_mask")


def _added(mask: Tensor, shows: bool) -> Tensor:
    """Return a mask as numbers that are added to scores; one of yes and no shows what it says yes to, or hides it."""
    if mask.dtype is not torch.bool:
        return mask
    return torch.zeros(mask.shape, device=mask.device).masked_fill(~mask if shows else mask, NEVER)


def future(steps: int) -> Tensor:
    """Return what is added to scores so that no step sees those behind it.

    Example:
        >>> future(2).tolist()
        [[0.0, -1000000000.0], [0.0, 0.0]]
    """
    return torch.full((steps, steps), NEVER).triu(1)


def _with_future(mask: Any, like: Tensor, steps: int, shows: bool) -> Tensor:
    hidden = future(steps).to(like)
    return hidden if mask is None else hidden + _added(mask, shows).to(like)


def _heads(func: Any, *args: Any, **named: Any) -> Any:
    if not looks_ahead(HEADS, args, named):
        return func(*args, **named)
    mask = _with_future(named.get("attn_mask"), args[0], args[0].shape[0], shows=False)
    return func(*args, **{**named, "attn_mask": mask})


def _attention(func: Any, *args: Any, **named: Any) -> Any:
    if not looks_ahead(ATTENDING, args, named):
        return func(*args, **named)
    mask = _with_future(_mask(ATTENDING, args, named), args[0], args[0].shape[-2], shows=True)
    if len(args) > MASK:
        return func(*args[:MASK], mask, *args[MASK + 1 :], **named)
    return func(*args, **{**named, "attn_mask": mask})


def _softmax(func: Any, *args: Any, **named: Any) -> Any:
    if not looks_ahead("softmax", args, named):
        return func(*args, **named)
    return func(args[0] + future(args[0].shape[-1]).to(args[0]), *args[1:], **named)


CAUSAL: dict[str, Callable[..., Any]] = {HEADS: _heads, ATTENDING: _attention, "softmax": _softmax}
"""Calls that may see the future, which is hidden; for `replacing.Replacement`."""
