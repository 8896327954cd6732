"""What a difference between theory and measurement means, in words."""

import re

import torch
from torch import nn

from analysis.theory_check.chains import WIDTH, chain, correlated, initialised, theory_of
from undertow.analysis.theory_check import interpretation
from undertow.examination import examine
from undertow.rules import ut1_scale


def test_a_loss_that_is_theorys():
    net = chain(nn.Tanh, 10, 0.5)
    assert "Such a start brings this loss of gradient: change the init" in interpretation.summary(theory_of(net))


def test_a_growth_that_is_theorys():
    assert "Such a start brings this growth" in interpretation.summary(theory_of(chain(nn.ReLU, 10, 3.0)))


def test_a_loss_that_a_normalisation_makes_up_for_is_none():
    torch.manual_seed(0)
    layers = [m for _ in range(6) for m in (initialised(nn.Linear(WIDTH, WIDTH), 0.4), nn.Tanh())]
    net = nn.Sequential(
        nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.Tanh(), *layers, nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4)
    )
    for layer in layers[::2]:
        nn.init.zeros_(layer.bias)
    found = theory_of(net)
    assert found.expected < interpretation.LOSS < found.end_to_end
    assert "Such a start brings" not in interpretation.summary(found)


def test_one_layer_that_is_not_like_the_others():
    net = chain(nn.ReLU, 6, 2**0.5)
    with torch.no_grad():
        net[4].weight.mul_(0.005)
    said = interpretation.summary(theory_of(net))
    assert "at 4: it is this layer's weights (n_in Var W = 4.9e-05 there, the median is 2)" in said


def test_inputs_out_of_scale_are_not_blamed_on_the_weights():
    said = interpretation.summary(theory_of(chain(nn.Tanh, 4, 1.0), scale=100.0))
    assert "at 2: it is what goes into the activation, z of variance" in said


def test_a_healthy_network_is_told_so():
    assert "Nothing departs from it by more than chance" in interpretation.summary(theory_of(chain(nn.ReLU, 6, 2**0.5)))


def only(found):
    (one,) = found.deviating
    return one.saying


def test_weights_that_are_not_independent_of_the_gradient():
    net = chain(nn.ReLU, 5, 2**0.5)
    with torch.no_grad():  # of rank one, along what the head passes back
        back = (net[-1].weight - net[-1].weight.mean(0)).T
        direction = torch.linalg.svd(back)[0][:, 0]
        net[8].weight.copy_(torch.outer(direction, torch.randn(WIDTH)) * 0.9)
    assert "it is the weights of 8: they stretch this gradient" in only(theory_of(net))


def test_inputs_that_are_not_independent_of_the_weights():
    said = only(theory_of(correlated(), 256, shift=0.5, scale=0.3))
    assert re.match(r"correlated inputs: what comes into 0, 7\d% of which all examples share, is not independent", said)


def test_biases_with_a_mean_of_their_own():
    net = chain(nn.Sigmoid, 4, 1.0)
    nn.init.constant_(net[2].bias, 6.0)
    assert only(theory_of(net)).startswith("it is the biases of 2")


def test_pre_activations_that_are_not_normal():
    net = chain(nn.Tanh, 4, 1.0, width=256)
    x = torch.randn(64, 256) * torch.tensor([0.01, 5.0]).repeat(32)[:, None]  # every other example is loud
    found = examine(net, lambda: net(x).square().mean()).theory
    assert "the pre-activations of 0 are not normal around zero" in found.predictions[-1].saying


def test_thresholds_of_words_and_rules_are_the_same():
    assert (interpretation.LOSS, interpretation.GROWTH) == (ut1_scale.VANISHING_TOTAL, ut1_scale.EXPLODING_TOTAL)
