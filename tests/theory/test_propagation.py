"""Predictions through depth, held to random networks: gains, spread, spectra, residual blocks."""

from pathlib import Path

import numpy as np
import pytest

import theory_accuracy as accuracy
from undertow.theory import isometry, meanfield, residual, simulation
from undertow.theory.functions import as_activation
from undertow.theory.propagation import Layer, predict, propagate
from undertow.theory.simulation import draw

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
    layers = [Layer(name, weight_var, bias_var, width=300, keep=keep)] * 8
    found = propagate(layers)
    measured = np.log10(simulation.gradient_norms(layers, 60)[:, 0]).mean()
    assert measured == pytest.approx(found.typical[0], abs=4 * found.spread[0] / np.sqrt(60) + 0.02)
    without = propagate([Layer(name, weight_var, bias_var, width=300)] * 8)
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


def test_networks_of_infinite_width_cannot_be_drawn():
    with pytest.raises(ValueError, match="finite widths"):
        simulation.gradient_norms([Layer("relu", 2.0)] * 2)


# --- isometry ------------------------------------------------------------------------------------------------------


def measured_spectrum(name, weight_var, bias_var, depth, weights, n=200):
    rng, phi = np.random.default_rng(0), as_activation(name)
    q = meanfield.q_star(name, weight_var, bias_var)
    a, product = np.asarray(phi.value(np.sqrt(q) * rng.standard_normal(n))), np.eye(n)
    for _ in range(depth):
        w = draw(rng, n, n, weight_var, weights)
        z = w @ a + np.sqrt(bias_var) * rng.standard_normal(n)
        product, a = (phi.derivative(z)[:, None] * w) @ product, np.asarray(phi.value(z))
    return np.linalg.svd(product, compute_uv=False) ** 2


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
@pytest.mark.parametrize(
    ("name", "weight_var", "bias_var"), [("tanh", 1.1, 0.0), ("sigmoid", 1.0, 1.0), ("erf", 1.5, 0.1)]
)
def test_mean_variance_and_edge_of_the_jacobians_spectrum(name, weight_var, bias_var, weights):
    found = isometry.jacobian_spectrum(name, weight_var, bias_var, depth=5, weights=weights)
    squares = measured_spectrum(name, weight_var, bias_var, 5, weights)
    assert squares.mean() == pytest.approx(found.mean, rel=0.15)
    assert squares.var() / squares.mean() ** 2 == pytest.approx(found.variance / found.mean**2, rel=0.2)
    assert squares.max() / squares.mean() == pytest.approx(found.largest / found.mean, rel=0.25)


def test_linear_networks_have_the_known_upper_edge():
    # Penson & Życzkowski 2011: products of Gaussian matrices, (L + 1)^(L + 1) / L^L
    for depth in (1, 2, 10, 40):
        edge = isometry.jacobian_spectrum("linear", 1.0, depth=depth).largest
        assert edge == pytest.approx((depth + 1.0) ** (depth + 1) / depth**depth, rel=1e-8)


def test_only_orthogonal_networks_approach_isometry():
    # Pennington et al. 2017: critical tanh networks; ReLU's variance stays, whatever the weights
    q = 1e-3
    weight_var, bias_var = (float(each) for each in meanfield.critical_line("tanh", q))
    orthogonal = isometry.jacobian_spectrum("tanh", weight_var, bias_var, depth=50, weights="orthogonal")
    gaussian = isometry.jacobian_spectrum("tanh", weight_var, bias_var, depth=50)
    assert orthogonal.variance < 1e-3 < 50 < gaussian.variance
    assert isometry.jacobian_spectrum("relu", 2.0, depth=50, weights="orthogonal").variance == pytest.approx(50)
    assert isometry.jacobian_spectrum("relu", 2.0, depth=50).variance == pytest.approx(100)


# --- residual networks -----------------------------------------------------------------------------------------------


def measured_blocks(branch, depth, kind, n=200, networks=20):
    rng, phi = np.random.default_rng(0), as_activation(branch.activation)
    return np.mean([_one_network(rng, phi, branch, depth, kind, n) for _ in range(networks)], axis=0)


def _one_network(rng, phi, branch, depth, kind, n):
    x, tape = rng.standard_normal(n), []
    for _ in range(depth):
        w, v = draw(rng, n, n, branch.weight_var), draw(rng, n, n, branch.out_weight_var)
        r = np.sqrt(np.mean(x**2)) if kind == "pre" else 1.0
        z = w @ (x / r) + np.sqrt(branch.bias_var) * rng.standard_normal(n)
        y = x + v @ phi.value(z) + np.sqrt(branch.out_bias_var) * rng.standard_normal(n)
        out = np.sqrt(np.mean(y**2)) if kind == "post" else 1.0
        tape.append((w, v, z, x / r, r, y / out, out))
        x = y / out
    g = rng.standard_normal(n)
    g /= np.linalg.norm(g)
    for w, v, z, h, r, y, out in reversed(tape):
        if kind == "post":
            g = (g - y * (y @ g) / n) / out
        inner = w.T @ (phi.derivative(z) * (v.T @ g))
        g = g + ((inner - h * (h @ inner) / n) / r if kind == "pre" else inner)
    return np.log10(np.linalg.norm(g))


@pytest.mark.parametrize("branch", [residual.Branch("relu", 2.0), residual.Branch("tanh", 1.5, 0.1, 0.8, 0.05)])
@pytest.mark.parametrize("kind", ["none", "pre", "post"])
def test_residual_gains_are_measured(branch, kind):
    depth = 8
    formulas = {"none": residual.no_norm, "pre": residual.pre_norm, "post": residual.post_norm}
    predicted = formulas[kind](branch, depth).decades[0]
    assert measured_blocks(branch, depth, kind) == pytest.approx(predicted, abs=0.06)


def test_the_closed_form_of_pre_norm_is_the_product_of_its_blocks():
    branch = residual.Branch("tanh", 1.5, 0.1, 0.8, 0.05)
    for depth in (0, 1, 7, 300):
        found = residual.pre_norm(branch, depth, p0=2.0)
        assert residual.pre_norm_total(branch, depth, p0=2.0) == pytest.approx(np.prod(found.squared_gains), rel=1e-9)


def test_unnormalised_residual_networks_grow_as_yang_and_schoenholz_say():
    relu = residual.no_norm(residual.Branch("relu", 2.0), 20)
    np.testing.assert_allclose(relu.squared_gains, 2.0)  # exponential, at (1 + σ_v² σ_w² / 2)
    tanh = residual.no_norm(residual.Branch("tanh", 1.0), 2000)
    slopes = np.diff(tanh.decades[::-1])[::-1]
    assert tanh.p[2000] == pytest.approx(2000, rel=0.05)  # linear
    # the gain of a block falls like 1/√l: the gradient grows like exp(c √L)
    assert slopes[400] / slopes[1600] == pytest.approx(np.sqrt(1600 / 400), rel=0.1)


def test_a_scale_of_one_over_root_depth_keeps_the_gradient_bounded():
    totals = [
        10 ** (2 * residual.no_norm(residual.Branch("relu", 2.0, out_weight_var=1 / n), n).decades[0])
        for n in (10, 100, 1000)
    ]
    assert totals == sorted(totals)
    assert totals[-1] == pytest.approx(np.e, rel=1e-2)


def test_impossible_residual_networks_are_refused():
    with pytest.raises(ValueError, match="must be positive"):
        residual.pre_norm(residual.Branch("relu", 2.0), 3, p0=0.0)
    with pytest.raises(ValueError, match="blocks"):
        residual.no_norm(residual.Branch("relu", 2.0), -1)
    with pytest.raises(ValueError, match="finite number >= 0"):
        residual.Branch("relu", -2.0)
    with pytest.raises(ValueError, match="explodes"):
        residual.no_norm(residual.Branch("relu", 2.0), 1000)
