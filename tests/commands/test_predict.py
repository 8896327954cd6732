"""`undertow predict`, through its command, and what it gathers from theory."""

import json

import numpy as np
import pytest

from saying import said


@pytest.fixture
def undertow(tmp_path, monkeypatch):
    """The command, run in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: said("predict", *arguments)


def test_the_command_says_what_theory_says(undertow, tmp_path):
    done = undertow("--activation", "sigmoid", "--weight-var", 1, "--bias-var", 1, "--depth", 6)
    assert done.returncode == 0, done.stderr
    assert "ordered" in done.stdout
    assert "0.042" in done.stdout  # 1 / 4.88²
    assert (tmp_path / "predict.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert "wrote predict.png" in done.stdout


def test_json_holds_the_numbers(undertow, tmp_path):
    setting = ("--activation", "relu", "--weight-var", 3, "--depth", 20, "--width", 100)
    assert undertow(*setting, "--out", "deep/relu.json").returncode == 0
    found = json.loads((tmp_path / "deep" / "relu.json").read_text())
    assert found["q_star"] is None
    assert found["chi"] == pytest.approx(1.5, rel=1e-12)
    np.testing.assert_allclose(found["layers"]["decades"], np.log10(1.5) / 2 * np.arange(19, -1, -1), atol=1e-12)


@pytest.mark.parametrize("suffix", [".svg", ".html"])
def test_out_decides_the_kind_of_file(undertow, tmp_path, suffix):
    setting = ("--activation", "tanh", "--depth", 5, "--width", 30)
    assert undertow(*setting, "--out", f"x{suffix}").returncode == 0
    written = (tmp_path / f"x{suffix}").read_text()
    assert written.startswith({".svg": "<svg", ".html": "<!DOCTYPE html>"}[suffix])
    assert "tanh, weight variance 1/n" in written


@pytest.mark.parametrize(
    ("arguments", "expected"),
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
def test_bad_input_gets_one_clear_error_and_no_file(undertow, tmp_path, arguments, expected):
    done = undertow(*arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
