"""A start has the variances that it says."""

import numpy as np
import pytest

from undertow.studies.remedies.config import ACTIVATIONS, STARTS, initializer, variances
from undertow.theory import meanfield


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("start", STARTS)
def test_a_start_has_the_variances_it_says(start, activation):
    w, b = initializer(start, activation).draw(np.random.default_rng(0), 300, 300)
    weight_var, bias_var = variances(start, activation)
    assert 300 * w.var() == pytest.approx(weight_var, rel=0.03)
    assert b.var() == pytest.approx(bias_var, rel=0.25)


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
def test_the_critical_start_keeps_the_gradients_length(activation):
    gain = meanfield.layer_gain(activation, *variances("critical", activation))
    assert gain == pytest.approx(1, abs=5e-3)  # GELU's point is stable from one side only, and found less exactly
