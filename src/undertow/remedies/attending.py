"""See the masks and axes of attention in the calls of a model, and turn them round."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

LOW = -1e4
"""What is added to a score, or put in its place, where nothing shall be attended to: this or less."""

SCORES = 4
"""Axes of the scores of several heads: examples, heads, queries, keys."""

FILLING = ("masked_fill", "masked_fill_")
MULTIPLYING = ("mul", "__mul__", "__rmul__", "multiply")
ATTENDING = "scaled_dot_product_attention"


def hidden_by(name: str, args: Sequence[Any], keywords: dict[str, Any]) -> Tensor | None:
    """Return which positions a call hides from attention, True where it does; None if it hides none, or the future.

    Args:
        name: of the function.
        args, keywords: that it is called with.

    Example:
        >>> scores, padding = torch.zeros(1, 3), torch.tensor([[False, False, True]])
        >>> hidden_by("masked_fill", [scores, padding, -torch.inf], {}).tolist()
        [[False, False, True]]
        >>> hidden_by("masked_fill", [scores, padding, 0.0], {})
    """
    hidden = _hidden(name, args, keywords)
    return None if hidden is None or not hidden.ndim or is_causal(hidden) else hidden


def _hidden(name: str, args: Sequence[Any], keywords: dict[str, Any]) -> Tensor | None:
    if name in FILLING:
        mask, value = args[1] if len(args) > 1 else keywords.get("mask"), _last(args, keywords, 2, "value")
        return mask if isinstance(mask, Tensor) and is_low(value) else None
    if name == "where" and len(args) == len("abc") and is_low(args[2]):
        return ~args[0] if isinstance(args[0], Tensor) and args[0].dtype is torch.bool else None
    if name in MULTIPLYING and len(args) > 1:
        mask, value = (args[0], args[1]) if isinstance(args[0], Tensor) else (args[1], args[0])
        told = isinstance(mask, Tensor) and isinstance(value, int | float) and is_low(value)
        return mask.bool() if told and bool(((mask == 0) | (mask == 1)).all()) else None
    if name == ATTENDING:
        mask = _last(args, keywords, 3, "attn_mask")
        return ~mask if isinstance(mask, Tensor) and mask.dtype is torch.bool else None
    return None


def _last(args: Sequence[Any], keywords: dict[str, Any], place: int, name: str) -> Any:
    return args[place] if len(args) > place else keywords.get(name)


def is_low(value: Any) -> bool:
    """Tell whether a number takes a score away.

    Example:
        >>> is_low(-1e9), is_low(torch.tensor(-torch.inf)), is_low(-1.0), is_low(torch.zeros(2))
        (True, True, False, False)
    """
    one = isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() == 1)
    return bool(one and float(value) <= LOW)


def is_causal(mask: Tensor) -> bool:
    """Tell whether a mask hides the future, or the past, from every position: that is no padding.

    Example:
        >>> is_causal(torch.ones(3, 3).triu(1).bool()), is_causal(torch.tensor([[False, False, True]] * 3))
        (True, False)
    """
    if mask.ndim < 2 or mask.shape[-1] != mask.shape[-2] or mask.shape[-1] == 1:
        return False
    above = mask[..., *torch.ones(mask.shape[-2:]).triu(1).nonzero().T]
    below = mask[..., *torch.ones(mask.shape[-2:]).tril(-1).nonzero().T]
    return bool((above.all() and not below.any()) or (below.all() and not above.any()))


def across(name: str, args: Sequence[Any], keywords: dict[str, Any]) -> bool:
    """Tell whether a softmax of attention's scores goes along another axis than that of the keys, the last.

    Example:
        >>> scores = torch.ones(2, 4, 3, 3)
        >>> across("softmax", [scores, 1], {}), across("softmax", [scores], {"dim": -1})
        (True, False)
    """
    x = args[0] if args else None
    dim = _last(args, keywords, 1, "dim")
    if name != "softmax" or not isinstance(x, Tensor) or not isinstance(dim, int) or x.ndim < SCORES - 1:
        return False
    return dim % x.ndim != x.ndim - 1 and (x.ndim == SCORES or x.shape[-1] == x.shape[-2])


def turned_filling(func: Any, x: Tensor, *args: Any, **named: Any) -> Any:
    """Call ``masked_fill`` with its mask turned round, if it hides padding."""
    if hidden_by(func.__name__, (x, *args), named) is None:
        return func(x, *args, **named)
    if args:
        return func(x, ~args[0].bool(), *args[1:], **named)
    return func(x, **{**named, "mask": ~named["mask"].bool()})


def turned_where(func: Any, *args: Any, **named: Any) -> Any:
    """Call ``where`` with its condition turned round, if it hides padding."""
    turned = hidden_by("where", args, named) is not None
    return func(~args[0], *args[1:], **named) if turned else func(*args, **named)


def turned_product(func: Any, *args: Any, **named: Any) -> Any:
    """Multiply a mask that is turned round by what takes scores away."""
    if hidden_by("mul", args, named) is None:
        return func(*args, **named)
    first = isinstance(args[0], Tensor)
    mask = args[0] if first else args[1]
    other = ~mask if mask.dtype is torch.bool else 1 - mask
    return func(other, args[1]) if first else func(args[0], other)


def turned_attention(func: Any, *args: Any, **named: Any) -> Any:
    """Attend with a mask of yes and no that is turned round."""
    if hidden_by(ATTENDING, args, named) is None:
        return func(*args, **named)
    if len(args) > len("qkv"):
        return func(*args[:3], ~args[3], *args[4:], **named)
    return func(*args, **{**named, "attn_mask": ~named["attn_mask"]})


def over_keys(func: Any, *args: Any, **named: Any) -> Any:
    """Call ``softmax``, along the last axis if that of attention's scores goes along another one."""
    if not across("softmax", args, named):
        return func(*args, **named)
    rest = {name: value for name, value in named.items() if name != "dim"}
    return func(args[0], -1, *args[2:], **rest)


TURNED: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(FILLING, turned_filling), **dict.fromkeys(MULTIPLYING, turned_product),
    "where": turned_where, ATTENDING: turned_attention,
}  # fmt: skip
"""Calls that may hide padding, turned round; for `replacing.Replacement`."""

OVER_KEYS: dict[str, Callable[..., Any]] = {"softmax": over_keys}
