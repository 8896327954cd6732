"""UT205: examples that become alike on their way through, or while training, and examples that only look it."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from rules.loops import findings, plainly, record
from rules.networks import chain, codes, he_relu, simple
from rules.trainings import adam, classified, sgd, train
from rules.trainings import chain as layers
from undertow import examine
from undertow.record import Run, Severity
from undertow.rules import over_time

NODES, KINDS = 240, 4


def neighbours() -> Tensor:
    """Neighbours of nodes of four kinds, normalised on both sides; most are of a node's own kind."""
    generator = torch.Generator().manual_seed(0)
    kind = torch.arange(NODES) % KINDS
    likely = torch.where(kind[:, None] == kind, 0.2, 0.05)
    edges = torch.bernoulli(torch.triu(likely, 1), generator=generator)
    edges = edges + edges.T + torch.eye(NODES)
    degree = edges.sum(0)
    return edges / (degree[:, None] * degree).sqrt()


class Graph(nn.Module):
    """A graph network; over the first layer's output with ``residual`` connections."""

    def __init__(self, depth: int, residual: bool = False, sparse: bool = False, attends: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(16, 32), nn.Linear(32, KINDS)
        self.layers = nn.ModuleList(nn.Linear(32, 32) for _ in range(depth))
        for layer in (self.first, self.last, *self.layers):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.residual, self.attends, self.weights = residual, attends, neighbours()
        self.spread = self.weights.to_sparse() if sparse else self.weights

    def average(self, h: Tensor) -> Tensor:
        if self.attends:
            logits = (h @ h.T / 100).masked_fill(self.weights == 0, -torch.inf)
            return logits.softmax(-1) @ h
        return torch.sparse.mm(self.spread, h) if self.spread.is_sparse else self.spread @ h

    def forward(self, x: Tensor) -> Tensor:
        h = first = self.first(self.average(x)).relu()
        for layer in self.layers:
            h = (h + layer(0.8 * self.average(h) + 0.2 * first) if self.residual else layer(self.average(h))).relu()
        return self.last(h)


def over_graph(model: nn.Module):
    x = torch.randn(NODES, 16, generator=torch.Generator().manual_seed(1))
    x[:, :KINDS] += functional.one_hot(torch.arange(NODES) % KINDS, KINDS)
    return model, lambda: functional.cross_entropy(model(x), torch.arange(NODES) % KINDS), None


class Attentive(nn.Module):
    """Attention upon attention, normalised each time; around it a residual connection or none."""

    def __init__(self, depth: int, residual: bool, head: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.head, self.residual = nn.Linear(16, 32), nn.Linear(32, head), residual
        self.blocks = nn.ModuleList(nn.MultiheadAttention(32, 4, batch_first=True) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for block in self.blocks:
            h = functional.layer_norm(self.residual * h + block(h, h, h, need_weights=False)[0], (32,))
        return self.head(h)


def over_tokens(model: nn.Module):
    x = torch.randn(16, 12, 16, generator=torch.Generator().manual_seed(1))
    return model, lambda: functional.cross_entropy(model(x).flatten(0, 1), torch.arange(192) % 4), None


def at_torchs_start(act, depth: int, width: int = 32):
    torch.manual_seed(0)
    parts = [part for _ in range(depth) for part in (nn.Linear(width, width), act())]
    return simple(nn.Sequential(*parts, nn.Linear(width, 4)))


CASES = {"UT205": (lambda: over_graph(Graph(12)), lambda: over_graph(Graph(12, residual=True)))}
ALIKE = {
    "sparse neighbours": lambda: over_graph(Graph(12, sparse=True)),
    "attention over neighbours": lambda: over_graph(Graph(12, attends=True)),
    "deep ReLU at torch's start": lambda: at_torchs_start(nn.ReLU, 16),
    "deep tanh at torch's start": lambda: at_torchs_start(nn.Tanh, 24),
    "deep GELU at torch's start": lambda: at_torchs_start(nn.GELU, 16),
}
DIFFERENT = {
    "two layers of a graph": lambda: over_graph(Graph(2)),
    "8 layers of ReLU at torch's start": lambda: at_torchs_start(nn.ReLU, 7),
    "8 layers of tanh at torch's start": lambda: at_torchs_start(nn.Tanh, 7),
    "20 layers of ReLU, He": he_relu,
    "attention with residual connections": lambda: over_tokens(Attentive(12, residual=True)),
    "the same example again and again": lambda: _repeated(),
    "one output": lambda: _binary(),
}


def _repeated():
    model = chain(nn.Tanh, 6)
    x = torch.randn(1, 32).repeat(64, 1)
    return model, lambda: model(x).square().mean(), None


def _binary():
    model = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1), nn.Linear(1, 1))
    x = torch.randn(64, 32)
    return model, lambda: functional.binary_cross_entropy_with_logits(model(x)[:, 0], (x[:, 0] > 0).float()), None


@pytest.mark.parametrize("place", [0, 1])
def test_fires_and_stays_silent(place):
    assert ("UT205" in codes(CASES["UT205"][place]())) == (place == 0)


@pytest.mark.parametrize("name", ALIKE)
def test_fires_where_examples_become_alike(name):
    (found,) = (each for each in examine(*ALIKE[name]()).findings if each.code == "UT205")
    assert found.severity is not Severity.NOTE
    assert found.evidence["1 - cosine"] < 1e-5 < found.evidence["1 - cosine at most"]


def test_positions_that_became_alike_leave_attention_nothing_to_choose():
    (found,) = (each for each in examine(*over_tokens(Attentive(8, residual=False))).findings if each.code == "UT205")
    assert found.severity is Severity.WARNING
    assert found.evidence["passed on"] < 1e-5
    assert found.evidence["layers"] >= 2


class Pooling(nn.Module):
    """Every layer looks at one key: the mean of what it is given."""

    def __init__(self, fused):
        super().__init__()
        torch.manual_seed(0)
        self.fused, self.layers = (
            fused,
            nn.ModuleList(nn.ModuleList(nn.Linear(32, 32) for _ in "qkv") for _ in range(4)),
        )

    def forward(self, x):
        for query, key, value in self.layers:
            pooled = x.mean(1, keepdim=True)
            q, k, v = query(x), key(pooled), value(pooled)
            q, k, v = (part.unflatten(2, (2, 16)).transpose(1, 2) for part in (q, k, v))
            met = functional.scaled_dot_product_attention(q, k, v) if self.fused else (q @ k.mT).softmax(-1) @ v
            x = x + met.transpose(1, 2).flatten(2)
        return x


@pytest.mark.parametrize("fused", [True, False])
def test_attention_with_one_key_has_nothing_to_choose_by_design(fused):
    model, x = Pooling(fused), torch.randn(12, 9, 32)
    assert "UT205" not in codes((model, lambda: functional.cross_entropy(model(x).mean(1), torch.arange(12)), None))


@pytest.mark.parametrize("name", DIFFERENT)
def test_stays_silent_where_examples_differ(name):
    assert "UT205" not in codes(DIFFERENT[name]())


def test_the_cosine_is_the_one_of_pairs():
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))
    x = torch.randn(20, 8)
    run = examine(model, lambda: model(x).square().mean()).run
    hidden = functional.normalize(model[:2](x), dim=1).detach()
    pairs = (hidden @ hidden.T)[~torch.eye(20, dtype=torch.bool)].mean()
    (last,) = (site.index for site in run.sites if site.module == "2")
    assert run.column("input_cosine")[last] == pytest.approx(float(pairs), abs=1e-5)


def test_a_deep_recurrent_network_is_given_time():
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.cells, self.head = nn.LSTM(8, 32, 6, batch_first=True), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.cells(x)[0][:, -1])

    model, x = Reader(), torch.randn(32, 12, 8)
    findings = examine(model, lambda: functional.cross_entropy(model(x), torch.arange(32) % 4)).findings
    assert {str(found.severity) for found in findings if found.code == "UT205"} <= {"note"}


def told(run: Run) -> list:
    return [found for found in over_time(run) if found.code == "UT205"]


def _pulled_together(folder, negatives: bool) -> Run:
    """Two views of an example are drawn to each other, with nothing or with the others to hold them apart."""

    def loss(model: nn.Module, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(64, 8, generator=generator)
        one, two = (model(x + 0.3 * torch.randn(64, 8, generator=generator)) for _ in range(2))
        one, two = functional.normalize(one, dim=1), functional.normalize(two, dim=1)
        if negatives:
            return functional.cross_entropy(one @ two.T / 0.2, torch.arange(64))
        return -(one * two).sum(1).mean()

    model = layers(nn.ReLU, 4, gain=2.0)
    return train(folder, model, adam(model, 1e-2), loss, 150)


RUNS = {"UT205": (lambda folder: _pulled_together(folder, False), lambda folder: _pulled_together(folder, True))}


def test_representations_that_collapse_while_training_are_told(tmp_path):
    collapsed, kept = (run(tmp_path / str(n)) for n, run in enumerate(RUNS["UT205"]))
    (found,) = told(collapsed)
    assert not found.from_start
    assert told(kept) == []


def test_a_deep_network_that_stays_where_it_is_is_told(tmp_path):
    torch.manual_seed(0)
    model = layers(nn.ReLU, 14)
    (found,) = told(train(tmp_path, model, sgd(model, 0.1), classified(), 60))
    assert found.from_start


def test_a_network_at_torchs_start_that_learns_is_not(tmp_path):
    torch.manual_seed(0)
    model = layers(nn.ReLU, 5)
    assert told(train(tmp_path, model, adam(model, 3e-3), classified(), 100)) == []


@pytest.mark.parametrize("shrunk", [True, False])
def test_a_last_layer_that_gets_the_same_for_all_examples_is_told_of_a_run(tmp_path, shrunk):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(8, 16), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 8))
    nn.init.normal_(net[0].weight, std=1e-5 if shrunk else 1.0)
    words = torch.arange(64) % 8
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    steps = plainly(lambda _: functional.cross_entropy(net(words), words), optimizer, optimizer.zero_grad, 60)
    assert ("UT205" in findings(record(tmp_path, net, optimizer, steps))) is shrunk
