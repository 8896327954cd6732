"""Find the tensors in what a function was given or returned."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

_SEQUENCES = (tuple, list)
_LEAVES = frozenset({int, float, bool, str, type(None), torch.dtype, torch.device})
"""Types of most arguments that are no tensors: not asked for what they hold."""


def tensors_in(values: Any) -> list[Tensor]:
    """Return the tensors in nested tuples, lists and mappings, in their order.

    Example:
        >>> x, y = torch.zeros(1), torch.zeros(2)
        >>> [len(each) for each in tensors_in((x, {"out": [y, 3]}, None))]
        [1, 2]
        >>> tensors_in("none")
        []
    """
    if isinstance(values, Tensor):
        return [values]
    found: list[Tensor] = []
    # What is most frequent is asked for first: an abstract class takes long to say no.
    within = values if isinstance(values, _SEQUENCES) else values.values() if isinstance(values, Mapping) else ()
    for each in within:  # no generator within a generator: this is on the way of every function that a model calls
        if isinstance(each, Tensor):
            found.append(each)
        elif type(each) not in _LEAVES:
            found += tensors_in(each)
    return found
