"""Losses that are no numbers, and steps without a slope."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from remedies import patients
from remedies.treating import codes, loss_of
from undertow.remedies import Remedy, apply


@pytest.mark.parametrize(
    "edge",
    [
        torch.sqrt, torch.log, lambda t: t**0.5, lambda t: 1 / t, lambda t: torch.ones(1) / t,
        lambda t: (t + 1).acos(), lambda t: (100 * t + 1000).exp() * 0,
    ],
)  # fmt: skip
def test_gradients_at_an_edge_are_numbers(edge):
    def loss(model, batch):
        return edge((model(batch[0]) * 0).sum(1)).mean() + functional.cross_entropy(model(batch[0]), batch[1])

    ill = replace(patients.classes(lambda: nn.Linear(6, 3), 6), loss=loss)
    for training, finite in ((ill, False), (apply(Remedy("UR411"), ill), True)):
        model = patients.made(training)
        training.loss(model, training.sample(1)[0]).backward()
        assert bool(model.weight.grad.isfinite().all()) is finite
    assert "UR411" in codes(ill, fell=float("nan"))


def test_a_ctc_loss_leaves_out_what_does_not_fit():
    def loss(model, batch):
        made = model(batch[0]).log_softmax(-1).transpose(0, 1)
        long, frames = torch.tensor([1] * 7 + [9]), torch.full((8,), 7)
        return functional.ctc_loss(made, torch.ones(8, 9, dtype=torch.int64), frames, long)

    ill = replace(patients.classes(lambda: nn.Linear(2, 3), 7, 2), loss=loss)
    assert loss_of(ill) == float("inf")
    assert loss_of(apply(Remedy("UR412"), ill)) < 10
    assert "UR412" in codes(ill, fell=float("nan"))


@pytest.mark.parametrize("step", [torch.round, torch.sign, lambda t: t.floor()])
def test_a_rounding_passes_the_gradient_and_stays_one(step):
    class Rounded(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

        def forward(self, x):
            return self.head(step(self.first(x)))

    ill = patients.classes(Rounded, 6)
    assert "UR416" in codes(ill)
    model, batch = patients.made(ill), ill.sample(1)[0]
    ill.loss(model, batch).backward()
    assert not model.first.weight.grad.any()
    treated = apply(Remedy("UR416"), ill)
    treated.loss(model, batch).backward()
    assert model.first.weight.grad.any()
    assert loss_of(treated) == pytest.approx(loss_of(ill))
