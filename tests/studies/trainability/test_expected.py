"""The line on the map is theory's."""

import pytest

from undertow.theory import meanfield


def test_the_line_is_theorys(maps):
    for name, field in maps.items():
        for variance, reach in zip(field["weight_var"], field["expected"], strict=True):
            if reach is not None:
                assert reach == pytest.approx(meanfield.trainable_depth(name, variance, 0.05), rel=1e-6)
    assert maps["relu"]["expected"][-1] is None, "no fixed point at 2"
