"""Advice on the graph: the line pasted mends what is cut, mixed or not used."""

import torch
from torch import nn
from torch.nn import functional

from rules import (
    test_ut5_examples,
)
from rules.advising import found_in, run, still
from rules.fitting import sequences
from rules.networks import chain, detached
from rules.reported import labelled, mlp


def test_the_line_for_axes_keeps_examples_apart():
    found = found_in("UT506", *test_ut5_examples.brought(lambda x: x.reshape(5, 12, 6)))
    assert not still("UT506", *test_ut5_examples.brought(lambda x: run(found, x=x)["x"]))


def test_the_line_for_a_softmax_keeps_examples_apart():
    class Mended(test_ut5_examples.WrongSoftmax):
        def forward(self, x):
            scores = self.q(x) @ self.k(x).transpose(-1, -2)
            return self.head(run(found, x=scores)["x"] @ self.v(x)).mean(1)

    found = found_in("UT506", *sequences(test_ut5_examples.WrongSoftmax(), labels=(12,)))
    assert not still("UT506", *sequences(Mended(), labels=(12,)))


def test_the_line_for_what_is_detached_lets_the_gradient_through():
    found = found_in("UT501", *detached())
    model, x = chain(nn.Tanh, 3), torch.randn(8, 32)
    assert not still("UT501", model, lambda: model[1:](run(found, model=model, x=x)["h"]).square().mean())


def test_the_lines_for_what_nothing_uses_freeze_it():
    model = nn.ModuleDict({"used": nn.Linear(4, 4), "pooler": nn.Linear(4, 4)})
    x = torch.randn(8, 4)
    found = found_in("UT501", model, lambda: model["used"](x).square().mean(), None)
    run(found, model=model)
    assert found_in("UT501", model, lambda: model["used"](x).square().mean(), None) is None


def test_a_column_of_one_feature_is_normalised_over_more():
    x, y = labelled()
    net = nn.Sequential(mlp(16, 8, 1), nn.LayerNorm(1), nn.Linear(1, 4))
    found = found_in("UT505", net, lambda: functional.cross_entropy(net(x), y), None)
    run(found, model=net, nn=nn)
    assert found_in("UT505", net, lambda: functional.cross_entropy(net(x), y), None) is None
