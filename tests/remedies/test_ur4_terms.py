"""One of a loss's terms counts less."""

from dataclasses import replace

import pytest
import torch

from remedies import patients
from remedies.treating import codes, loss_of
from undertow.remedies import Remedy, apply


@pytest.mark.parametrize(("term", "wanted"), [(0, 0.5 + 2 + 3), (1, 5 + 0.2 + 3), (2, 5 + 2 + 0.3)])
def test_one_term_of_a_loss_counts_less(term, wanted):
    def loss(model, batch):
        nothing = model(batch[0]).sum() * 0
        return (nothing + 5) + 2 * torch.exp(nothing) + 3 * nothing.exp()

    training = replace(patients.classes(patients.mlp, 6), loss=loss, score=patients.closeness)
    assert term or "UR418" in codes(training)
    assert loss_of(apply(Remedy("UR418", {"term": term, "factor": 0.1}), training)) == pytest.approx(wanted)
    with pytest.raises(ValueError, match="adds up no 4 terms"):
        apply(Remedy("UR418", {"term": 3, "factor": 0.1}), training)
