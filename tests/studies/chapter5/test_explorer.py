"""What the page to play with is given to read."""

import base64
import hashlib
import json
import re

import numpy as np
import pytest

from undertow.studies.chapter5 import explorer, storage, trainability
from undertow.theory import bounds, meanfield


@pytest.fixture(scope="module")
def given(folder):
    page = (folder / "explore.html").read_text("utf-8")
    return json.loads(re.search(r'<script type="application/json" id="instruments">(.*?)</script>', page)[1])


def unpacked(text, given):
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(len(given["map"]["bias_var"]), -1)


def test_only_the_page_s_own_scripts_may_run_and_no_chart_library_is_there(folder):
    page = (folder / "explore.html").read_text("utf-8")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    sums = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    assert re.findall(r"sha256-([^' &]+)", page[: page.index("</head>")]) == sums
    assert len(scripts) == 2
    assert len(page) < 600_000  # the library alone is 900,000


def test_the_chapter_links_to_it_and_back(folder):
    chapter, page = ((folder / name).read_text("utf-8") for name in ("index.html", "explore.html"))
    linked = set(re.findall(r'href="explore.html#?([a-z-]*)"', chapter))
    assert linked == {"", "chain", "window", "map"}
    assert all(f'id="{name}"' in page for name in linked - {""})
    assert 'href="index.html"' in page


@pytest.mark.parametrize("name", explorer.MAPPED)
def test_the_map_is_theory_s(given, name):
    chosen = [(w, b) for w in (0.1, 1 / 3, 1.0, 2.0, 30.0) for b in (0.0, 0.1, 1.0)]
    for w, b in chosen:
        i = int(np.flatnonzero(np.isclose(given["map"]["weight_var"], w))[0])
        j = given["map"]["bias_var"].index(b)
        try:
            q, chi = meanfield.q_star(name, w, b), meanfield.chi(name, w, b)
        except meanfield.NoFixedPoint:
            q, chi = np.inf, None
        assert unpacked(given["map"]["maps"][name]["q"], given)[j, i] == pytest.approx(q, rel=1e-6)
        if chi is not None:
            assert unpacked(given["map"]["maps"][name]["chi"], given)[j, i] == pytest.approx(chi, rel=1e-6)


def test_the_critical_line_lies_where_the_colour_is_pale(given):
    for name in ("tanh", "erf"):
        line = np.array(given["map"]["critical"][name])
        assert len(line) > 50
        chi = meanfield.phase_diagram(name, line[:, 0], line[:, 1]).chi
        np.testing.assert_allclose(chi, 1, atol=2e-3)
    assert given["map"]["critical"]["sigmoid"] == []


def test_every_usual_start_is_a_point_of_the_grid(given):
    for start in given["map"]["starts"]:
        assert start["weight_var"] in given["map"]["weight_var"]
        assert start["bias_var"] in given["map"]["bias_var"]


def test_widest_windows_are_theory_s(given):
    assert given["widest"]["sigmoid"] == pytest.approx(bounds.widest_interval("sigmoid"), rel=1e-12)
    assert given["widest"]["relu"][1] is None


def test_what_was_trained_is_what_the_results_hold(given, folder):
    results = storage.read(folder)["trainability"]
    assert results["depth"] == trainability.DEPTH
    for name, accuracy in results["accuracy"].items():
        assert np.shape(accuracy) == (len(results["bias_var"]), len(results["weight_var"]), results["members"])
        np.testing.assert_allclose(given["measured"]["accuracy"][name], np.mean(accuracy, -1), atol=1e-4)
