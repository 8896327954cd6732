"""Parameters that the optimizer lacks, and frozen ones."""

from dataclasses import replace

import torch
from torch import nn

from remedies import patients
from remedies.treating import codes
from undertow.remedies import Remedy, apply

TRAINING = patients.classes(patients.mlp, 6)


def test_parameters_that_no_group_holds_are_added_and_a_foreign_optimizer_is_made_anew():
    half = replace(TRAINING, optimizer=lambda model: patients.adam(model[0]))
    other = replace(TRAINING, optimizer=lambda _: patients.adam(patients.mlp()))
    for training in (half, other):
        treated = apply(Remedy("UR107"), training)
        model = patients.made(treated)
        optimizer = treated.optimizer(model)
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        assert {id(p) for p in model.parameters()} <= held
        assert isinstance(optimizer, torch.optim.Adam)
        assert {group["lr"] for group in optimizer.param_groups} <= {0.1, 1e-3}


def test_frozen_parameters_are_trained_and_clipping_and_schedule_go():
    def frozen():
        return patients.mlp().requires_grad_(False)

    assert all(
        p.requires_grad for p in patients.made(apply(Remedy("UR114"), replace(TRAINING, model=frozen))).parameters()
    )
    assert apply(Remedy("UR112"), replace(TRAINING, clip_grad_norm=1.0)).clip_grad_norm is None
    assert apply(Remedy("UR110"), replace(TRAINING, scheduler=patients.sgd)).scheduler is None


class Late(nn.Module):
    """Makes a layer when it first sees an input."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        if not hasattr(self, "first"):
            self.first = nn.Linear(x.shape[1], 5)
        return self.head(torch.relu(self.first(x)))


def test_layers_that_are_made_at_the_first_pass_are_trained():
    training = patients.classes(Late, 6)
    assert "UR107" in codes(training)
    for each, moved in ((training, False), (apply(Remedy("UR107"), training), True)):
        one, other = each.run(0, 1).model, each.run(0, 4).model
        assert bool((one.first.weight != other.first.weight).any()) is moved
