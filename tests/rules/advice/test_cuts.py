"""Advice on operations that cut a gradient or make it infinite: the line pasted lets it through."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from rules.advising import found_in, run, still
from rules.fitting import regressed
from rules.networks import chain, log_of_zero


def test_the_line_for_a_log_keeps_it_finite():
    found = found_in("UT103", *log_of_zero())
    model, x = chain(nn.Tanh, 3), torch.randn(8, 32)
    assert not still("UT103", model, lambda: run(found, x=model(x) * 0)["x"].sum())


@pytest.mark.parametrize("step", [torch.round, torch.sign, torch.floor])
def test_the_line_for_a_step_lets_the_gradient_through(step):
    found = found_in("UT109", *regressed(functional.mse_loss, shape=(12, 1), after=step))
    mended = regressed(functional.mse_loss, shape=(12, 1), after=lambda z: run(found, x=z)["x"])
    assert not still("UT109", *mended)
