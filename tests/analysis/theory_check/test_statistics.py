"""What theory needs to know is read off the model as it is."""

import numpy as np
import pytest
import torch
from torch import nn

from undertow.examination import examine
from undertow.record import Role


def layer_of(run, module):
    (site,) = (s for s in run.sites if s.module == module and s.role is Role.WEIGHT)
    return run.reading(site.index)


def statistics_of(x):
    rows = x.detach().double().flatten(1)
    return rows.square().mean().sqrt().item(), (rows.mean(0).square().sum() / rows.square().sum(1).mean()).item()


def test_inputs_and_biases_of_a_linear_layer():
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 5, bias=False)), torch.randn(40, 20) + 0.7
    run = examine(net, lambda: net(x).square().mean()).run
    first, last = layer_of(run, "0"), layer_of(run, "2")
    assert (first.input_rms, first.input_likeness) == pytest.approx(statistics_of(x), rel=1e-5)
    assert (last.input_rms, last.input_likeness) == pytest.approx(statistics_of(net[:2](x)), rel=1e-5)
    assert first.bias_rms == pytest.approx(net[0].bias.square().mean().sqrt().item(), rel=1e-5)
    assert last.bias_rms == 0


def test_inputs_of_a_convolution_and_of_a_sequence():
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)), torch.randn(10, 3, 9, 9)
    run = examine(net, lambda: net(x).square().mean()).run
    assert (layer_of(run, "2").input_rms, layer_of(run, "2").input_likeness) == pytest.approx(
        statistics_of(net[:2](x)), rel=1e-5
    )
    line, series = nn.Sequential(nn.Linear(6, 6)), torch.randn(4, 7, 6)
    run = examine(line, lambda: line(series).square().mean()).run
    assert layer_of(run, "0").input_rms == pytest.approx(statistics_of(series)[0], rel=1e-5)
    assert layer_of(run, "0").bias_rms == pytest.approx(line[0].bias.square().mean().sqrt().item(), rel=1e-5)


@pytest.mark.parametrize("module", [nn.Tanh(), nn.Sigmoid(), nn.GELU(), nn.SiLU(), nn.Softplus(), nn.LeakyReLU()])
def test_what_an_activation_takes(module):
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(20, 30), module, nn.Linear(30, 5)), torch.randn(30, 20) + 0.7
    run = examine(net, lambda: net(x).square().mean()).run
    (site,) = (s for s in run.sites if s.role is Role.ACTIVATION)
    assert run.reading(site.index).input_rms == pytest.approx(statistics_of(net[0](x))[0], rel=1e-4)


def test_data_that_stands_on_the_right():
    class Left(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.randn(5, 6))

        def forward(self, x):
            return self.w @ x.T

    net, x = Left(), torch.randn(10, 6) + 1
    run = examine(net, lambda: net(x).square().mean()).run
    (site,) = (s for s in run.sites if s.role is Role.WEIGHT)
    assert (run.reading(site.index).input_rms, run.reading(site.index).input_likeness) == pytest.approx(
        statistics_of(x), rel=1e-5
    )


def test_of_a_large_batch_a_part_is_enough():
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(64, 4)), torch.randn(20_000, 64)
    run = examine(net, lambda: net(x).square().mean()).run
    assert layer_of(run, "0").input_rms == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_of_large_pictures_a_part_of_several_is_enough(memory):
    torch.manual_seed(0)
    x = (torch.randn(32, 8, 48, 48) * torch.linspace(0.5, 1.5, 32)[:, None, None, None]).to(memory_format=memory)
    net = nn.Sequential(nn.Conv2d(8, 2, 3))
    run = examine(net, lambda: net(x).square().mean()).run
    assert layer_of(run, "0").input_rms == pytest.approx(x.square().mean().sqrt().item(), rel=0.07)


def test_of_a_long_vector_a_part_is_enough():
    net, x = nn.Sequential(nn.Linear(3, 20_000), nn.GELU()), torch.randn(3)
    run = examine(net, lambda: net(x).square().mean()).run
    (site,) = (s for s in run.sites if s.role is Role.ACTIVATION)
    assert run.reading(site.index).input_rms == pytest.approx(net[0](x).square().mean().sqrt().item(), rel=0.07)


def test_a_batch_of_pairs_is_not_mistaken_for_one_of_halves():
    """Every other example is loud: whatever the stride, both kinds must be seen."""
    for rows in (64, 256, 1024, 4096):
        net, x = nn.Sequential(nn.Linear(256, 2)), torch.ones(rows, 256)
        x[::2] *= 3
        run = examine(net, lambda net=net, x=x: net(x).square().mean()).run
        assert layer_of(run, "0").input_rms == pytest.approx(5**0.5, rel=0.07)


def test_nothing_is_read_where_the_user_saves_tensors_in_another_way():
    net, x = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2)), torch.randn(5, 8)

    def compute_loss():
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
            return net(x).square().mean()

    report = examine(net, compute_loss)
    assert np.isnan(report.run.column("input_rms")).all()
    assert "inputs that autograd didn't keep" in report.theory.reasons
