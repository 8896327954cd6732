"""Lines that findings have to paste in place of a line of the user's: the one makes the fault, the other mends it."""

import pytest
import torch
from torch.nn import functional

from rules.advising import found_in, run
from rules.reported import REPORTED, labelled


def advised(name):
    torch.manual_seed(0)
    code, make = REPORTED[name]
    model, loss, optimizer = make(True)
    return code, model, loss, optimizer, found_in(code, model, lambda: loss(0), optimizer)


x, y = labelled()
IN_THE_LOSS = {
    "softmax over the batch": lambda f, z: functional.nll_loss(run(f, x=z)["x"], y),
    "loss of the wrong sign": lambda f, z: run(f, loss=functional.cross_entropy(z, y))["loss"],
    "distillation of probabilities": lambda f, z: run(f, output=z, targets=torch.softmax(x[:, :4], 1))["loss"],
}


@pytest.mark.parametrize("name", IN_THE_LOSS)
def test_the_line_for_a_loss_mends_it(name):
    code, model, _, optimizer, found = advised(name)
    assert found_in(code, model, lambda: IN_THE_LOSS[name](found, model(x)), optimizer) is None


def test_the_line_for_axes_of_the_output_exchanges_them():
    _, _, _, _, found = advised("words and positions exchanged by reshape")
    z = torch.randn(32, 4, 12)
    assert torch.equal(run(found, x=z)["x"], z.transpose(1, 2))


def test_the_line_for_ctc_makes_log_probabilities():
    _, _, _, _, found = advised("ctc of probabilities")
    z = torch.randn(6, 16, 6)
    assert torch.allclose(run(found, output=z)["p"], z.log_softmax(-1))


def test_the_line_for_a_mean_of_one_number_takes_it_over_the_batch():
    code, model, _, optimizer, found = advised("output minus its own mean")
    assert found_in(code, model, lambda: (run(found, x=model(x))["x"] - 1).square().mean(), optimizer) is None


def test_the_line_for_dropout_lets_some_through():
    code, model, loss, optimizer, found = advised("dropout of everything")
    run(found, model=model)
    assert found_in(code, model, lambda: loss(0), optimizer) is None
