"""Tell targets, masks and outputs from one another by their numbers, and where a loss is given one for another."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from undertow.tape.tensors import tensors_in

MARGINS = frozenset({"soft_margin_loss", "hinge_embedding_loss", "cosine_embedding_loss", "margin_ranking_loss"})
"""Losses whose targets are -1 and 1, behind all else that they are given."""


def target_of(batch: Any) -> Tensor | None:
    """Return what a batch ends with, if that can be its targets: the last of several tensors.

    What is all alike, as weights and masks are, is passed over if there is another behind the first.

    Example:
        >>> target_of((torch.ones(2, 3), torch.zeros(2))).shape
        torch.Size([2])
        >>> target_of(torch.ones(2, 3))
    """
    every = tensors_in(batch)
    found = [each for each in every[1:] if every[0].ndim and each.ndim and len(each) == len(every[0])]
    if not found or found[-1] is not every[-1]:
        return None
    telling = [each for each in found if each.dtype != torch.bool and bool((each != each.flatten()[:1]).any())]
    return (telling or found)[-1]


def are_exchanged(name: str, tensors: Sequence[Any]) -> bool:
    """Tell whether a loss is given targets, and outputs in their place: zeros and ones first, or shares, and no others.

    Args:
        name: of the loss.
        tensors: its first two arguments.

    Example:
        >>> import torch
        >>> y, made = torch.tensor([[1.0], [0.0]]), torch.tensor([[3.0], [-2.0]])
        >>> name = "binary_cross_entropy_with_logits"
        >>> are_exchanged(name, [y, made]), are_exchanged(name, [made, y]), are_exchanged(name, [y, y])
        (True, False, False)
    """
    both = len(tensors) > 1 and all(isinstance(each, Tensor) and each.is_floating_point() for each in tensors[:2])
    if not both or name in MARGINS:
        return False
    first, second = tensors[:2]
    if name == "kl_div":
        return bool((first >= 0).all()) and bool((second < 0).any())
    return _yes_or_no(first) and not _yes_or_no(second)


def is_mask(given: Any, target: Tensor | None) -> bool:
    """Tell whether something is a mask of steps or pixels: zeros and ones, both, on several axes, and not the targets.

    One of examples, or of a graph's nodes, is none: what it leaves out may be kept to judge by. Flattened masks are
    longer than there are examples.

    Args:
        given: anything that a function is given.
        target: what the batch ends with; None if nobody knows.

    Example:
        >>> import torch
        >>> mask = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
        >>> is_mask(mask, None), is_mask(mask, mask), is_mask(mask[1], None), is_mask(mask.bool(), None)
        (True, False, False, True)
    """
    if not isinstance(given, Tensor) or not given.ndim or given.requires_grad:
        return False
    flat = given.ndim == 1
    if (target is None or len(given) <= len(target)) if flat else min(given.shape) < 2:
        return False
    if given.dtype is not torch.bool and not _yes_or_no(given):
        return False
    same = target is not None and given.numel() == target.numel() and bool((given.flatten() == target.flatten()).all())
    return not same and bool((given == 0).any()) and bool((given != 0).any())


def rates_mistaken(args: Sequence[Any], keywords: Any) -> bool:
    """Tell whether a likelihood of counts takes rates for logarithms, or logarithms for rates.

    Example:
        >>> import torch
        >>> rates, counts = torch.tensor([0.5, 2.0]), torch.tensor([1.0, 2.0])
        >>> rates_mistaken([rates, counts], {}), rates_mistaken([rates.log(), counts], {})
        (True, False)
    """
    made, logarithms = args[0] if args else None, args[2] if len(args) > 2 else keywords.get("log_input", True)
    return isinstance(made, Tensor) and bool(logarithms) == bool((made > 0).all())


def _yes_or_no(tensor: Tensor) -> bool:
    return bool(((tensor == 0) | (tensor == 1)).all())
