"""The rows of a forecast."""

import pytest

from undertow.formatting import power
from undertow.render.forecast import layer_rows
from undertow.theory.forecasting import Forecast


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
