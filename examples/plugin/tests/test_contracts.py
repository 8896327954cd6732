"""The plugin keeps the contracts that undertow's own rules, remedies and renderers keep."""

import torch
from acme_undertow.renderers import markdown
from torch import nn

from undertow import Training
from undertow.testing import check_remedy, check_renderer, check_rule


def of_width(width):
    net = nn.Sequential(nn.Linear(16, width), nn.Tanh(), nn.Linear(width, 1))
    return net, lambda: net(torch.ones(4, 16)).square().mean()


def test_the_rule():
    check_rule("ACME101", lambda: of_width(30), lambda: of_width(32))


def test_the_remedy():
    training = Training(
        model=lambda: nn.Linear(4, 1),
        batches=[torch.ones(8, 4)],
        loss=lambda model, x: model(x).square().mean(),
        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
    )
    check_remedy("ACME201", training)


def test_the_renderer():
    check_renderer(markdown)
