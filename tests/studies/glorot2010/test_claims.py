"""What the paper claims is decided by the numbers."""

import copy

import numpy as np
import pytest

from undertow.studies.glorot2010.claims import CLAIMS
from undertow.studies.glorot2010.config import SHAPES
from undertow.studies.study import judged


def holds(results, claim: int) -> str:
    return judged(CLAIMS, results)[claim - 1]["holds"]


def test_what_does_not_depend_on_training_holds_at_once(results):
    assert [holds(results, claim) for claim in (5, 6, 7, 11)] == ["yes"] * 4


def test_the_last_sigmoid_layer_is_pushed_to_zero(results):
    assert holds(results, 1) in ("yes", "partly")
    for name in ("sigmoid", "sigmoid, 4 layers"):
        top = np.array(results["training"][SHAPES][name]["mean"])[:, :, -1]
        assert (np.abs(top[:, 0] - 0.5) < 0.1).all()
        assert (top.min(1) < 0.1).all()


@pytest.mark.parametrize(
    ("claim", "spoil"),
    [
        (1, lambda r: [_set(r, n, "mean", 0.5) for n in ("sigmoid", "sigmoid, 4 layers")]),
        (2, lambda r: [_set(r, n, "error", 0.1) for n in ("sigmoid", "sigmoid, 4 layers")]),
        (3, lambda r: _set(r, "tanh", "ended", 0.0, last=1.0)),
        (4, lambda r: _set(r, "softsign", "ended", 1.0)),
        (5, lambda r: r["start"].update(standard=r["start"]["normalised"])),
        (6, lambda r: r["start"]["standard"].update(weight_gradient=[[1.0, 2.0, 4.0, 8.0, 16.0]])),
        (7, lambda r: [r["start"][kind].update(singular=[[1.3]]) for kind in ("standard", "normalised")]),
        (8, lambda r: _set(r, "tanh N", "weight_gradient", 1.0, last=99.0)),
        (9, lambda r: _set(r, "tanh N", "test_error", 1.0)),
        (10, lambda r: _set(r, "sigmoid", "test_error", 0.0)),
        (11, lambda r: r["surface"]["quadratic"].update(flat=0.0)),
    ],
)
def test_a_claim_fails_on_results_that_contradict_it(results, claim, spoil):
    spoilt = copy.deepcopy(results)
    spoil(spoilt)
    assert holds(spoilt, claim) == "no"


def _set(results, name, what, value, last=None):
    """Overwrite a measurement in all data, the last layer's by another value where one is given."""
    for configurations in results["training"].values():
        found = np.full_like(np.array(configurations[name][what], float), value)
        if last is not None:
            found[..., -1] = last
        configurations[name][what] = found.tolist()
