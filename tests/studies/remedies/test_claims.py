"""What the study claims is decided by the numbers."""

import copy

import numpy as np
import pytest

from undertow.studies.remedies.claims import CLAIMS
from undertow.studies.remedies.config import ACTIVATIONS, ARCHITECTURES
from undertow.studies.study import judged


def holds(results, claim: int) -> str:
    return judged(CLAIMS, results)[claim - 1]["holds"]


def test_norms_and_residuals_hold_what_they_promise(results):
    assert holds(results, 1) == "yes"
    assert {holds(results, claim) for claim in (4, 5)} <= {"yes", "partly"}


@pytest.mark.parametrize(
    ("claim", "spoil"),
    [
        (1, lambda r: _accuracy(r, "plain", 1.0)),
        (2, lambda r: _accuracy(r, "plain", 1.0)),
        (3, lambda r: _accuracy(r, "plain", 0.0)),
        (4, lambda r: _accuracy(r, "plain", 1.0)),
        (5, lambda r: (_accuracy(r, "plain", 1.0), _accuracy(r, "residual + norm", 0.0))),
        (6, lambda r: [_accuracy(r, h, 0.3) for h in ARCHITECTURES]),
        (7, lambda r: _accuracy(r, "plain", 1.0)),
        (
            8,
            lambda r: [r["start_speed"][a].update(BatchNorm=r["start_speed"]["sigmoid"]["plain"]) for a in ACTIVATIONS],
        ),
    ],
)
def test_a_claim_fails_on_results_that_contradict_it(results, claim, spoil):
    spoilt = copy.deepcopy(results)
    spoil(spoilt)
    assert holds(spoilt, claim) == "no"


def _accuracy(results, architecture, value):
    for by_architecture in results["accuracy"].values():
        for optimizer, found in by_architecture[architecture].items():
            by_architecture[architecture][optimizer] = np.full_like(np.array(found), value).tolist()
