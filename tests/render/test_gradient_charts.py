import math

import pytest

from undertow.render import gradient_charts
from undertow.render.segments import segments


@pytest.mark.parametrize("made", ["vanishing", "healthy"])
def test_the_bars_of_a_stretch_add_up_to_its_dot(made, request):
    made = request.getfixturevalue(made)
    found = segments(made.diagnosis)
    bars, _, dots = gradient_charts.factor_bars(found).layer
    for dot in dots.data.values:
        total = sum(row["decades"] for row in bars.data.values if row["place"] == dot["place"])
        assert total == pytest.approx(dot["net"], abs=2e-4)


def test_a_healthy_gradient_is_drawn_flat(healthy):
    line = gradient_charts.way_back(healthy.diagnosis).layer[0].to_dict()
    low, high = line["encoding"]["y"]["scale"]["domain"]
    assert math.log10(high / low) >= gradient_charts.LEAST_SPAN - 1e-3
