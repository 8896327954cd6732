import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from undertow.columns import StoredColumns
from undertow.record import Edge, Role, Run, Site

SITES = (
    Site(0, "", "mse_loss", Role.LOSS, ()),
    Site(1, "fc2", "addmm", Role.WEIGHT, (8, 2), n_out=2, weight_shape=(2, 3), parameters=("fc2.weight", "fc2.bias")),
    Site(2, "act", "tanh", Role.ACTIVATION, (8, 3), activation="tanh"),
)
EDGES = (Edge(0, 1), Edge(1, 2))
any_float = st.floats(width=32)
steps = st.integers(0, 3)


@st.composite
def runs(draw):
    n = draw(steps)
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    column = hnp.arrays(dtype, (n, len(SITES)), elements=any_float)
    edge_column = hnp.arrays(dtype, (n, len(EDGES)), elements=any_float)
    return Run(
        {"model": "Net", "repeats": 2},
        SITES,
        EDGES,
        {"grad_output": draw(column), "dead": draw(column)},
        {"share": draw(edge_column)},
        {"loss": draw(hnp.arrays(np.float64, (n,), elements=any_float))},
    )


@given(runs())
def test_a_run_survives_json(run):
    assert Run.from_dict(json.loads(json.dumps(run.to_dict(), allow_nan=False))) == run


@given(runs())
def test_runs_that_differ_in_one_number_are_not_equal(run):
    if len(run) == 0:
        return
    other = Run.from_dict(run.to_dict())
    value = other.columns["dead"][0, 1]
    other.columns["dead"][0, 1] = 0.0 if np.isnan(value) or value else 1.0
    assert run != other


def test_a_reading_is_a_view():
    run = Run({}, SITES, EDGES, {"grad_output": np.ones((2, 3))})
    reading = run.reading(1, step=0)
    run.columns["grad_output"][0, 1] = 7
    assert reading.grad_output == reading["grad_output"] == 7
    assert np.isnan(reading.coherence)
    with pytest.raises(AttributeError, match="no reading named 'gradoutput'; there are: grad_output"):
        _ = reading.gradoutput


def test_edges_are_found_from_both_ends():
    run = Run({}, SITES, EDGES)
    assert run.outgoing == ((0,), (1,), ())
    assert run.incoming == ((), (0,), (1,))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"grad_outputs": np.ones((1, 3))}, "no column of sites is named 'grad_outputs'"),
        ({"dead": np.ones((1, 2))}, r"must be \[steps, sites\] with 3 sites"),
        ({"dead": np.ones((1, 3)), "coherence": np.ones((2, 3))}, "disagree on the number of steps"),
    ],
)
def test_columns_that_cannot_be(columns, message):
    with pytest.raises(ValueError, match=message):
        Run({}, SITES, EDGES, columns)


def test_what_an_earlier_undertow_wrote_is_read():
    run = Run({}, SITES, EDGES, {"dead": np.ones((1, 3))})
    new = ("scalars", "parameters", "parameter_columns", "parameter_steps", "events")
    assert Run.from_dict({key: value for key, value in run.to_dict().items() if key not in new}) == run


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"parameter_columns": {"lr": np.ones((2, 1))}, "parameters": ("w",)},
            "number of parameters' steps: \\[0, 2\\]",
        ),
        ({"parameter_columns": {"lr": np.ones((0, 2))}, "parameters": ("w",)}, "with 1 parameters"),
        ({"parameter_columns": {"speed": np.ones((0, 1))}, "parameters": ("w",)}, "no column of parameters is named"),
        ({"scalars": {"loss": np.ones(2), "step": np.ones(3)}}, "number of noted steps: \\[2, 3\\]"),
    ],
)
def test_scalars_and_parameters_that_cannot_be(given, message):
    with pytest.raises(ValueError, match=message):
        Run({}, SITES, **given)


def test_stored_columns_are_read_once_and_can_be_sent_elsewhere():
    asked = []
    columns = StoredColumns({"dead": (2, 3)}, lambda name: asked.append(name) or np.ones((2, 3)))
    run = Run({}, SITES, EDGES, columns)
    assert (len(run), "dead" in run.columns, asked) == (2, True, [])
    assert run == Run({}, SITES, EDGES, {"dead": np.ones((2, 3))})
    assert pickle.loads(pickle.dumps(run)) == run  # noqa: S301  # our own bytes
    assert asked == ["dead"]
