"""Residual networks, held to random ones."""

import numpy as np
import pytest

from undertow.theory import residual
from undertow.theory.functions import as_activation
from undertow.theory.simulation import draw


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
