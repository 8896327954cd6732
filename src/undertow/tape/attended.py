"""Where attention looks: the weights of some rows, read or computed anew from what autograd saved."""

import math

import torch
from torch import Tensor

from undertow.tape.facts import saved
from undertow.tape.graph import Node
from undertow.tape.inflow import spread_out

ENOUGH = 2**12
"""Attention weights that are looked at: some rows of all heads, of as many examples as there is room for."""

FEWEST = 8
"""Rows of each head that are looked at, however long they are."""

SOFTMAXES = frozenset({"softmax", "safe_softmax"})


def attended(op: str, node: Node) -> Tensor | None:
    """Return attention weights of some queries, [examples, heads, queries, keys]; None where reading is not safe.

    Args:
        op: a softmax, whose result autograd keeps, or a fused attention, which keeps queries and keys.
        node: of its backward pass.
    """
    if op in SOFTMAXES:
        return _of_softmax(node)
    return _of_fused(node) if op.startswith("scaled_dot_product") else None


def _of_softmax(node: Node) -> Tensor | None:
    p = saved(node, "result")
    if p is None or p.dim() < 3 or not p.numel():
        return None
    dim = node._saved_dim if node._saved_dim < p.dim() else node._saved_dim - 2**64  # torch counts without a sign
    p = p.movedim(dim, -1)
    p = p[:, None] if p.dim() == 3 else p.flatten(1, -3)
    examples, queries = _chosen(p.shape, p.device)
    return p.index_select(0, examples).index_select(2, queries).float()


def _of_fused(node: Node) -> Tensor | None:
    q, k = saved(node, "query"), saved(node, "key")
    if q is None or k is None or q.dim() != 4 or k.dim() != 4 or not q.numel() or not k.numel():
        return None
    if q.shape[1] % k.shape[1]:
        return None
    examples, queries = _chosen((*q.shape[:3], k.shape[2]), q.device)
    q = q.index_select(0, examples).index_select(2, queries).float()
    k = k.index_select(0, examples).float()
    if q.shape[1] != k.shape[1]:
        k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    scale = getattr(node, "_saved_scale", None)
    logits = q @ k.mT * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if getattr(node, "_saved_is_causal", False):
        keys = torch.arange(k.shape[2], device=q.device)
        logits = logits.masked_fill(keys > queries[:, None], -math.inf)
    mask = saved(node, "attn_mask") if getattr(node, "_saved_attn_mask", None) is not None else None
    if mask is not None:
        logits = logits + _some_of(mask, examples, queries)
    return logits.softmax(-1)


def _some_of(mask: Tensor, examples: Tensor, queries: Tensor) -> Tensor:
    """Return a mask's rows of those examples and queries; what it doesn't tell apart it has once."""
    mask = mask[(None,) * (4 - mask.dim())]
    mask = mask.index_select(0, examples) if mask.shape[0] > 1 else mask
    return mask.index_select(2, queries).float() if mask.shape[2] > 1 else mask.float()


def _chosen(shape: tuple[int, ...] | torch.Size, device: torch.device) -> tuple[Tensor, Tensor]:
    """Choose examples and queries; a few of many examples, so that every head is seen in several."""
    examples, heads, queries, keys = shape
    rows = max(FEWEST, ENOUGH // max(heads * keys, 1))
    many = max(1, min(examples, rows, max(2, rows // queries)))
    each = max(1, min(queries, rows // many))
    return spread_out(examples, many, device), spread_out(queries, each, device)
