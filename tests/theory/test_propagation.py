"""Predictions through depth, held to random networks: gains, spread, spectra, residual blocks."""

from pathlib import Path

import numpy as np
import pytest

import theory_accuracy as accuracy
from undertow.theory import meanfield, simulation
from undertow.theory.propagation import Layer, predict, propagate

POINTS = [(name, *point) for name, points in accuracy.POINTS.items() for point in points]


@pytest.mark.parametrize(("name", "weight_var", "bias_var"), POINTS)
def test_predicted_gain_per_layer_is_measured(name, weight_var, bias_var):
    row = accuracy.compare(name, weight_var, bias_var, width=300, depth=10)
    assert row.agrees, row  # within the larger of 5 % and 0.01 decade


def test_the_docs_table_is_what_theory_says():
    page = (Path(__file__).parents[2] / "docs" / "theory.md").read_text(encoding="utf-8")
    rows = page.partition(accuracy.BEGIN)[2].partition(accuracy.END)[0].strip().splitlines()[2:]
    assert len(rows) == len(POINTS)
    for row, point in zip(rows, POINTS, strict=True):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert (cells[0], float(cells[1]), float(cells[2])) == point
        layers = [Layer(*point, width=300)] * 10
        assert float(cells[3]) == pytest.approx(float(propagate(layers).decades[0]) / 9, abs=6e-5)
        assert abs(float(cells[4]) - float(cells[3])) <= max(0.05 * abs(float(cells[3])), 0.01)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "gelu"])
def test_at_the_fixed_point_every_layer_gains_chi(name):
    q = meanfield.q_star(name, 1.5, 0.2)
    found = predict(name, 1.5, 0.2, depth=6, mean_square=(q - 0.2) / 1.5)
    np.testing.assert_allclose(found.q, q, rtol=1e-10)
    np.testing.assert_allclose(found.chi, meanfield.chi(name, 1.5, 0.2), rtol=1e-9)
    assert found.decades[0] == pytest.approx(5 * np.log10(meanfield.layer_gain(name, 1.5, 0.2)))


def test_relus_spread_is_five_over_the_width_a_layer():
    # Hanin & Nica 2020: Var ln ||δ||² = 5 Σ 1/n
    widths = [100, 200, 400, 50]
    found = propagate([Layer("relu", 2.0, width=n) for n in widths])
    variance = (2 * np.log(10) * found.spread) ** 2
    np.testing.assert_allclose(variance, [5 * (1 / 100 + 1 / 200 + 1 / 400), 5 * (1 / 200 + 1 / 400), 5 / 400, 0])


@pytest.mark.parametrize(
    ("name", "weight_var", "bias_var", "keep"),
    [("tanh", 1.688, 0.038, 1.0), ("sigmoid", 1.0, 1.0, 1.0), ("relu", 2.0, 0.0, 1.0), ("tanh", 2.0, 0.1, 0.8)],
)
def test_spread_over_networks_is_the_predicted_one(name, weight_var, bias_var, keep):
    layers, networks = [Layer(name, weight_var, bias_var, width=100, keep=keep)] * 8, 400
    found = propagate(layers)
    logs = np.log10(simulation.gradient_norms(layers, networks))
    sampling = 1 / np.sqrt(2 * networks)
    np.testing.assert_allclose(logs.std(axis=0)[:-1], found.spread[:-1], rtol=4 * sampling + 0.03)
    np.testing.assert_allclose((logs[:, :-1] - logs[:, 1:]).std(axis=0), found.gain_spread, rtol=4 * sampling + 0.03)
    assert np.abs(logs.mean(axis=0) - found.typical).max() < 4 * found.spread[0] / np.sqrt(networks) + 0.01


def test_what_the_forward_pass_adds_to_the_spread_is_needed():
    # near GELU's critical point a stray variance is passed on almost undiminished: the gains of layers go together
    layers = [Layer("gelu", 1.98, 0.17, width=100)] * 12
    found, measured = propagate(layers), np.log10(simulation.gradient_norms(layers, 400)[:, 0]).std()
    of_independent_gains = np.sqrt(np.sum(found.gain_spread**2))
    assert of_independent_gains < 0.9 * found.spread[0]
    assert abs(measured - found.spread[0]) < abs(measured - of_independent_gains)
    assert measured == pytest.approx(found.spread[0], rel=0.12)


@pytest.mark.parametrize(
    ("name", "weight_var", "bias_var"), [("relu", 1.6, 0.0), ("tanh", 1.5, 0.1), ("gelu", 1.5, 0.1)]
)
@pytest.mark.parametrize("keep", [0.9, 0.6])
def test_dropout_s_gain_is_measured(name, weight_var, bias_var, keep):
    layers = [Layer(name, weight_var, bias_var, width=150, keep=keep)] * 8
    found = propagate(layers)
    measured = np.log10(simulation.gradient_norms(layers, 60)[:, 0]).mean()
    assert measured == pytest.approx(found.typical[0], abs=4 * found.spread[0] / np.sqrt(60) + 0.02)
    without = propagate([Layer(name, weight_var, bias_var, width=150)] * 8)
    assert abs(measured - without.typical[0]) > 3 * abs(measured - found.typical[0])


def test_spread_shrinks_with_the_root_of_the_width():
    narrow, wide = (predict("gelu", 1.5, 0.1, depth=5, width=n).spread for n in (100, 400))
    np.testing.assert_allclose(narrow, 2 * wide)
    assert predict("gelu", 1.5, 0.1, depth=5).spread.tolist() == [0] * 5


def test_layers_of_different_kinds_and_widths():
    layers = [
        Layer("tanh", 2.0, 0.1, 200),
        Layer("relu", 1.5, 0.0, 400),
        Layer("sigmoid", 8.0, 0.2, 100),
        Layer("linear", 1.0, 0.0, 300),
    ]
    found = propagate(layers, mean_square=0.5)
    logs = np.log10(simulation.gradient_norms(layers, 150, mean_square=0.5))
    np.testing.assert_allclose(logs.mean(axis=0), found.typical, atol=0.03)


def test_a_layers_statistics_are_read_off_its_weights():
    rng = np.random.default_rng(0)
    found = Layer.of("tanh", rng.normal(0, 0.1, (300, 200)), rng.normal(0, 0.5, 300))
    assert found.weight_var == pytest.approx(200 * 0.01, rel=0.05)
    assert found.bias_var == pytest.approx(0.25, rel=0.3)
    assert found.width == 300


def test_one_layer_has_no_gain():
    found = predict("relu", 2.0, depth=1, width=10)
    assert (found.chi.size, found.decades.tolist(), found.spread.tolist()) == (0, [0.0], [0.0])


def test_a_dead_network_passes_nothing():
    found = predict("tanh", 0.0, 0.0, depth=3, width=10)
    assert found.decades[0] == -np.inf
    assert found.q.tolist() == [0, 0, 0]


def test_an_exploding_signal_is_reported_by_layer():
    with pytest.raises(ValueError, match="explodes: at layer"):
        predict("relu", 100.0, depth=100)
    with pytest.raises(ValueError, match="at least one layer"):
        propagate([])
    with pytest.raises(ValueError, match="at least one unit"):
        Layer("relu", 2.0, width=0)


# --- isometry ------------------------------------------------------------------------------------------------------


# --- residual networks -----------------------------------------------------------------------------------------------
