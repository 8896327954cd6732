"""Trainings as people report them: the cause comes first, and of the mended ones nothing is said."""

import pytest
import torch

from rules.reported import REPORTED
from undertow import examine
from undertow.record import Severity

pytestmark = pytest.mark.filterwarnings("ignore:Using a target size", "ignore:None of the inputs have requires_grad")


def faults(make, broken):
    torch.manual_seed(0)
    model, loss, optimizer = make(broken)
    return [each for each in examine(model, lambda: loss(0), optimizer).findings if each.severity is not Severity.NOTE]


@pytest.mark.parametrize("name", REPORTED)
def test_the_cause_comes_first(name):
    code, make = REPORTED[name]
    found = faults(make, broken=True)
    assert found
    assert found[0].code == code
    assert found[0].advice


@pytest.mark.parametrize("name", REPORTED)
def test_nothing_is_said_of_the_mended_one(name):
    assert [each.message for each in faults(REPORTED[name][1], broken=False)] == []
