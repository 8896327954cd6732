"""Losses over classes: the axis, the kind, the weights."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from remedies import patients
from remedies.treating import codes, loss_of
from undertow.remedies import Remedy, apply


class Along(nn.Module):
    def __init__(self, squash, axis):
        super().__init__()
        self.squash, self.axis = squash, axis

    def forward(self, x):
        return self.squash(x, self.axis)


@pytest.mark.parametrize("squash", [functional.softmax, functional.log_softmax])
def test_a_softmax_over_the_batch_goes_over_classes(squash):
    ill = patients.classes(lambda: patients.mlp(end=lambda: Along(squash, 0)), 6)
    well = patients.classes(lambda: patients.mlp(end=lambda: Along(squash, 1)), 6)
    assert "UR413" in codes(ill)
    assert "UR413" not in codes(well)
    assert loss_of(apply(Remedy("UR413"), ill)) == pytest.approx(loss_of(well))


def test_cross_entropy_of_one_output_becomes_a_yes_or_no():
    training = patients.classes(lambda: nn.Linear(6, 1), 6)
    one = replace(training, batches=[(x, (y > 0).float()[:, None]) for x, y in training.batches])
    assert loss_of(one) == 0
    assert "UR414" in codes(one)
    x, y = one.sample(1)[0]
    wanted = functional.binary_cross_entropy_with_logits(patients.made(one)(x), y)
    assert loss_of(apply(Remedy("UR414"), one)) == pytest.approx(float(wanted.detach()))


def test_classes_count_alike_however_rare_they_are():
    training = patients.classes(patients.mlp, 6)
    y = torch.tensor([0] * 7 + [1])
    rare = replace(training, batches=[(x, y) for x, _ in training.batches], model=lambda: patients.mlp()[:-1])
    rare = replace(rare, model=lambda: nn.Linear(6, 2))
    assert "UR415" in codes(
        replace(rare, batches=[(torch.cat([x] * 4), torch.tensor([0] * 31 + [1])) for x, _ in training.batches])
    )
    model, (x, _) = patients.made(rare), rare.sample(1)[0]
    each = functional.cross_entropy(model(x), y, reduction="none")
    wanted = (each[:7].mean() + each[7]) / 2
    assert float(apply(Remedy("UR415"), rare).loss(model, (x, y)).detach()) == pytest.approx(float(wanted.detach()))
