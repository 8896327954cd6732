"""From attention weights to numbers: how many rows look at one key only, and how far its logit is above the next."""

import torch
from torch import Tensor

from undertow.measure.meter import Meter

ONE_HOT_ABOVE = 0.99
"""A row of attention is one-hot if one key has more than this: its gradient is p (1 - p), under 0.01."""

SMALLEST = 1e-38
"""Weights under it are taken for it: a gap of 87 between two logits is 87 or more."""


def measure_attention(site: int, p: Tensor, meter: Meter) -> None:
    """Reduce attention weights, [examples, heads, queries, keys].

    Queries that may look at one key only, such as the first behind a causal mask, are left out: theirs is one-hot
    whatever the logits. A key is taken for masked if no head of no example gives it any weight.

    Example:
        >>> meter = Meter()
        >>> measure_attention(0, torch.tensor([[[[0.5, 0.5], [0.999, 0.001]]]]), meter)
        >>> meter.read()["one-hot"].values
        array([1.])
    """
    if p.shape[-1] < 2:
        return
    first, second = p.topk(2, -1).values.unbind(-1)
    free = (p > 0).any(0).any(0).sum(-1) > 1  # [queries]
    hot = ((first > ONE_HOT_ABOVE) & free).sum((0, 2), dtype=torch.float32)  # [heads]
    gap = (first.clamp(min=SMALLEST).log() - second.clamp(min=SMALLEST).log()) * free
    rows = free.sum(dtype=torch.float32) * p.shape[0]
    meter.note("heads", site, p.shape[1])
    labels = [(name, site) for name in ("attending", "one-hot", "one-hot of one head", "gap")]
    meter.take_all(labels, [rows, hot.sum(), hot.amax(), gap.sum()])
