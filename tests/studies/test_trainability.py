"""The trainability map, quick-sized on scikit-learn's digits: the paper's claims, and the page that tells them."""

import json
import math

import numpy as np
import pytest
from rich.console import Console

from reading import console, read_through, requested, screen
from undertow.lab import load
from undertow.studies.study import Job
from undertow.studies.trainability import STUDY, config
from undertow.studies.trainability.claims import NOWHERE, factors, sides
from undertow.sweeping import open_sweep
from undertow.theory import meanfield


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "trainability"
    assert STUDY.run(out, quick=True, data="digits", processes=0) == out / "index.html"
    return out


@pytest.fixture(scope="session")
def results(made):
    return json.loads((made / "results.json").read_text())


@pytest.fixture(scope="session")
def maps(results):
    return results["maps"]


def test_the_whole_map_is_of_a_thousand_networks():
    assert config(quick=False).networks >= 1000


@pytest.mark.parametrize("name", ["tanh", "relu", "sigmoid"])
def test_networks_train_within_the_depth_scale_and_not_beyond(maps, name):
    within, beyond = sides(
        {k: np.array(v, dtype=float) for k, v in maps[name].items() if k in ("train_accuracy", "depth", "expected")}
    )
    assert within >= 0.5
    assert beyond <= 0.1


def test_the_deepest_tanh_networks_that_train_are_critical(maps):
    tanh = maps["tanh"]
    best = tanh["weight_var"][int(np.argmax(tanh["deepest"]))]
    assert best == pytest.approx(tanh["critical"], rel=0.01)
    assert meanfield.phase("tanh", tanh["critical"], 0.05, tolerance=0.01) == "critical"


def test_the_factor_is_near_six(maps):
    found = np.concatenate([factors(field) for field in maps.values()])
    assert found.size >= 2
    assert 3 < np.median(found) < 9


def test_too_deep_in_the_ordered_phase_nothing_is_learned(maps):
    losses = [
        loss
        for field in maps.values()
        for depth, row in zip(field["depth"], field["loss"], strict=True)
        for variance, reach, loss in zip(field["weight_var"], field["expected"], np.mean(row, -1), strict=True)
        if variance < field["critical"] and reach and depth > 2 * reach
    ]
    assert len(losses) >= 4
    assert losses == pytest.approx([NOWHERE] * len(losses), abs=0.05)


def test_the_sigmoid_needs_large_weights_to_be_deep(maps):
    sigmoid = maps["sigmoid"]
    assert sigmoid["deepest"][0] <= 1 < 8 <= sigmoid["deepest"][-1]


def test_fields_are_what_the_store_holds(made, maps, results):
    kept = open_sweep(made / "cells.sweep")
    assert results["networks"] == len(kept.rows()) == config(quick=True).networks
    for name, field in maps.items():
        pivot = kept.pivot(
            "depth", "weight_var", "train_accuracy", activation=name, bias_var=0.05, depth=field["depth"]
        )
        np.testing.assert_allclose(np.mean(field["train_accuracy"], -1), pivot.values, rtol=1e-6)
    rows = kept.rows(activation="tanh", depth=32, weight_var=3.0)
    assert rows[0]["curve"] == pytest.approx(maps["tanh"]["curve"][-1][3][0])


def test_the_line_is_theorys(maps):
    for name, field in maps.items():
        for variance, reach in zip(field["weight_var"], field["expected"], strict=True):
            if reach is not None:
                assert reach == pytest.approx(meanfield.trainable_depth(name, variance, 0.05), rel=1e-6)
    assert maps["relu"]["expected"][-1] is None, "no fixed point at 2"


def test_files_are_there_for_readers_and_programs(made, results):
    import pyarrow.parquet

    assert pyarrow.parquet.read_table(made / "results.parquet").num_rows == results["networks"]
    figures = {file.name for file in (made / "figures").iterdir()}
    assert figures == {f"{n}.{e}" for n in ("tanh-map", "other-maps", "bias-map", "budgets") for e in ("png", "svg")}
    assert {claim["holds"] for claim in results["claims"]} <= {"yes", "partly", "no"}
    assert all("nan" not in claim["measured"] for claim in results["claims"])
    assert math.isfinite(results["seconds"])


def test_a_second_run_trains_nothing(made):
    before = (made / "cells.sweep").read_bytes()
    stored = open_sweep(made / "cells.sweep").rows()
    again = Job(config(quick=True), 0, load("digits"), "digits", made, Console(quiet=True), processes=0)
    STUDY.results(again, quick=True)
    assert open_sweep(made / "cells.sweep").rows() == stored
    assert len((made / "cells.sweep").read_bytes()) == len(before)


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_in_a_browser(browser, made, width):
    screen(browser, width)
    browser.get_log("browser"), browser.get_log("performance")
    browser.get((made / "index.html").as_uri())
    read_through(browser)
    assert browser.execute_script("return undertow.views.length") == 5
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert console(browser) == []
    assert len(requested(browser)) == 1
