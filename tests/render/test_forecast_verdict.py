import pytest
import torch
from torch import nn

from undertow.render.forecast_verdict import critical_start, outcome
from undertow.theory.forecasting import Forecast

LAYERS = {"tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "elu": nn.ELU}


@pytest.mark.parametrize(
    ("setting", "words", "tone"),
    [
        (("sigmoid", 1.0, 0.0), "the gradient vanishes", "error"),
        (("tanh", 0.5, 0.0), "the gradient vanishes", "error"),
        (("relu", 4.0, 0.0), "the gradient explodes", "error"),
        (("relu", 2.0, 0.0), "the gradient arrives", None),
        (("tanh", 1.0, 0.05), "too deep to train", "warning"),
    ],
)
def test_a_forecast_is_judged_as_a_measured_gradient_is(setting, words, tone):
    found = outcome(Forecast.of(*setting, depth=50))
    assert (found.words, found.tone) == (words, tone)
    assert bool(found.advice) == (tone is not None)


def test_the_size_is_the_forecasts_own():
    forecast = Forecast.of("relu", 4.0, depth=11)
    assert forecast.layers.decades[0] == pytest.approx(5 * 0.30103, abs=1e-4)
    assert "grows 32 times: each layer passes on 1.41 of" in outcome(forecast).sentence


@pytest.mark.parametrize("name", LAYERS)
def test_the_start_that_is_advised_carries_the_gradient_to_the_first_layer(name):
    weight_var, bias_var = critical_start(name)
    assert abs(Forecast.of(name, weight_var, bias_var, depth=50).layers.decades[0]) < 1.3
    lines = outcome(Forecast.of(name, 0.2, depth=50)).snippet
    torch.manual_seed(0)
    model = nn.Sequential(*[layer for _ in range(30) for layer in (nn.Linear(256, 256), LAYERS[name]())])
    exec(lines, {"model": model})  # noqa: S102  ours
    model(torch.randn(64, 256)).pow(2).mean().backward()
    first, last = (float(model[k].weight.grad.norm()) for k in (0, -2))
    assert 0.05 < first / last < 20


def test_where_no_start_helps_another_activation_is_advised():
    found = outcome(Forecast.of("sigmoid", 1.0, depth=50))
    assert critical_start("sigmoid") is None
    assert "take ReLU" in found.advice
    assert found.snippet == ""
