"""A forecast gathers what theory says."""

import numpy as np
import pytest

from undertow.theory import meanfield, simulation
from undertow.theory.forecasting import Forecast


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
