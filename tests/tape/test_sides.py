"""Data or weights: what becomes of a sum or product with a parameter tells, not its shape alone."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

from undertow.examination import examine
from undertow.record import Role


class Shifted(nn.Module):
    """A learned position (or a learned scale) in front of a network."""

    def __init__(self, shape, body, combine=torch.add):
        super().__init__()
        self.position, self.body, self.combine = nn.Parameter(torch.randn(shape)), body, combine

    def forward(self, x):
        out = self.body(self.combine(x, self.position))
        return out[0] if isinstance(out, tuple) else out


def mlp():
    return nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))


def pruned():
    net = mlp()
    prune.random_unstructured(net[0], "weight", 0.5)
    prune.random_unstructured(net[2], "weight", 0.5)
    return net


def convolutional():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3))


def layers(net, x):
    run = examine(net, lambda: net(x).square().mean()).run
    return [site.name for site in run.sites if site.role is Role.WEIGHT]


@pytest.mark.parametrize("combine", [torch.add, torch.mul, torch.sub])
@pytest.mark.parametrize(
    ("shape", "body"),
    [
        ((1, 5, 16), mlp),
        ((1, 5, 16), lambda: nn.Sequential(nn.LayerNorm(16), mlp())),
        ((1, 5, 16), lambda: nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)),
        ((1, 5, 16), lambda: nn.GRU(16, 8, batch_first=True)),
        ((1, 5, 16), pruned),
        ((1, 3, 8, 8), convolutional),
    ],
)
def test_a_batch_of_one_has_the_layers_of_a_batch_of_two(shape, body, combine):
    torch.manual_seed(0)
    net = Shifted(shape, body(), combine)
    found = [layers(net, torch.randn(rows, *shape[1:])) for rows in (1, 2)]
    assert found[0] == found[1] != []


def test_one_example_without_a_batch_has_layers():
    assert layers(Shifted((16,), mlp(), torch.mul), torch.randn(16)) == ["body.2", "body.0"]


def test_a_network_of_one_example_that_vanishes_is_found_out():
    torch.manual_seed(1)
    body = nn.Sequential(*(m for _ in range(12) for m in (nn.Linear(8, 8), nn.Sigmoid())), nn.Linear(8, 2))
    net, x = Shifted((1, 3, 8), body), torch.randn(1, 3, 8)
    assert "UT101" in {finding.code for finding in examine(net, lambda: net(x).square().mean()).findings}


class LowRank(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Parameter(torch.randn(4, 16)), nn.Parameter(torch.randn(16, 4)), nn.Linear(16, 3)

    def forward(self, x):
        mask = torch.ones(16, 4)
        return self.head(torch.relu(functional.linear(x, (self.b * mask) @ self.a)))


class Sampled(nn.Module):
    """Weights drawn anew in each pass, as in Bayes by backprop."""

    def __init__(self):
        super().__init__()
        self.mean, self.rho = nn.Parameter(torch.randn(16, 16)), nn.Parameter(torch.randn(16, 16))

    def forward(self, x):
        return functional.linear(x, self.mean + functional.softplus(self.rho) * torch.ones(16, 16)).relu()


@pytest.mark.parametrize("rows", [1, 8, 16])
@pytest.mark.parametrize(("kind", "count"), [(LowRank, 2), (Sampled, 1), (pruned, 2)])
def test_weights_made_of_parameters_and_constants_are_weights(kind, count, rows):
    torch.manual_seed(0)
    assert len(layers(kind(), torch.randn(rows, 16))) == count


class Packed(nn.Module):
    """Biases behind the split of a packed projection, as DeBERTa's and Funnel's, and one at the input."""

    def __init__(self, width=16):
        super().__init__()
        self.packed, self.head = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, 3)
        self.q_bias, self.v_bias, self.at_input = (nn.Parameter(torch.zeros(width)) for _ in range(3))

    def forward(self, x):
        q, k, v = self.packed(x + self.at_input).chunk(3, -1)
        return self.head(((q + self.q_bias) @ k.transpose(1, 2)).softmax(-1) @ (v + self.v_bias))


class TwoReaders(nn.Module):
    """A bias that one of two readers of a layer's output adds."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.bias = nn.Linear(16, 16), nn.Linear(16, 3), nn.Parameter(torch.zeros(16))

    def forward(self, x):
        h = self.first(x)
        return self.second(torch.tanh(h + self.bias) + h.exp())


class StateSpace(nn.Module):
    """A softmax over a learned decay plus one part of a projection, as EfficientViM's A."""

    def __init__(self):
        super().__init__()
        self.packed, self.decay, self.head = nn.Linear(16, 32), nn.Parameter(torch.randn(16)), nn.Linear(16, 3)

    def forward(self, x):
        gate, values = self.packed(x).split([16, 16], -1)
        return self.head((gate + self.decay.view(1, 1, -1)).softmax(1) * values)


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("kind", [Packed, TwoReaders, StateSpace])
def test_every_parameter_that_takes_part_belongs_to_a_site(kind, requires_grad, rows):
    torch.manual_seed(0)
    net, x = kind(), torch.randn(rows, 5, 16, requires_grad=requires_grad)
    run = examine(net, lambda: net(x).square().mean()).run
    assert {name for name, _ in net.named_parameters()} == {name for site in run.sites for name in site.parameters}
    assert np.nansum(run.column("progress")) == pytest.approx(1)


class ByHand(nn.Module):
    """Rows of a table are looked up by indexing it, and nothing else is data."""

    def __init__(self, lookup):
        super().__init__()
        self.table, self.body, self.lookup = nn.Parameter(torch.randn(9, 4)), nn.Linear(8, 3), lookup

    def forward(self, x):
        return self.body(self.lookup(self.table, x).flatten(1))


@pytest.mark.parametrize(
    "lookup", [lambda t, x: t[x], lambda t, x: t.index_select(0, x.flatten()).reshape(len(x), 2, 4)]
)
def test_a_table_that_is_indexed_by_hand_is_no_weight(lookup):
    net, x = ByHand(lookup), torch.randint(9, (6, 2))
    report = examine(net, lambda: functional.cross_entropy(net(x), torch.arange(6) % 3))
    assert [site.name for site in report.run.sites if site.role is Role.WEIGHT] == ["body"]


class Symmetric(nn.Module):
    def forward(self, weight):
        return torch.eye(len(weight)) @ (weight + weight.T)


@pytest.mark.parametrize(
    "wrap",
    [
        nn.utils.parametrizations.spectral_norm,
        nn.utils.spectral_norm,
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.orthogonal,
        lambda layer: nn.utils.parametrize.register_parametrization(layer, "weight", Symmetric()),
    ],
    ids=["spectral", "spectral by hooks", "weight norm", "orthogonal", "one's own"],
)
def test_a_layer_whose_weights_are_made_of_parameters_is_one_layer(wrap):
    torch.manual_seed(0)
    net = nn.Sequential(wrap(nn.Linear(6, 6)), nn.ReLU(), wrap(nn.Linear(6, 6)), nn.Tanh(), wrap(nn.Linear(6, 6)))
    x = torch.randn(9, 6)
    run = examine(net, lambda: net(x).square().mean()).run
    layers = [(site.name, site.module_type) for site in run.sites if site.role is Role.WEIGHT]
    assert layers == [("4", "Linear"), ("2", "Linear"), ("0", "Linear")]
    norms = [run.column("weight_norm")[site.index] for site in run.sites if site.role is Role.WEIGHT]
    assert np.isfinite(norms[:-1]).all()  # autograd keeps no made weights of a layer whose input takes no gradient


def test_attention_and_graphs_on_raw_data_stay_data():
    torch.manual_seed(0)
    q, k = nn.Linear(4, 5, bias=False), nn.Linear(4, 5, bias=False)
    x, edges = torch.randn(7, 4), torch.rand(7, 7)
    model = nn.ModuleList([q, k])
    run = examine(model, lambda: (edges @ (q(x) @ k(x).T)).square().mean()).run
    assert {site.name for site in run.sites if site.role is Role.WEIGHT} == {"0", "1"}
