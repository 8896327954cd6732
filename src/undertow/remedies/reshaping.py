"""Reshapes that cut numbers in the order in which they lie, where axes were to be put in another."""

from itertools import accumulate
from operator import mul
from typing import Any

import torch
from torch import Tensor

RESHAPES = frozenset({"reshape", "view"})


def meant_order(x: Tensor, sizes: Any, keywords: dict[str, Any]) -> tuple[int, ...] | None:
    """Return the order of axes that a reshape seems to mean: None unless it cuts numbers that don't belong together.

    Args:
        x: that is given a new shape.
        sizes: arguments of ``view`` or ``reshape`` behind the tensor.
        keywords: their keywords.

    Example:
        >>> meant_order(torch.ones(4, 8, 3), (8, -1, 3), {}), meant_order(torch.ones(4, 8, 3), (4, 24), {})
        ((1, 0, 2), None)
        >>> meant_order(torch.ones(2, 8, 3), (8, -1), {}), meant_order(torch.ones(4, 3, 8), (-1, 3), {})
        ((1, 0, 2), (0, 2, 1))
    """
    wanted = wanted_sizes(x, sizes, keywords)
    if wanted is None or x.ndim < 3:
        return None
    if len(wanted) == x.ndim:
        return _exchanged(list(x.shape), wanted)
    return _flattened(list(x.shape), wanted) if len(wanted) == 2 else None


def wanted_sizes(x: Tensor, sizes: Any, keywords: dict[str, Any]) -> list[int] | None:
    """Return the sizes that a reshape asks for, the one that it leaves open worked out; None if it asks for none.

    Example:
        >>> wanted_sizes(torch.ones(4, 6), (-1, 3), {}), wanted_sizes(torch.ones(4, 6), (torch.int32,), {})
        ([8, 3], None)
    """
    asked = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], tuple | list | torch.Size) else sizes
    asked = asked or keywords.get("shape") or keywords.get("size")
    if not asked or not all(isinstance(each, int) for each in asked):
        return None
    known = 1
    for each in asked:
        known *= each if each > 0 else 1
    return [each if each > 0 else x.numel() // max(known, 1) for each in asked]


def _exchanged(old: list[int], wanted: list[int]) -> tuple[int, ...] | None:
    """Return the order where only two sizes have changed places."""
    moved = [axis for axis in range(len(old)) if wanted[axis] != old[axis]]
    if len(moved) != 2 or wanted[moved[0]] != old[moved[1]] or wanted[moved[1]] != old[moved[0]]:
        return None
    order = list(range(len(old)))
    order[moved[0]], order[moved[1]] = moved[1], moved[0]
    return tuple(order)


def _flattened(old: list[int], wanted: list[int]) -> tuple[int, ...] | None:
    """Return the order where the second axis becomes the first of two, or the last, and doesn't lie there.

    As states of layers and directions, [layers, examples, features], become rows of examples, and logits with classes
    in front of steps, [examples, classes, steps], rows of classes.
    """
    others = tuple(range(2, len(old)))
    if wanted[0] == old[1] and wanted[0] not in accumulate(old, mul):
        return (1, 0, *others)
    if wanted[1] == old[1] and wanted[1] not in accumulate(reversed(old), mul):
        return (0, *others, 1)
    return None
