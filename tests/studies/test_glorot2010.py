"""The study of Glorot & Bengio 2010: what it measures, and what its claims are held to."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pyarrow import parquet

from undertow.lab import Ensemble
from undertow.studies.glorot2010.claims import CLAIMS
from undertow.studies.glorot2010.config import CONFIGURATIONS, SHAPES
from undertow.studies.glorot2010.figures import wrong_corner
from undertow.studies.glorot2010.looking import measures
from undertow.studies.glorot2010.training import PLATEAU
from undertow.studies.study import judged

LAYERS = {name: c.hidden for name, c in CONFIGURATIONS.items()}


@pytest.fixture(scope="module")
def folder(studied) -> Path:
    return studied("glorot2010")


@pytest.fixture(scope="module")
def results(folder):
    return json.loads((folder / "results.json").read_text("utf-8"))


def holds(results, claim: int) -> str:
    return judged(CLAIMS, results)[claim - 1]["holds"]


def test_every_network_is_looked_at_in_every_layer(results):
    points = results["amount"]["points"]
    for source in ("digits", SHAPES):
        for name, hidden in LAYERS.items():
            found = results["training"][source][name]
            assert np.shape(found["mean"]) == np.shape(found["delta"]) == (2, points, hidden)
            assert np.shape(found["singular"]) == (2, points, hidden - 1)
            assert len(found["examples"]) == points
            assert found["examples"][-1] == 20_000
            assert found["eta"] in CONFIGURATIONS[name].etas
            best = min(found["pilot"].values())
            largest = max(CONFIGURATIONS[name].etas)
            assert found["pilot"][f"{found['eta']:g}"] == best if best < PLATEAU else found["eta"] == largest


def test_what_does_not_depend_on_training_holds_at_once(results):
    assert [holds(results, claim) for claim in (5, 6, 7, 11)] == ["yes"] * 4


def test_the_quadratic_cost_is_flat_where_the_output_is_wrong_and_sure_of_itself(results):
    steep = {name: wrong_corner(results["surface"][name]["gradient"]) for name in ("log-likelihood", "quadratic")}
    assert steep["quadratic"] < 0.02 < 0.2 < steep["log-likelihood"]


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


@pytest.mark.parametrize(("activation", "same"), [("tanh", True), ("sigmoid", True), ("softsign", False)])
def test_the_end_of_the_range_is_where_the_slope_has_fallen_to_a_tenth_but_for_softsign(activation, same):
    nets = Ensemble([6, 200, 200, 3], activation=activation, cost="log-likelihood", initializer="large")
    found = measures(nets, torch.rand(50, 6), torch.zeros(50, dtype=torch.int64))
    assert 0.1 < found["saturated"][0, 1] < 1
    assert (abs(found["ended"] - found["saturated"]).max() < 0.01) == same


def test_a_row_for_each_look_at_a_layer(folder, results):
    table = parquet.read_table(folder / "results.parquet")
    looks = 2 * 2 * results["amount"]["points"] * sum(LAYERS.values())
    assert table.num_rows == looks
    row = table.slice(looks - 1).to_pylist()[0]
    found = results["training"][row["source"]][row["network"]]
    assert row["error"] == pytest.approx(found["error"][row["member"]][-1])
    assert row["mean"] == pytest.approx(found["mean"][row["member"]][-1][row["layer"] - 1])


def test_every_figure_is_there_as_png_and_svg(folder):
    svg, png = ({p.stem for p in (folder / "figures").glob(f"*.{kind}")} for kind in ("svg", "png"))
    assert svg == png
    assert {"shapes", "sigmoid-means", "saturated", "gradients", "weight-gradients", "test-errors", "surfaces"} <= svg
