"""Models of all kinds: every operation is found, named, and measured."""

import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from undertow.examination import examine
from undertow.record import Role
from undertow.tape import Tape


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))


def names(run):
    return [site.name for site in run.sites if site.role is not Role.LOSS]


PLAIN = ["4", "3.relu", "2", "1.tanh", "0"]


def test_functional_calls_are_named_by_the_module_around_them():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(6, 2)

        def forward(self, x):
            return torch.sigmoid(self.inner(x)) * 2

    model = nn.ModuleDict({"net": Net()})
    run = examine(model, lambda: model["net"](torch.ones(4, 6)).sum()).run
    assert [site.name for site in run.sites] == ["sum", "net.product", "net.sigmoid", "net.inner"]


def test_a_shared_module_is_two_sites(nets):
    model, compute_loss = nets("shared")
    run = examine(model, compute_loss).run
    layers = [site for site in run.sites if site.role is Role.WEIGHT]
    assert [site.module for site in layers] == ["layer", "layer"]


def test_tied_weights_are_named_once(nets):
    model, compute_loss = nets("encoder-decoder")
    run = examine(model, compute_loss).run
    users = [site for site in run.sites if "words.weight" in site.parameters]
    assert sorted(site.op for site in users) == ["embedding", "embedding", "mm"]
    assert run.header["unreached"] == []


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_recurrent_layers_are_unrolled_and_left_fused(kind):
    model = nn.ModuleDict({"rnn": kind(3, 4, batch_first=True)})
    x = torch.randn(2, 7, 3)
    run = examine(model, lambda: model["rnn"](x)[0].square().mean()).run
    steps = [site for site in run.sites if "rnn.weight_hh_l0" in site.parameters]
    assert len(steps) == 7
    with Tape(model) as tape:
        tape.attach(model["rnn"](x)[0].sum())
    assert "mkldnn_rnn_layer" in [site.op for site in tape.sites] or kind is not nn.LSTM


def test_attention_is_attention(nets):
    for name, op in (("attention", "scaled_dot_product_flash_attention_for_cpu"), ("attention with weights", "bmm")):
        run = examine(*nets(name)).run
        assert op in [site.op for site in run.sites if site.role is Role.ATTENTION]


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing(nets, reentrant):
    model, compute_loss = nets("reentrant checkpoint" if reentrant else "checkpoint")
    calls = model.body[1].num_batches_tracked.item()
    report = examine(model, compute_loss)
    assert model.body[1].num_batches_tracked.item() == calls
    modules = {site.module for site in report.run.sites if site.role is Role.WEIGHT}
    assert modules == ({"stem", "head"} if reentrant else {"stem", "body.0", "body.3", "head"})
    assert report.run.header["unreached"] == []
    if not reentrant:
        (sigmoid,) = (site for site in report.run.sites if site.op == "sigmoid")
        assert np.isnan(report.run.column("derivative_rms")[sigmoid.index])  # reading it would compute all again
        gain = next(gain for gain in report.gains if gain.start == sigmoid.index)
        assert gain.factors["activation"] == pytest.approx(gain.gain)


def test_checkpointing_is_not_computed_more_often():
    """Reading a saved tensor would run the block again, and count in its BatchNorm."""
    model = nn.ModuleList([nn.Linear(4, 4), nn.BatchNorm1d(4)])
    seen = []
    model[1].register_forward_hook(lambda *_: seen.append(1))
    x = torch.randn(5, 4)

    def compute_loss():
        block = nn.Sequential(*model, nn.Sigmoid())
        return torch.utils.checkpoint.checkpoint(block, x.requires_grad_(), use_reentrant=False).sum()

    with Tape(model) as tape:
        loss = compute_loss()
        tape.attach(loss)
        loss.backward()
    assert len(seen) == 2


def test_threads():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right, self.head = small(), small(), nn.Linear(4, 1)

        def forward(self, x):
            out = {}
            threads = [
                threading.Thread(target=lambda n=name: out.__setitem__(n, getattr(self, n)(x)))
                for name in ("left", "right")
            ]
            for thread in threads:
                thread.start()
                thread.join()
            return self.head(torch.cat([out["left"], out["right"]], 1))

    model = Two()
    run = examine(model, lambda: model(torch.ones(3, 6)).sum()).run
    expected = [f"{side}.{name}" for side in ("left", "right") for name in PLAIN]
    assert sorted(names(run)) == sorted(["head", "concatenation", *expected])
    for site in run.sites:
        assert all(name.startswith(site.module + ".") for name in site.parameters)


def test_compiled_models_are_read_eagerly():
    model = torch.compile(small(), backend="eager")
    x = torch.ones(3, 6)
    assert names(examine(model, lambda: model(x).sum()).run) == PLAIN
    model(x)
    assert names(examine(model, lambda: model(x).sum()).run) == PLAIN


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    model = small().to(dtype)
    report = examine(model, lambda: model(torch.ones(9, 6, dtype=dtype)).float().square().mean())
    assert names(report.run) == PLAIN
    for gain in report.gains:
        assert gain.factors["unattributed"] == pytest.approx(1, abs=0.05)


def test_autocast():
    model = small()

    def compute_loss():
        with torch.autocast("cpu", torch.bfloat16):
            return model(torch.ones(9, 6)).float().square().mean()

    report = examine(model, compute_loss)
    assert names(report.run) == PLAIN
    assert all(gain.factors["unattributed"] == pytest.approx(1, abs=0.05) for gain in report.gains)


def test_complex_parts():
    class Fourier(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 2)
            self.filter = nn.Parameter(torch.randn(8, 8, dtype=torch.cfloat))

        def forward(self, x):
            return self.last((torch.fft.fft(self.first(x)) @ self.filter).abs())

    model = Fourier()
    report = examine(model, lambda: model(torch.randn(5, 6)).square().mean())
    assert np.isfinite(report.run.column("grad_output")).all()
    assert {"filter", "first.weight", "last.weight"} <= {n for site in report.run.sites for n in site.parameters}


def test_inputs_that_take_gradient_keep_theirs():
    model = small()
    x = torch.ones(3, 6, requires_grad=True)
    x.grad = torch.full((3, 6), 7.0)
    examine(model, lambda: model(x).sum())
    assert (x.grad == 7).all()


def test_sparse_gradients_and_frozen_layers():
    model = nn.Sequential(nn.Embedding(9, 4, sparse=True), nn.Flatten(), nn.Linear(12, 2), nn.Linear(2, 2))
    model[2].requires_grad_(False)
    run = examine(model, lambda: model(torch.arange(9).view(3, 3)).square().mean()).run
    layers = {site.module: run.reading(site.index) for site in run.sites if site.role is Role.WEIGHT}
    assert list(layers) == ["3", "2", "0"]
    assert layers["0"].weight_grad_norm > 0
    assert np.isnan(layers["2"].progress)


def test_several_losses_and_several_inputs():
    model = nn.ModuleDict({"trunk": nn.Linear(4, 8), "a": nn.Linear(8, 2), "b": nn.Linear(8, 2)})
    x, y = torch.randn(5, 4), torch.randn(5, 4)

    def compute_loss():
        h = torch.relu(model["trunk"](x) + model["trunk"](y))
        return model["a"](h).square().mean() + functional.l1_loss(model["b"](h), torch.ones(5, 2))

    report = examine(model, compute_loss)
    (block,) = (gain for gain in report.gains if len(gain.shares) == 2)
    assert sum(block.shares.values()) == pytest.approx(1)
    assert report.run.sites[block.end].op == "relu"


def test_a_thousand_operations():
    layers = [module for _ in range(250) for module in (nn.Linear(4, 4), nn.Tanh())]
    model = nn.Sequential(*layers)
    for layer in layers[::2]:
        nn.init.orthogonal_(layer.weight)
    report = examine(model, lambda: model(0.01 * torch.randn(8, 4)).square().mean())
    assert len(report.run.sites) > 500
    assert len(str(report).splitlines()) < 60


def test_the_weight_gradient_norm_is_that_of_backward(nets):
    model, compute_loss = nets("u-net")
    run = examine(model, compute_loss).run
    compute_loss().backward()
    for site in run.sites:
        if site.role is Role.WEIGHT:
            weight = model.get_parameter(f"{site.module}.weight")
            assert run.reading(site.index).weight_grad_norm == pytest.approx(weight.grad.norm().item(), rel=1e-9)
            assert run.reading(site.index).weight_norm == pytest.approx(weight.norm().item(), rel=1e-9)
            bias = model.get_parameter(f"{site.module}.bias")
            assert run.reading(site.index).learning_speed == pytest.approx(bias.grad.norm().item(), rel=1e-9)


@pytest.mark.parametrize("rows", [1, 5])
def test_coherence_is_the_mean_gradient_over_the_root_mean_square(rows):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = torch.randn(rows, 3, dtype=torch.float64)
    run = examine(model, lambda: model(x).square().sum()).run
    hidden = model[0](x).detach().requires_grad_()
    model[2](torch.tanh(hidden)).square().sum().backward()
    g = hidden.grad
    expected = (g.mean(0).norm() / g.square().sum(1).mean().sqrt()).item()
    (site,) = (site for site in run.sites if site.module == "0")
    assert run.reading(site.index).coherence == pytest.approx(expected, rel=1e-9)
