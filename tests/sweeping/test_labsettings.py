"""Settings of the lab's networks that cannot be."""

import math

import pytest

from undertow.sweeping import Spec
from undertow.sweeping.running import SweepPlan


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"dpeth": 3}, "there is no setting 'dpeth': did you mean 'depth'?"),
        ({"activation": "tahn"}, "no activation named 'tahn'; there are: sigmoid, tanh"),
        ({"depth": 2.5}, "depth = 2.5 is no whole number"),
        ({"epochs": True}, "epochs = True is no whole number"),
        ({"width": 0}, "width = 0: neurons in each hidden layer, from 1"),
        ({"images": 5000}, "images = 5000: digits has 1197 training images"),
        ({"data": "digist"}, "no data 'digist'"),
        ({"initializer": "he", "weight_var": 2}, "weight_var = 2.0 with the initializer he: only default, lecun"),
        ({"mu": 0.9}, "mu = 0.9 with the optimizer sgd"),
        ({"hidden": [5, 5], "depth": 2}, "hidden beside depth or width"),
        ({"eta": 10.0, "lmbda": 100.0, "images": 500}, "eta \\* lmbda / images = 2: it must be under 1"),
        ({"eta": {"a": 1}}, "a setting is a number, a text"),
        ({"eta": math.nan}, "eta = nan: a setting is"),
    ],
)
def test_impossible_cells_are_listed_before_anything_runs(settings, told):
    with pytest.raises(ValueError, match=told):
        SweepPlan.of(Spec.of({"cell": {"data": "digits"} | settings}))


def test_the_list_of_impossible_cells_says_how_many_and_names_the_first():
    spec = Spec.of(
        {"cell": {"data": "digits"}, "grid": {"optimizer": ["sgd", "momentum"], "mu": [0.5, 0.9]}, "seeds": 3}
    )
    with pytest.raises(ValueError, match="so nothing was run") as error:
        SweepPlan.of(spec)
    lines = str(error.value).splitlines()
    assert lines[1:3] == [
        "  mu = 0.5 with the optimizer sgd, which has no momentum",
        "    (3 cells; the first: data = digits, optimizer = sgd, mu = 0.5, seed = 0)",
    ]
