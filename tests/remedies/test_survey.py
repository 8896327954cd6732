"""What is seen of a loss's calls, and what is known where there is none."""

import torch

from remedies import patients
from undertow.doctoring.screening import look
from undertow.remedies.facts import with_facts
from undertow.training import Training


def test_a_training_whose_loss_fails_in_the_survey_still_has_facts():
    def loss(_model, _batch):
        raise RuntimeError

    broken = Training(patients.mlp, [(torch.ones(4, 6), torch.zeros(4, dtype=torch.int64))], loss, patients.sgd)
    known = with_facts(look(patients.classes(patients.mlp, 6)).diagnosis, broken)
    assert known.run.header["training"]["survey"]["calls"] == []
