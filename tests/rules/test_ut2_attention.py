"""UT203: attention that is saturated, in every way that attention is computed, and attention that is only sharp."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from rules.networks import codes
from rules.trainings import adam, train, warm_up
from undertow import examine
from undertow.record import Run, Severity
from undertow.rules import over_time


class Reader(nn.Module):
    """One layer of attention over a sequence, and a head."""

    def __init__(self, width: int = 32, heads: int = 4, how: str = "softmax", scale: float | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.q, self.k, self.v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.heads, self.how, self.scale = heads, how, scale
        self.head = nn.Linear(width, 4)
        for layer in (self.q, self.k, self.v):
            nn.init.normal_(layer.weight, std=width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        rows, length, width = x.shape
        q, k, v = (layer(x).view(rows, length, self.heads, -1).transpose(1, 2) for layer in (self.q, self.k, self.v))
        scale = (width // self.heads) ** -0.5 if self.scale is None else self.scale
        if self.how == "softmax":
            mixed = (q @ k.mT * scale).softmax(-1) @ v
        elif self.how == "einsum":
            weights = functional.softmax(torch.einsum("bhqd,bhkd->bhqk", q, k) * scale, dim=-1)
            mixed = torch.einsum("bhqk,bhkd->bhqd", functional.dropout(weights, 0.1), v)
        else:
            mixed = functional.scaled_dot_product_attention(q, k, v, scale=scale, is_causal=self.how == "causal")
        return self.head(mixed.transpose(1, 2).reshape(rows, length, width)).mean(1)


def read(model, width=32, rows=16, length=12):
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(rows, length, width, generator=generator), torch.arange(rows) % 4
    return model, lambda: functional.cross_entropy(model(x), y), None


class Encoder(nn.Module):
    def __init__(self, factor: float, need_weights: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention, self.need_weights = nn.MultiheadAttention(32, 4, batch_first=True), need_weights
        self.head = nn.Linear(32, 4)
        with torch.no_grad():
            self.attention.in_proj_weight[:64] *= factor

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attention(x, x, x, need_weights=self.need_weights)[0].mean(1))


class Router(nn.Module):
    """A mixture whose router has made up its mind; no attention."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.router, self.values, self.head = nn.Linear(32, 6), nn.Linear(32, 6 * 8), nn.Linear(8, 4)
        with torch.no_grad():
            self.router.weight *= 200

    def forward(self, x: Tensor) -> Tensor:
        weights = self.router(x).softmax(-1)
        return self.head((weights[..., None, :] @ self.values(x).unflatten(-1, (6, 8))).squeeze(-2)).mean(1)


CASES = {"UT203": (lambda: read(Reader(scale=20.0)), lambda: read(Reader()))}

SATURATED = {
    "fused": lambda: read(Reader(how="fused", scale=20.0)),
    "fused, causal": lambda: read(Reader(how="causal", scale=20.0)),
    "einsum and dropout": lambda: read(Reader(how="einsum", scale=20.0)),
    "no division by sqrt(d)": lambda: read(Reader(512, 1, scale=1.0), 512),
    "nn.MultiheadAttention": lambda: read(Encoder(12.0, need_weights=True)),
    "nn.MultiheadAttention, fused": lambda: read(Encoder(12.0, need_weights=False)),
    "bfloat16": lambda: (lambda m, f, _: (m, lambda: _in_bfloat16(f), None))(*read(Reader(scale=20.0))),
}
SOFT = {
    "fused": lambda: read(Reader(how="fused")),
    "causal, short": lambda: read(Reader(how="causal"), length=2),
    "one key only": lambda: read(Reader(scale=20.0), length=1),
    "nn.MultiheadAttention": lambda: read(Encoder(1.0, need_weights=True)),
    "a router": lambda: read(Router()),
}


def _in_bfloat16(loss):
    with torch.autocast("cpu", torch.bfloat16):
        return loss()


@pytest.mark.parametrize("place", [0, 1])
def test_fires_and_stays_silent(place):
    assert ("UT203" in codes(CASES["UT203"][place]())) == (place == 0)


@pytest.mark.parametrize("name", SATURATED)
def test_fires_however_attention_is_computed(name):
    (found,) = (each for each in examine(*SATURATED[name]()).findings if each.code == "UT203")
    assert found.severity is Severity.WARNING
    assert found.evidence["one_hot"] > 0.6
    assert found.evidence["logit_gap"] > 8


@pytest.mark.parametrize("name", SOFT)
def test_stays_silent_where_nothing_is_saturated(name):
    assert "UT203" not in codes(SOFT[name]())


def test_fused_attention_is_measured_as_the_softmax_is():
    measured = []
    for how in ("softmax", "fused"):
        run = examine(*read(Reader(how=how, scale=3.0))).run
        place = next(site.index for site in run.sites if not math.isnan(run.column("one_hot")[site.index]))
        measured.append([float(run.column(name)[place]) for name in ("one_hot", "one_hot_head", "logit_gap")])
    assert measured[0] == pytest.approx(measured[1], rel=1e-3)


def test_a_head_alone_is_told_from_its_layer():
    model = Reader()
    with torch.no_grad():
        model.q.weight[:8] *= 200  # the first of four heads
    run = examine(*read(model)).run
    place = next(site.index for site in run.sites if not math.isnan(run.column("one_hot")[site.index]))
    assert run.column("one_hot_head")[place] > 0.7
    assert run.column("one_hot")[place] < 0.5
    assert "UT203" not in codes(read(model))


def _trained(folder, lr: float, norm: bool) -> Run:
    class Growing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.words, self.places = nn.Embedding(16, 32), nn.Parameter(0.02 * torch.randn(12, 32))
            self.before, self.attention, self.head = nn.LayerNorm(32), Reader(), nn.Linear(32, 4)
            self.norm = nn.LayerNorm(8) if norm else nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            h = self.before(self.words(x) + self.places)
            a = self.attention
            q, k, v = (layer(h).unflatten(-1, (4, 8)).transpose(1, 2) for layer in (a.q, a.k, a.v))
            mixed = (self.norm(q) @ self.norm(k).mT / 8**0.5).softmax(-1) @ v
            return self.head((h + mixed.transpose(1, 2).flatten(2)).mean(1))

    def loss(model: nn.Module, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        x = torch.randint(16, (32, 12), generator=generator)
        return functional.cross_entropy(model(x), torch.randint(4, (32,), generator=generator))  # nothing to learn

    model = Growing()
    return train(folder, model, adam(model, lr), loss, 60, lr=warm_up(10), every=3)


def test_logits_that_grew_are_told_with_when(tmp_path):
    (found,) = (each for each in over_time(_trained(tmp_path, 0.5, norm=False)) if each.code == "UT203")
    assert not found.from_start
    assert found.began > 0
    assert "have grown" in found.message
    assert found.evidence["gap before"] < 2


def test_normalised_queries_and_keys_stay_soft(tmp_path):
    assert "UT203" not in {each.code for each in over_time(_trained(tmp_path, 0.5, norm=True))}
