"""Modes, cuts and gradients that are kept: what the loop does."""

import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from remedies import patients
from remedies.treating import codes
from undertow.doctoring.screening import look
from undertow.remedies import Remedy, apply, prescribe
from undertow.remedies.facts import with_facts


@pytest.mark.parametrize("how", ["loss", "train"])
def test_modules_are_held_in_training_mode(how):
    class Still(nn.Sequential):
        def train(self, mode=True):
            return super().train(mode and how != "train")

    def loss(model, batch):
        if how == "loss":
            model.eval()
        return functional.cross_entropy(model(batch[0]), batch[1])

    def make():
        return Still(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3))

    ill = replace(patients.classes(make, 6), loss=loss)
    assert "UR407" in codes(ill)
    moved = [each.run(steps=3).model[1].running_mean.abs().sum() > 0 for each in (ill, apply(Remedy("UR407"), ill))]
    assert [bool(each) for each in moved] == [False, True]
    assert "UR407" not in codes(patients.classes(lambda: nn.Sequential(*make()), 6))


def test_one_cut_of_several_is_undone():
    def loss(model, batch):
        made = model[0](batch[0])
        return functional.cross_entropy(model[1](made.detach()), batch[1]) - made.detach().sum()

    ill = replace(patients.classes(lambda: nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3)), 6), loss=loss)
    slopes = []
    for settings in ({"only": 0}, {"only": 1}, {}):
        model = patients.made(ill)
        apply(Remedy("UR405", settings), ill).loss(model, ill.sample(1)[0]).backward()
        slopes.append(model[0].weight.grad)
    assert torch.allclose(slopes[0] + slopes[1], slopes[2], atol=1e-6)
    assert not torch.allclose(slopes[0], slopes[1])
    asked = [each for each in prescribe(with_facts(look(ill).diagnosis, ill, 0.0)) if each.code == "UR405"]
    assert [dict(each.settings) for each in asked] == [{}, {"only": 0}, {"only": 1}]


def test_gradients_that_an_optimizer_keeps_are_zeroed():
    class Keeping(torch.optim.SGD):
        def zero_grad(self, set_to_none=True):
            pass

    well = patients.classes(patients.mlp, 6)
    ill = replace(well, optimizer=lambda model: Keeping(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01))
    assert "UR406" in codes(ill)
    assert "UR406" not in codes(well)
    assert list(ill.run(0, 9).losses) != list(well.run(0, 9).losses)
    assert list(apply(Remedy("UR406"), ill).run(0, 9).losses) == list(well.run(0, 9).losses)


@pytest.mark.parametrize(
    "copied",
    [
        lambda losses: torch.tensor(losses.mean(), requires_grad=True),
        lambda losses: torch.tensor(list(losses), requires_grad=True).mean(),
        lambda losses: torch.tensor(tuple(losses)).requires_grad_().mean(),
        lambda losses: torch.tensor(losses.mean().item(), requires_grad=True),
    ],
)
def test_a_tensor_made_of_tensors_keeps_their_graph(copied):
    well = patients.classes(patients.mlp, 6)

    def loss(model, batch):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.tensor of a tensor
            return copied(functional.cross_entropy(model(batch[0]), batch[1], reduction="none"))

    ill = replace(well, loss=loss)
    unexamined = replace(look(well).diagnosis, findings=())  # a loss without a graph can't be examined
    assert Remedy("UR405") in prescribe(with_facts(unexamined, ill))
    treated = apply(Remedy("UR405"), ill)
    assert list(treated.run(0, 5).losses) == pytest.approx(list(well.run(0, 5).losses), rel=1e-5)


def reached(kind):
    training = patients.classes(kind, 6)
    net, batch = patients.made(training), training.sample(1)[0]
    training.loss(net, batch).backward()
    assert net.first.weight.grad is None
    apply(Remedy("UR405"), training).loss(net, batch).backward()
    assert net.first.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("cut", [lambda t: t.detach(), lambda t: t.data])
def test_a_cut_gradient_gets_through(cut):
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

        def forward(self, x):
            return self.head(cut(torch.relu(self.first(x))))

    reached(Cut)


def test_no_grad_within_a_model_is_without_effect():
    class Off(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

        def forward(self, x):
            with torch.no_grad():
                x = torch.relu(self.first(x))
            return self.head(x)

    reached(Off)
