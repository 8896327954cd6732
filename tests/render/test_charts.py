import numpy as np
import pytest

from undertow.render.charts import bars, curves_with_bands, histogram
from undertow.render.dot_charts import dots_with_interval
from undertow.render.figures import drawn, still, to_spec, to_svg

CURVES = {"x": "epoch", "y": "speed", "x_title": "epoch", "y_title": "speed"}
DOTS = {"value": "v", "group": "layer", "value_title": "value", "group_title": "layer"}


def values_of(spec):
    return [row for rows in spec["datasets"].values() for row in rows]


def layer_rows(epochs=3, layers=2, speed=0.1):
    return [
        {"epoch": e, "layer": k, "speed": speed, "low": speed / 2, "high": 2 * speed}
        for e in range(epochs)
        for k in range(1, layers + 1)
    ]


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    spec = to_spec(curves_with_bands(layer_rows(5_000, 1), points=100, **CURVES))
    epochs = sorted({row["epoch"] for row in values_of(spec)})
    assert len(epochs) <= 140
    assert (epochs[0], epochs[-1]) == (0, 4_999)


def test_a_log_axis_leaves_gaps_where_there_is_no_logarithm():
    rows = [{"epoch": e, "layer": 1, "speed": s} for e, s in enumerate((0.1, 0.0, float("nan"), -1, 0.2))]
    spec = to_spec(curves_with_bands(rows, **CURVES))
    assert [row["speed"] for row in spec["datasets"][spec["layer"][0]["data"]["name"]]] == [0.1, None, None, None, 0.2]
    low, high = spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert 0.05 < low <= 0.1
    assert 0.2 <= high < 0.4


def test_panels_can_share_their_axis():
    chart = curves_with_bands(layer_rows(), y_domain=(1e-3, 1), low="low", high="high", **CURVES)
    assert all(part["encoding"]["y"]["scale"]["domain"] == [1e-3, 1] for part in to_spec(chart)["layer"])


def test_the_reference_widens_the_axis_and_names_itself():
    chart = curves_with_bands(layer_rows(), reference=layer_rows(speed=50.0), reference_title="recorded", **CURVES)
    spec = to_spec(chart)
    assert spec["layer"][0]["encoding"]["y"]["scale"]["domain"][1] > 50
    assert ">recorded<" in drawn(spec, 400)


def test_curves_of_something_else_than_layers_have_a_legend_of_names():
    rows = [{"epoch": e, "cost": c, "speed": 1.0} for e in range(3) for c in ("quadratic", "cross-entropy")]
    svg = drawn(to_spec(curves_with_bands(rows, colour="cost", **CURVES)), 400)
    assert ">quadratic<" in svg
    assert ">cross-entropy<" in svg


def test_a_still_drawing_leaves_out_what_only_a_pointer_needs():
    spec = to_spec(curves_with_bands(layer_rows(), low="low", high="high", **CURVES))
    kept = still(spec)
    assert [part["mark"]["type"] for part in spec["layer"]] == ["area", "line", "point"]
    assert [part["mark"]["type"] for part in kept["layer"]] == ["area", "line"]
    assert kept["params"] == [{"name": "layer", "value": None}]


def test_a_histogram_counts_every_value_once():
    draws = np.random.default_rng(0).lognormal(size=500)
    rows = [{"layer": 1 + i % 2, "v": v} for i, v in enumerate(draws)]
    for options in ({}, {"log_x": True}, {"colour": "layer"}):
        spec = to_spec(histogram(rows, value="v", x_title="v", bins=20, reference=[1.0], **options))
        name = spec["layer"][0]["data"]["name"]
        assert sum(row["count"] for row in spec["datasets"][name]) == 500


@pytest.mark.parametrize("stacked", [False, True])
def test_bars_stand_side_by_side_or_stacked(stacked):
    rows = [{"neuron": j, "layer": k, "g": 1.0} for j in range(3) for k in (1, 2)]
    chart = bars(rows, x="neuron", y="g", colour="layer", stacked=stacked, x_title="neuron", y_title="g")
    encoding = to_spec(chart)["layer"][0]["encoding"]
    assert ("xOffset" in encoding) is not stacked


def test_more_rows_than_altair_allows_by_default():
    rows = [{"layer": 1, "v": v} for v in range(1, 6_000)]
    assert len(values_of(to_spec(dots_with_interval(rows, **DOTS)))) > 5_999


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (2e-5, 2e-4, ["2×10⁻⁵", "5×10⁻⁵", "10⁻⁴"]),
        (1e-8, 1e-2, ["10⁻⁸", "10⁻⁶", "10⁻⁴", "10⁻²"]),
        (3e5, 3e6, ["5×10⁵", "10⁶", "2×10⁶"]),
    ],
)
def test_labels_of_a_log_axis_say_what_the_ticks_are(low, high, labels):
    rows = [{"epoch": 0, "layer": 1, "speed": low}, {"epoch": 1, "layer": 1, "speed": high}]
    svg = to_svg([curves_with_bands(rows, **CURVES)], 500)
    for label in labels:
        assert f">{label}<" in svg
