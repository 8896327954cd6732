"""What the paper claims is decided by the numbers."""

import copy

import numpy as np
import pytest

from undertow.studies.study import judged
from undertow.studies.sutskever2013.claims import CLAIMS, sigmoid_gains
from undertow.studies.sutskever2013.config import SCALES


def holds(results, claim: int) -> str:
    return judged(CLAIMS, results)[claim - 1]["holds"]


def test_theory_foresees_the_gradient_at_every_scale(results):
    assert holds(results, 6) == "yes"
    expected = [results["scales"][f"{s:g}"]["expected_gain"] for s in SCALES]
    assert np.round(expected, 2).tolist() == [0.23, 0.40, 0.62, 0.88, 1.23]


def test_nesterov_does_not_do_worse_than_classical_momentum(results):
    assert holds(results, 2) == "yes"


@pytest.mark.parametrize(
    ("claim", "spoil"),
    [
        (1, lambda r: _errors(r, "SGD", 0.0)),
        (2, lambda r: [_errors(r, f"{mu}M", 0.0) for mu in (0.9, 0.99, 0.995, 0.999)]),
        (3, lambda r: _errors(r, "0.9N", 0.0)),
        (4, lambda r: [found.update(before=[0.0, 0.0]) for found in r["methods"].values()]),
        (5, lambda r: r["scales"]["0.25"].update(error=[[0.0], [0.0]])),
        (6, lambda r: [found.update(expected_gain=9.0) for found in r["scales"].values()]),
        (7, lambda r: [found.update(moved=_grown(found["moved"])) for n, found in r["methods"].items() if n != "SGD"]),
        (8, lambda r: [_errors(r, name, -e) for name, e in r["paper_error"]["MNIST"].items()]),
    ],
)
def test_a_claim_fails_on_results_that_contradict_it(results, claim, spoil):
    spoilt = copy.deepcopy(results)
    spoil(spoilt)
    assert holds(spoilt, claim) == "no"


def _errors(results, name, value):
    found = results["methods"][name]
    found["error"] = np.full_like(np.array(found["error"], float), value).tolist()


def _grown(moved):
    """Later layers, which get more gradient, moved ever further."""
    shape = np.array(moved).shape
    return np.broadcast_to(10.0 ** np.arange(shape[-1]), shape).tolist()


def test_sigmoid_layers_leave_out_the_first_and_the_code():
    gains = np.arange(1.0, 8.0)[None]
    results = {"amount": {"hidden": [64, 32, 24, 16]}, "scales": {"1": {"gain": gains}}}
    assert sigmoid_gains(results, "1").tolist() == [[2.0, 3.0, 5.0, 6.0, 7.0]]
