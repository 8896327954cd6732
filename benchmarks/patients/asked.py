"""Broken trainings after questions that people ask again and again, written before the doctor had been tried on them.

Masks of 0 and 255, labels of which several hold, a class that is passed over, states and logits whose axes are mixed by
a view, weights that are no parameters, margins for labels of zeros and ones.
"""

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from patients.asked_networks import Bare, Sequences, TwoWays
from patients.further import blobs, tagged
from patients.further_networks import segmenter
from patients.unseen import adam, classes, digits, loader, stack
from patients.ward import Patient, in_pairs
from undertow.training import Training


def asked() -> Iterator[Patient]:
    """All of them."""
    return in_pairs("asked", (
        ("CNN", "D", masks_of_255), ("MLP", "D", labels_of_which_several_hold), ("CNN", "D", background_passed_over),
        ("RNN", "C", states_viewed_by_example), ("RNN", "D", logits_viewed_by_class),
        ("MLP", "C", weights_that_are_tensors), ("MLP", "D", margins_of_zeros_and_ones),
    ))  # fmt: skip


def _overlap(net: nn.Module) -> float:
    """Intersection over union of held-out masks."""
    x, mask = blobs()
    with torch.no_grad():
        found, wanted = net(x[500:]) > 0, mask[500:] > 0.5
    return float((found & wanted).sum() / (found | wanted).sum().clamp(min=1))


def masks_of_255(broken: bool) -> Training:
    """Masks come from a file as 0 and 255, and nobody divides them."""
    x, mask = blobs()
    y = mask[:500] * (255.0 if broken else 1.0)

    def loss(net: nn.Module, batch: Any) -> Tensor:
        return functional.binary_cross_entropy_with_logits(net(batch[0]), batch[1])

    return Training(segmenter, loader(x[:500], y, size=25), loss, adam(3e-3), score=_overlap, steps=250)


@cache
def labelled() -> tuple[Tensor, Tensor]:
    """Points, and which of six half-planes they are in."""
    draws = torch.Generator().manual_seed(31)
    x = torch.randn(1200, 8, generator=draws)
    sides = torch.randn(8, 6, generator=draws)
    return x, (x @ sides + torch.randn(6, generator=draws) > 0.5).float()


def labels_of_which_several_hold(broken: bool) -> Training:
    """Cross entropy over classes that don't exclude each other; each is judged by the sign of its logit."""
    x, y = labelled()
    u, v = x[800:], y[800:] > 0.5
    entropy = functional.cross_entropy if broken else functional.binary_cross_entropy_with_logits

    def score(net: nn.Module) -> float:
        return float(((net(u) > 0) == v).all(1).float().mean())

    def loss(net: nn.Module, batch: Any) -> Tensor:
        return entropy(net(batch[0]), batch[1])

    return Training(stack(8, 32, 6), loader(x[:800], y[:800], size=40), loss, adam(1e-2), score=score, steps=300)


def background_passed_over(broken: bool) -> Training:
    """The loss ignores class 0, as one ignores padding; here it is the background."""
    x, mask = blobs()
    u, v = x[500:], mask[500:, 0] > 0.5

    def loss(net: nn.Module, batch: Any) -> Tensor:
        return functional.cross_entropy(net(batch[0]), batch[1], ignore_index=0 if broken else -100)

    def score(net: nn.Module) -> float:
        found = net(u).argmax(1) == 1
        return float((found & v).sum() / (found | v).sum().clamp(min=1))

    def model() -> nn.Module:
        return nn.Sequential(*list(segmenter())[:-1], nn.Conv2d(8, 2, 1))

    return Training(model, loader(x[:500], mask[:500, 0].long(), size=25), loss, adam(3e-3), score=score, steps=250)


def states_viewed_by_example(broken: bool) -> Training:
    """The last states of both directions, [2, n, h], are viewed as [n, 2 h]: each example gets those of two others."""
    x, y, u, v = digits()
    rows = (x.view(-1, 8, 8), y, u.view(-1, 8, 8), v)
    return classes(rows, partial(TwoWays, broken), adam(5e-3), size=32, steps=250)


def logits_viewed_by_class(broken: bool) -> Training:
    """Logits with classes in front of steps are viewed as rows of classes."""
    x, y = tagged()
    u, v = x[600:], y[600:]

    def loss(net: nn.Module, batch: Any) -> Tensor:
        made = net(batch[0])
        rows = made.reshape(-1, 3) if broken else made.transpose(1, 2).reshape(-1, 3)
        return functional.cross_entropy(rows, batch[1].reshape(-1))

    def score(net: nn.Module) -> float:
        return float((net(u).argmax(1) == v).float().mean())

    return Training(Sequences, loader(x[:600], y[:600], size=30), loss, adam(5e-3), score=score, steps=300)


def weights_that_are_tensors(broken: bool) -> Training:
    """Weights that require gradients, and that no ``nn.Parameter`` is around: no optimizer hears of them."""
    return classes(digits(), partial(Bare, broken), adam(3e-3), steps=250)


def margins_of_zeros_and_ones(broken: bool) -> Training:
    """A soft margin for labels of zeros and ones, which is made for -1 and 1: for a zero there is nothing to learn."""
    x, y = labelled()
    u, v = x[800:], y[800:, 0] > 0.5
    labels = y[:800, :1] if broken else 2 * y[:800, :1] - 1

    def loss(net: nn.Module, batch: Any) -> Tensor:
        return functional.soft_margin_loss(net(batch[0]), batch[1])

    def score(net: nn.Module) -> float:
        return float(((net(u)[:, 0] > 0) == v).float().mean())

    return Training(stack(8, 32, 1), loader(x[:800], labels, size=40), loss, adam(1e-2), score=score, steps=250)
