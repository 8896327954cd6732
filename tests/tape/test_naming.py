"""Layers are named after who computes them; weights have the shape that they are multiplied with."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from undertow.examination import examine
from undertow.record import Role


def weights(net, compute_loss):
    return [site for site in examine(net, compute_loss).run.sites if site.role is Role.WEIGHT]


def test_the_parts_of_attention_are_told_apart():
    torch.manual_seed(0)
    net, x = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), torch.randn(2, 5, 16)
    found = weights(net, lambda: net(x).square().mean())
    assert [site.name for site in found] == ["linear2", "linear1", "self_attn.out_proj", "self_attn"]
    assert found[2].module_type == "NonDynamicallyQuantizableLinear"


class Fused(nn.Module):
    """Takes the weights of its parts without calling them, as fused kernels do."""

    def __init__(self):
        super().__init__()
        self.conv1d, self.dt_proj, self.head = nn.Conv1d(4, 4, 3, padding=1), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x):
        h = functional.silu(functional.conv1d(x, self.conv1d.weight, self.conv1d.bias, padding=1))
        return self.head(functional.linear(h, self.dt_proj.weight, self.dt_proj.bias))


def test_a_layer_is_named_after_the_part_that_owns_its_weights():
    net, x = nn.Sequential(Fused()), torch.randn(2, 4, 6)
    found = weights(net, lambda: net(x).square().mean())
    assert [site.name for site in found] == ["0.head", "0.dt_proj", "0.conv1d"]
    assert found[2].module_type == "Conv1d"


class Tied(nn.Module):
    def __init__(self, through_module):
        super().__init__()
        self.words, self.body, self.through_module = nn.Embedding(11, 8), nn.Linear(8, 8), through_module
        if through_module:
            self.head = nn.Linear(8, 11, bias=False)
            self.head.weight = self.words.weight

    def forward(self, ids):
        h = self.body(self.words(ids)).tanh()
        return self.head(h) if self.through_module else h @ self.words.weight.t()


@pytest.mark.parametrize(("through_module", "name"), [(True, "head"), (False, "matrix product")])
def test_a_tied_head_is_named_after_who_computes_it(through_module, name):
    net, ids = Tied(through_module), torch.arange(11)
    found = weights(net, lambda: functional.cross_entropy(net(ids), ids))
    assert [site.name for site in found] == [name, "body", "words"]
    assert found[0].parameters == found[2].parameters == ("words.weight",)


def test_compiled_leaves_have_their_own_names():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.child = torch.compile(nn.Linear(8, 8), backend="eager")
            self.body = torch.compile(nn.Sequential(nn.Linear(8, 8), nn.Tanh()), backend="eager")
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.body(torch.tanh(self.child(x))))

    net, x = Net(), torch.randn(12, 8)
    assert [site.name for site in weights(net, lambda: net(x).square().mean())] == ["head", "body.0", "child"]


class Joined(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(5, 24)), nn.Parameter(torch.randn(15, 24))

    def forward(self, x):
        return functional.linear(x, torch.cat([self.a, self.b]))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: nn.Linear(24, 20), (20, 24)),
        (lambda: weight_norm(nn.Linear(24, 20)), (20, 24)),
        (lambda: spectral_norm(nn.Linear(24, 20)), (20, 24)),
        (Joined, (20, 24)),
    ],
)
def test_weights_have_the_shape_that_they_are_multiplied_with(layer, shape):
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(24, 24), nn.Tanh(), layer(), nn.Tanh(), nn.Linear(20, 3)), torch.randn(7, 24)
    found = weights(net, lambda: net(x).square().mean())
    assert found[1].weight_shape == shape
    assert found[1].n_out == 20


def test_convolutions_under_weight_norm_have_their_shape():
    net, x = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), weight_norm(nn.Conv2d(3, 4, 3))), torch.randn(2, 2, 8, 8)
    assert weights(net, lambda: net(x).square().mean())[0].weight_shape == (4, 3, 3, 3)


class Graph(nn.Module):
    """A graph convolution: a product with a constant matrix, which is no layer."""

    def __init__(self, edges):
        super().__init__()
        self.edges, self.first, self.second = edges, nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.second(self.edges @ torch.relu(self.first(x)))


@pytest.mark.parametrize("edges", [torch.rand(9, 9), torch.rand(9, 9).to_sparse()])
def test_a_constant_matrix_is_no_weight(edges):
    torch.manual_seed(0)
    net, x = Graph(edges), torch.randn(9, 6)
    report = examine(net, lambda: net(x).square().mean())
    assert [s.name for s in report.run.sites if s.role is Role.WEIGHT] == ["second", "first"]
    assert any("mixing" in gain.factors for gain in report.gains)


def test_a_fourier_transform_mixes():
    torch.manual_seed(0)
    layers, x = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 2)]), torch.randn(6, 12, 8)
    report = examine(layers, lambda: layers[1](torch.fft.fftn(layers[0](x), dim=(1, 2)).real).square().mean())
    assert all(gain.factors.get("other", 1.0) == pytest.approx(1) for gain in report.gains)
    assert any(gain.factors.get("mixing", 1.0) > 2 for gain in report.gains)


def test_frozen_weights_are_weights():
    net, x = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2)), torch.randn(9, 6)
    net[2].requires_grad_(False)
    assert [site.name for site in weights(net, lambda: net(x).square().mean())] == ["4", "2", "0"]


def test_reports_say_what_a_head_is_tied_with():
    torch.manual_seed(0)
    net, ids = Tied(True), torch.arange(11)
    report = examine(net, lambda: functional.cross_entropy(net(ids), ids))
    assert "head is tied with words." in str(report)
    assert [site.tied_with for site in report.run.sites if site.role is Role.WEIGHT] == ["words", "", ""]


def test_findings_say_what_a_layer_is_tied_with():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))
    net[4].weight = net[0].weight
    nn.init.constant_(net[0].weight, 0.3)
    x = torch.randn(9, 8)
    found = [f.message for f in examine(net, lambda: net(x).square().mean()).findings if f.code == "UT302"]
    assert any("4 is tied with 0." in message or "of 0 " in message for message in found)
