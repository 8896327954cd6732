"""From attention weights to numbers: how many rows look at one key only, and how far its logit is above the next."""

import torch
from torch import Tensor

from undertow.measure.meter import Meter
from undertow.measure.reading import Label
from undertow.measure.together import Reduced

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
    if meter.can_wait(p):
        meter.together(_reduce, None, site, p.detach())
        return
    meter.note("heads", site, p.shape[1])
    meter.take_all(_labels(site), [each[0] for each in _reduced(p[None])])


def _labels(site: int) -> list[Label]:
    return [(name, site) for name in ("attending", "one-hot", "one-hot of one head", "gap")]


def _reduced(p: Tensor) -> tuple[Tensor, ...]:
    """Return four numbers, [layers] each, from attention weights [layers, examples, heads, queries, keys]."""
    first, second = p.topk(2, -1).values.unbind(-1)
    free = ((p > 0).any(1).any(1).sum(-1) > 1)[:, None, None]  # [layers, 1, 1, queries]
    hot = ((first > ONE_HOT_ABOVE) & free).sum((1, 3), dtype=torch.float32)  # [layers, heads]
    gap = (first.clamp(min=SMALLEST).log() - second.clamp(min=SMALLEST).log()) * free
    rows = free.sum((1, 2, 3), dtype=torch.float32) * p.shape[1]
    return rows, hot.sum(1), hot.amax(1), gap.sum((1, 2, 3))


def _reduce(_: None, sites: list[int], stacks: list[Tensor], into: Reduced) -> None:
    """Take the numbers of several layers alike at once."""
    (p,) = stacks
    numbers = torch.stack(_reduced(p), 1).tolist()
    for site, layer in zip(sites, numbers, strict=True):
        into.note([("heads", site), *_labels(site)], [p.shape[2], *layer])
