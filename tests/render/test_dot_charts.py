"""Charts of dots."""

import numpy as np
import pytest

from undertow.render.dot_charts import dots_with_interval
from undertow.render.figures import to_spec

DOTS = {"value": "v", "group": "layer", "value_title": "value", "group_title": "layer"}


def values_of(spec):
    return [row for rows in spec["datasets"].values() for row in rows]


def test_dots_show_quantiles_and_every_observation():
    rng = np.random.default_rng(0)
    rows = [{"layer": k, "v": v} for k in (1, 2) for v in rng.lognormal(size=100)]
    spec = to_spec(dots_with_interval(rows, interval=0.9, **DOTS))
    spans = {row["layer"]: row for row in values_of(spec) if "median" in row}
    for k in (1, 2):
        expected = np.quantile([row["v"] for row in rows if row["layer"] == k], [0.05, 0.5, 0.95])
        assert [spans[k][name] for name in ("low", "median", "high")] == pytest.approx(expected, rel=1e-4)
    assert sum("offset" in row for row in values_of(spec)) == 200


def test_dots_crowd_where_the_values_do():
    rows = [{"layer": 1, "v": v} for v in np.random.default_rng(0).normal(size=400)]
    dots = [row for row in values_of(to_spec(dots_with_interval(rows, **DOTS))) if "offset" in row]
    middle = [abs(row["offset"]) for row in dots if abs(row["v"]) < 0.5]
    tails = [abs(row["offset"]) for row in dots if abs(row["v"]) > 2]
    assert max(tails) < 0.4 < max(middle) <= 1


@pytest.mark.parametrize("values", [(1.0,), (1.0, 1.0), (1.0, 2.0), (1.0, 1.0, 1.0, 5.0)])
def test_a_few_dots_are_enough(values):
    rows = [{"layer": 1, "v": v} for v in values]
    dots = [row for row in values_of(to_spec(dots_with_interval(rows, **DOTS))) if "offset" in row]
    assert [dot["v"] for dot in dots] == list(values)
