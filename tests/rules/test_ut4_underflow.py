"""UT404: gradients too small for float16, of weights in float16 and under autocast, and some that a scale lifts."""

import pytest
import torch
from torch import nn

from rules.networks import in_half
from undertow.examination import examine
from undertow.record import Severity
from undertow.testing import check_rule

CASES = {"UT404": (lambda: in_half(1e-6), lambda: in_half(1.0))}


@pytest.mark.parametrize("code", CASES)
def test_keeps_the_contract_of_rules(code):
    check_rule(code, *CASES[code])


@pytest.mark.parametrize(("name", "step"), [("float16 runs dry", 30), ("float16 runs dry early", 15)])
def test_float16_runs_dry_when_the_loss_is_scaled_down_and_nothing_has_converged(found, name, step):
    """The loss stands still from there on, because nothing is learned any more."""
    dry = found(name)["UT404"]
    assert (dry.began, dry.from_start, dry.ended, dry.severity) == (step, False, None, Severity.WARNING)
    assert len(dry.sites) == 4
    assert "UT601" not in found(name)


def test_a_gradient_that_a_scaler_makes_large_enough_is_not_too_small_for_float16(recorded, found):
    """The scale is taken out of what is recorded, but float16 has to hold the gradient with it."""
    assert found("small in float16")["UT404"].from_start
    assert "UT404" not in found("small in float16, scaled")
    told = [
        {event.data["code"] for event in recorded(name)[0].events if event.kind == "finding"}
        for name in ("small in float16", "small in float16, scaled")
    ]
    assert ["UT404" in codes for codes in told] == [True, False]


@pytest.mark.parametrize(("divisor", "kind", "codes"), [
    (1e7, torch.float16, {"UT404"}), (1.0, torch.float16, set()), (1e7, torch.bfloat16, set()),
])  # fmt: skip
def test_a_gradient_that_autocast_makes_zero_of_is_told(divisor, kind, codes):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    x, y = torch.randn(16, 6), torch.randint(0, 4, (16,))

    def loss():
        with torch.autocast("cpu", dtype=kind):
            logits = model(x)
        return nn.functional.cross_entropy(logits.float(), y) / divisor

    assert {found.code for found in examine(model, loss).findings} & {"UT404", "UT109"} == codes
