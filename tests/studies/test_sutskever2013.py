"""The study of Sutskever et al. 2013: what it measures, and what its claims are held to."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pyarrow import parquet

from undertow.lab import digits
from undertow.studies.study import judged
from undertow.studies.sutskever2013.claims import CLAIMS, sigmoid_gains
from undertow.studies.sutskever2013.config import METHODS, SCALES, autoencoder
from undertow.studies.sutskever2013.training import initial_gains, moved, squared_error


@pytest.fixture(scope="module")
def folder(studied) -> Path:
    return studied("sutskever2013")


@pytest.fixture(scope="module")
def results(folder):
    return json.loads((folder / "results.json").read_text("utf-8"))


def holds(results, claim: int) -> str:
    return judged(CLAIMS, results)[claim - 1]["holds"]


def test_every_method_starts_from_the_same_weights(results):
    starts = [np.array(found["error"])[:, 0] for found in results["methods"].values()]
    assert all((start == starts[0]).all() for start in starts)
    assert starts[0][0] != starts[0][1]
    assert all((np.array(found["moved"])[:, 0] == 0).all() for found in results["methods"].values())


def test_the_learning_rate_kept_is_the_best_of_those_tried(results):
    for name, found in results["methods"].items():
        means = {eta: np.mean(errors) for eta, errors in found["tried"].items()}
        assert set(means) == {f"{eta:g}" for eta in METHODS[name].etas[: results["amount"]["rates"]]}
        assert f"{found['eta']:g}" == min(means, key=means.get)
        assert np.array(found["error"])[:, -1] == pytest.approx(found["tried"][f"{found['eta']:g}"])


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


def test_gains_and_errors_are_autograds():
    nets = autoencoder(digits(), (20, 18, 16), members=2, seed=3)
    x = digits().train.x[:20]
    gains = initial_gains(nets, x)
    for i in range(2):
        net = nets.member(i)
        zs, a = [], x
        for layer, activation in zip(net.layers, net.activations, strict=True):
            zs.append(layer(a))
            zs[-1].retain_grad()
            a = activation(zs[-1])
        loss = (a - x).square().sum()
        loss.backward()
        sizes = np.array([z.grad.norm().item() for z in zs])
        np.testing.assert_allclose(gains[i], sizes[:-1] / sizes[1:], rtol=1e-4)
        assert squared_error(nets, x)[i] == pytest.approx(loss.item() / len(x), rel=1e-5)


def test_sigmoid_layers_leave_out_the_first_and_the_code():
    gains = np.arange(1.0, 8.0)[None]
    results = {"amount": {"hidden": [64, 32, 24, 16]}, "scales": {"1": {"gain": gains}}}
    assert sigmoid_gains(results, "1").tolist() == [[2.0, 3.0, 5.0, 6.0, 7.0]]


def test_how_far_weights_have_moved():
    nets = autoencoder(digits(), (20, 16), members=2, seed=0)
    start = [layer.copy() for layer in nets.layers]
    nets.layers[1].w.mul_(torch.tensor([1.5, 0.0])[:, None, None])
    np.testing.assert_allclose(moved(nets, start), [[0, 0.5, 0, 0], [0, 1, 0, 0]], rtol=1e-6)


def test_a_row_for_each_look_at_a_layer(folder, results):
    table = parquet.read_table(folder / "results.parquet").to_pylist()
    [row] = [
        r
        for r in table
        if (r["experiment"], r["method"], r["member"], r["layer"]) == ("methods", "0.99N", 1, 3)
        and r["update"] == results["methods"]["0.99N"]["updates"][-1]
    ]
    assert row["squared_error"] == pytest.approx(results["methods"]["0.99N"]["error"][1][-1])
    assert row["moved"] == pytest.approx(results["methods"]["0.99N"]["moved"][1][-1][2])


def test_every_figure_is_there_as_png_and_svg(folder):
    svg, png = ({p.stem for p in (folder / "figures").glob(f"*.{kind}")} for kind in ("svg", "png"))
    assert svg == png == {"reconstructions", "error-curves", "final-errors", "gradients", "scale-curves", "moved"}
