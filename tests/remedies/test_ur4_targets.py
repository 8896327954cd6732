"""Targets in standard units."""

import pytest
import torch

from remedies import patients
from undertow.remedies import Remedy, apply


def test_what_is_pasted_for_targets_to_scale_leaves_the_division_of_the_loss_to_the_reader():
    training, settings = patients.numbers(patients.mlp, 3, scale=100.0), {}
    cure = Remedy("UR403", settings).written_for(training)
    treated = apply(cure, training)
    applied, (pasted, _) = patients.made(treated), patients.pasted(cure.snippet, training)
    batch = training.sample(1)[0]
    losses = [float(each.loss(model, batch).detach()) for each, model in ((treated, applied), (training, pasted))]
    scale = float(torch.cat([y for _, y in training.sample(32)]).std())
    assert losses[0] == pytest.approx(losses[1] / scale**2, rel=1e-4)
