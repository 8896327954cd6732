"""The page of a sweep in a real browser: what the reader chooses is what is drawn, and it agrees with a pivot."""

import pytest

from reading import axe, clipped, console, read_through, requested, screen, until
from undertow.sweeping import sweep

pytestmark = pytest.mark.browser

FIELDS = """const rects = [...document.querySelectorAll('#map .live .mark-rect path')];
return rects.map((path) => path.__data__.datum).map(({x, y, mean, cells}) => [x, y, mean, cells])"""
CHOOSE = """const [name, label] = arguments;
const select = [...document.querySelectorAll('#map .vega-bind')].find((bind) =>
  bind.querySelector('.vega-bind-name').textContent.trim() === name).querySelector('select');
select.selectedIndex = [...select.options].findIndex((option) => option.text === label);
select.dispatchEvent(new Event('change', { bubbles: true }))"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    cell = {"data": "digits", "images": 100, "evaluated": 100, "cost": "log-likelihood"}
    grid = {"depth": [1, 2, 3], "activation": ["tanh", "relu"], "weight_var": [0.5, 2.0]}
    path = tmp_path_factory.mktemp("page") / "a.sweep"
    return sweep({"name": "A map", "seeds": 2, "cell": cell, "grid": grid}, path, processes=0)


@pytest.fixture
def page(browser, results, tmp_path, request):
    width = getattr(request, "param", 1280)
    screen(browser, width)
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(results.save(tmp_path / "a.html").as_uri())
    read_through(browser)
    yield browser
    assert console(browser) == []
    assert len(requested(browser)) == 1
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert clipped(browser) == []
    assert axe(browser) == []


def drawn(page):
    return {(x, y): (mean, cells) for x, y, mean, cells in page.execute_script(FIELDS) if cells}


def expected(results, across, upwards, value, **where):
    pivot = results.pivot(across, upwards, value, **where)
    return {
        (x, y): (pytest.approx(pivot.values[i, j], abs=1e-4), pivot.counts[i, j])
        for i, x in enumerate(pivot.rows)
        for j, y in enumerate(pivot.columns)
        if pivot.counts[i, j]
    }


def choose(page, name, label, becomes):
    page.execute_script(CHOOSE, name, label)
    until(lambda: drawn(page) == becomes)


@pytest.mark.parametrize("page", [1280, 360], indirect=True)
def test_settings_results_and_filters_are_the_readers_choice(page, results):
    until(lambda: drawn(page) == expected(results, "depth", "activation", "accuracy"))
    choose(page, "upwards", "weight_var", expected(results, "depth", "weight_var", "accuracy"))
    choose(page, "result", "loss", expected(results, "depth", "weight_var", "loss"))
    choose(page, "only activation", "relu", expected(results, "depth", "weight_var", "loss", activation="relu"))
    choose(page, "only seed", "1", expected(results, "depth", "weight_var", "loss", activation="relu", seed=1))
    choose(page, "across", "seed", expected(results, "seed", "weight_var", "loss", activation="relu", seed=1))
