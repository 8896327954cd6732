"""Another learning rate, and a warm-up."""

import pytest
import torch

from remedies import patients
from remedies.treating import group
from undertow.remedies import Remedy, apply


def test_the_learning_rate_is_multiplied():
    assert group("UR101", factor=0.1)["lr"] == pytest.approx(0.01)


@pytest.mark.filterwarnings("ignore:The epoch parameter in:UserWarning")  # torch 2.6 calls its own schedules so
def test_a_warm_up_begins_at_a_hundredth_and_hands_on_to_the_users_schedule():
    halving = torch.optim.lr_scheduler.StepLR
    training = patients.classes(patients.mlp, 6)
    training = type(training)(**{**vars(training), "scheduler": lambda optimizer: halving(optimizer, 3, 0.5)})
    treated = apply(Remedy("UR104", {"steps": 4}), training)
    optimizer = treated.optimizer(patients.made(treated))
    schedule, rates = treated.scheduler(optimizer), []
    for _ in range(8):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.001)
    assert rates[4:] == pytest.approx([0.1, 0.1, 0.1, 0.05])
