"""`undertow predict`, through its command, and what it gathers from theory."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest

from undertow.formatting import power
from undertow.render.forecast import layer_rows
from undertow.render.terminal_forecast import text
from undertow.theory import meanfield, simulation
from undertow.theory.forecasting import Forecast


def undertow(*arguments, folder):
    command = [sys.executable, "-m", "undertow", "predict", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def test_the_command_says_what_theory_says(tmp_path):
    done = undertow("--activation", "sigmoid", "--weight-var", 1, "--bias-var", 1, "--depth", 6, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ordered" in done.stdout
    assert "0.042" in done.stdout  # 1 / 4.88²
    assert (tmp_path / "predict.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert "wrote predict.png" in done.stdout


def test_json_holds_the_numbers(tmp_path):
    setting = ("--activation", "relu", "--weight-var", 3, "--depth", 20, "--width", 100)
    assert undertow(*setting, "--out", "deep/relu.json", folder=tmp_path).returncode == 0
    found = json.loads((tmp_path / "deep" / "relu.json").read_text())
    assert found["q_star"] is None
    assert found["chi"] == pytest.approx(1.5, rel=1e-12)
    np.testing.assert_allclose(found["layers"]["decades"], np.log10(1.5) / 2 * np.arange(19, -1, -1), atol=1e-12)


@pytest.mark.parametrize("suffix", [".svg", ".html"])
def test_out_decides_the_kind_of_file(tmp_path, suffix):
    setting = ("--activation", "tanh", "--depth", 5, "--width", 30)
    assert undertow(*setting, "--out", f"x{suffix}", folder=tmp_path).returncode == 0
    written = (tmp_path / f"x{suffix}").read_text()
    assert written.startswith({".svg": "<svg", ".html": "<!DOCTYPE html>"}[suffix])
    assert "tanh, weight variance 1/n" in written


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--activation", "swush"], "there are: sigmoid, tanh"),
        (["--activation", "tanh", "--weight-var", "-1"], "weight_var must be"),
        (["--activation", "tanh", "--bias-var", "nan"], "bias_var must be"),
        (["--activation", "relu", "--weight-var", "3", "--depth", "2000"], "the signal explodes: at layer 430"),
        (["--activation", "tanh", "--out", "x.pdf"], "one of .html, .png, .svg, .json"),
        (["--activation", "tanh", "--depth", "0"], "--depth"),
        ([], "--activation"),
    ],
)
def test_bad_input_gets_one_clear_error_and_no_file(tmp_path, arguments, said):
    done = undertow(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_fixed_point_is_the_one_this_network_goes_to():
    """GELU has several: starting at q = 1 the signal dies away, starting where this network does it explodes."""
    found = Forecast.of("gelu", 2.2, depth=300)
    assert meanfield.q_star("gelu", 2.2, 0.0, q0=1.0) == 0
    assert found.layers.q[-1] > 100 * found.layers.q[0]
    assert found.q_star is None


def test_the_interval_holds_the_networks_it_says():
    setting = {"weight_var": 2.0, "depth": 12, "width": 60}
    low, high = Forecast.of("relu", **setting).interval()
    layer = meanfield.Layer("relu", 2.0, width=60)
    drawn = np.log10(simulation.gradient_norms([layer] * 12, networks=400)[:, 0])
    assert np.mean((low[0] <= drawn) & (drawn <= high[0])) == pytest.approx(0.95, abs=0.04)


@pytest.mark.parametrize(("depth", "last"), [(1, "1"), (3, "3"), (1000, "1000")])
def test_first_and_last_layer_are_always_shown(depth, last):
    rows = layer_rows(Forecast.of("tanh", 0.5, depth=depth))
    assert rows[0][0] == "1"
    assert rows[-1][0] == last
    assert rows[-1][2] == "1"


def test_what_underflows_is_still_written():
    rows = layer_rows(Forecast.of("tanh", 0.01, depth=500))
    assert rows[0][2] == power(Forecast.of("tanh", 0.01, depth=500).layers.decades[0])
    assert "×10⁻⁵⁰⁰" in rows[0][2]


def test_the_tables_fit_a_terminal():
    from rich.console import Console

    console = Console(width=80, record=True, file=io.StringIO())
    console.print(text(Forecast.of("tanh", 1.0, 0.05, depth=1000, width=300)))
    lines = console.export_text().splitlines()
    assert sum(line.startswith("ξ") for line in lines) == 3
    assert len(lines) < 28
