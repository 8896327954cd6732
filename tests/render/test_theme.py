from itertools import combinations

import altair as alt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from undertow.render.figures import to_spec
from undertow.render.theme import CATEGORY_COLOURS, LAYER, LAYER_COLOURS, layer_colours, layer_scale

# Linear sRGB to CIE XYZ (IEC 61966-2-1), D65 white.
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = np.array([0.95047, 1.0, 1.08883])

# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear sRGB.
VISION = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(light: np.ndarray) -> np.ndarray:
    t = TO_XYZ @ light / WHITE
    f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("colour", LAYER_COLOURS + CATEGORY_COLOURS)
def test_contrast_on_white_is_what_wcag_asks_of_graphics(colour):
    assert 1.05 / (TO_XYZ[1] @ linear(colour) + 0.05) >= 3


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize(("palette", "apart"), [(LAYER_COLOURS, 20), (CATEGORY_COLOURS, 15)])
def test_colours_stay_apart_for_every_eye(palette, apart, vision):
    seen = [lab(np.clip(VISION[vision] @ linear(colour), 0, 1)) for colour in palette]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > apart


def test_layers_can_be_told_apart_in_grey_print():
    lightness = [lab(linear(colour))[0] for colour in LAYER_COLOURS]
    assert min(np.diff(lightness)) > 7


@given(st.integers(1, 40))
def test_lightness_rises_with_the_layer_at_any_depth(n):
    colours = layer_colours(n)
    lightness = [lab(linear(colour))[0] for colour in colours]
    assert len(colours) == n
    assert all(np.diff(lightness) > 0)
    assert colours[0] == LAYER_COLOURS[0]


def test_a_layer_keeps_its_colour_in_networks_of_up_to_five():
    for n in range(1, 6):
        assert layer_scale(n).to_dict()["range"] == list(LAYER_COLOURS[:n])


def dot() -> alt.Chart:
    return alt.Chart(alt.InlineData(values=[{"x": 1}])).mark_point().encode(x="x:Q")


def test_no_global_state_leaks_in_or_out():
    before = alt.theme.active, alt.data_transformers.active, alt.data_transformers.options
    with alt.theme.enable("dark"):
        spec = to_spec(dot())
    assert spec["config"]["background"] == "white"
    assert (alt.theme.active, alt.data_transformers.active, alt.data_transformers.options) == before


def test_a_chart_overrides_the_theme_key_by_key():
    config = to_spec(dot().configure_axis(labelColor="red"))["config"]
    assert config["axis"]["labelColor"] == "red"
    assert config["axis"]["labelFontSize"] == 12.5


def test_every_specification_knows_the_chosen_layer_once():
    for chart in (dot(), dot().add_params(LAYER), alt.layer(dot(), dot().add_params(LAYER)), dot() | dot()):
        assert [p for p in to_spec(chart)["params"] if p["name"] == "layer"] == [{"name": "layer", "value": None}]
