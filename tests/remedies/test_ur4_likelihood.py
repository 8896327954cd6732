"""Likelihoods that are ones, and squared errors that become them."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from remedies import patients
from undertow.remedies import Remedy, apply


def test_likelihoods_are_ones():
    training = patients.classes(patients.mlp, 6)
    net, (x, y) = patients.made(training), training.sample(1)[0]
    wanted = float(training.loss(net, (x, y)).detach())
    for bare in (
        lambda m, b: nn.functional.nll_loss(m(b[0]), b[1]),
        lambda m, b: nn.functional.nll_loss(torch.log(m(b[0])), b[1]),
        lambda m, b: nn.functional.nll_loss(m(b[0]).log_softmax(1), b[1]),
        lambda m, b: nn.functional.nll_loss(m(b[0]).softmax(1), b[1]),
    ):
        treated = apply(Remedy("UR408"), replace(training, loss=bare))
        assert float(treated.loss(net, (x, y)).detach()) == pytest.approx(wanted, rel=1e-5)


def test_squared_error_to_zeros_and_ones_becomes_cross_entropy_and_that_to_numbers_stays():
    training = patients.classes(patients.mlp, 6)
    net, (x, y) = patients.made(training), training.sample(1)[0]
    hot = nn.functional.one_hot(y, 3).float()
    wanted = float(training.loss(net, (x, y)).detach())
    for squared in (
        lambda m, b: nn.functional.mse_loss(m(b[0]), b[1]),
        lambda m, b: nn.functional.mse_loss(m(b[0]).softmax(1), b[1]),
    ):
        treated = apply(Remedy("UR409"), replace(training, loss=squared))
        assert float(treated.loss(net, (x, hot)).detach()) == pytest.approx(wanted, rel=1e-4)
        assert float(treated.loss(net, (x, 3 * hot)).detach()) == float(squared(net, (x, 3 * hot)).detach())
