"""Broken trainings of kinds that the clinic hadn't, written before the doctor had been tried on them.

Masks of pixels, prices, tags, echoes, two views of one example, two tasks at once, norms over a single number.
"""

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from patients.further_networks import Decoder, Normed, Tagger, Twins, Two, segmenter
from patients.unseen import adam, classes, digits, loader, stack
from patients.ward import Patient, in_pairs
from undertow.training import Training


def further() -> Iterator[Patient]:
    """All of them."""
    return in_pairs("further", (
        ("CNN", "D", dice_of_logits), ("MLP", "D", prices_of_all_sizes), ("RNN", "D", tags_a_step_late),
        ("RNN", "C", first_state_read), ("RNN", "D", decoder_that_is_told), ("CNN", "D", contrast_too_cold),
        ("MLP", "D", second_task_of_thousands), ("MLP", "C", norms_of_one_number),
    ))  # fmt: skip


@cache
def blobs() -> tuple[Tensor, Tensor]:
    """Noisy images with a disc, and which pixels it covers: one in eight."""
    draws = torch.Generator().manual_seed(21)
    many, size = 700, 12
    places = 2 + (size - 4) * torch.rand(many, 2, generator=draws)
    axis = torch.arange(size) + 0.5
    away = (axis[None, :, None] - places[:, :1, None]) ** 2 + (axis[None, None] - places[:, 1:, None]) ** 2
    mask = (away < 2.4**2).float()[:, None]
    return mask + 0.7 * torch.randn(mask.shape, generator=draws), mask


def dice_of_logits(broken: bool) -> Training:
    """Dice's overlap of numbers that no sigmoid has made shares."""
    x, mask = blobs()
    u, v = x[500:], mask[500:] > 0.5

    def loss(net: nn.Module, batch: Any) -> Tensor:
        made = net(batch[0]) if broken else net(batch[0]).sigmoid()
        both = (made * batch[1]).sum()
        return 1 - (2 * both + 1) / (made.sum() + batch[1].sum() + 1)

    def score(net: nn.Module) -> float:
        found = net(u) > 0
        return float((found & v).sum() / (found | v).sum().clamp(min=1))

    return Training(segmenter, loader(x[:500], mask[:500], size=25), loss, adam(3e-3), score=score, steps=250)


@cache
def prices() -> tuple[Tensor, Tensor]:
    """What four features of a thing make of its price, between a cent and a million."""
    draws = torch.Generator().manual_seed(22)
    x = torch.randn(1000, 4, generator=draws)
    told = 2 * x[:, 0] + 1.5 * torch.sin(2 * x[:, 1]) - x[:, 2] + 0.2 * torch.randn(1000, generator=draws)
    return x, (3 + 1.3 * told).exp()[:, None]


def prices_of_all_sizes(broken: bool) -> Training:
    """Squared errors of prices, of which a few are all that counts; judged by their orders of magnitude."""
    x, y = prices()
    u, v = x[700:], y[700:].log()

    def loss(net: nn.Module, batch: Any) -> Tensor:
        if broken:
            return functional.mse_loss(net(batch[0]), batch[1])
        return functional.mse_loss(net(batch[0]).clamp(min=1e-3).log(), batch[1].log())

    class Priced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = stack(4, 32, 32, 1)()

        def forward(self, x: Tensor) -> Tensor:
            made: Tensor = self.body(x)
            return made if broken else made.exp()

    def score(net: nn.Module) -> float:
        made = net(u).clamp(min=1e-3).log()
        return max(-1.0, 1 - float((made - v).square().mean() / v.var()))

    return Training(Priced, loader(x[:700], y[:700], size=50), loss, adam(3e-3), score=score, steps=400)


@cache
def tagged() -> tuple[Tensor, Tensor]:
    """Tokens, and tags that say whether a token is larger than the one before it."""
    draws = torch.Generator().manual_seed(23)
    x = torch.randint(12, (900, 14), generator=draws)
    before = torch.cat([torch.zeros(900, 1, dtype=torch.int64), x[:, :-1]], 1)
    return x, (x > before).long() + (x > 5).long()


def tags_a_step_late(broken: bool) -> Training:
    """Each step's output is held against the tag of the step behind it, which nobody can know."""
    x, y = tagged()
    u, v = x[600:], y[600:]

    def loss(net: nn.Module, batch: Any) -> Tensor:
        made = net(batch[0])
        wanted = batch[1]
        if broken:
            made, wanted = made[:, :-1], wanted[:, 1:]
        return functional.cross_entropy(made.reshape(-1, 3), wanted.reshape(-1))

    def score(net: nn.Module) -> float:
        return float((net(u).argmax(-1) == v).float().mean())

    return Training(Tagger, loader(x[:600], y[:600], size=30), loss, adam(5e-3), score=score, steps=300)


def first_state_read(broken: bool) -> Training:
    """What a GRU knows after the first row of a digit is all that the head is given."""
    x, y, u, v = digits()

    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = nn.GRU(8, 24, batch_first=True), nn.Linear(24, 10)

        def forward(self, x: Tensor) -> Tensor:
            states = self.rnn(x)[0]
            return self.head(states[:, 0] if broken else states[:, -1])  # type: ignore[no-any-return]

    return classes((x.view(-1, 8, 8), y, u.view(-1, 8, 8), v), Reading, adam(5e-3), size=32, steps=250)


@cache
def echoed() -> tuple[Tensor, Tensor]:
    """Five symbols, and the same five backwards."""
    x = torch.randint(5, (1000, 5), generator=torch.Generator().manual_seed(24))
    return x, x.flip(1)


def decoder_that_is_told(broken: bool) -> Training:
    """While it learns the decoder is given the symbol that it shall say, and not the one before it."""
    x, y = echoed()
    u, v = x[800:], y[800:]

    def loss(net: nn.Module, batch: Any) -> Tensor:
        given = batch[1] if broken else torch.cat([torch.full_like(batch[1][:, :1], 5), batch[1][:, :-1]], 1)
        return functional.cross_entropy(net(batch[0], given).reshape(-1, 5), batch[1].reshape(-1))

    def score(net: Any) -> float:
        return float((net.says(u) == v).float().mean())

    return Training(Decoder, loader(x[:800], y[:800], size=40), loss, adam(1e-2), score=score, steps=300)


def contrast_too_cold(broken: bool) -> Training:
    """Similarities of two halves of a digit are divided by 3e-4: the softmax knows nothing but yes and no."""
    x, _, u, _ = digits()
    u = u[:200]

    def loss(net: nn.Module, batch: Any) -> Tensor:
        one, other = net(batch[0])
        alike = one @ other.T / (3e-4 if broken else 0.1)
        return functional.cross_entropy(alike, torch.arange(len(one)))

    def score(net: nn.Module) -> float:
        one, other = net(u)
        ranks = (one @ other.T).argsort(1, descending=True) == torch.arange(len(one))[:, None]
        return float(ranks[:, :10].any(1).float().mean())

    return Training(Twins, loader(x, size=64), loss, adam(3e-3), score=score, steps=300)


def second_task_of_thousands(broken: bool) -> Training:
    """The second task's targets are thousands, and both losses are simply added up."""
    x, y, u, v = digits()
    ink = x.sum(1, keepdim=True) * (1000.0 if broken else 0.05)

    def loss(net: nn.Module, batch: Any) -> Tensor:
        logits, guessed = net(batch[0])
        return functional.cross_entropy(logits, batch[1]) + functional.mse_loss(guessed, batch[2])

    def score(net: nn.Module) -> float:
        return float((net(u)[0].argmax(1) == v).float().mean())

    return Training(Two, loader(x, y, ink), loss, adam(3e-3), score=score, steps=300)


def norms_of_one_number(broken: bool) -> Training:
    """A layer norm over an axis of one: what comes out of it is its bias, whatever goes in."""
    x, y, u, v = digits()
    return classes((x, y, u, v), partial(Normed, broken), adam(3e-3), steps=250)
