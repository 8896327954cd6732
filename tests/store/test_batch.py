"""What is wrong is refused when it is added, and nothing of it stays."""

import numpy as np
import pytest

from store.growing import EDGES, SITES, edges, row
from undertow.record import Event
from undertow.store import Batch
from undertow.store.appender import about_graph

GRAPH, SIZES = about_graph(SITES, EDGES), (len(SITES), len(EDGES))


@pytest.mark.parametrize(
    ("add", "error", "why"),
    [
        (lambda batch: batch.taped(GRAPH, SIZES, {"x": np.ones(5)}, {}, {}), ValueError, "no column is named 'x'"),
        (lambda batch: batch.taped(GRAPH, SIZES, {"dead": np.ones(4)}, {}, {}), ValueError, r"must be \[5\]"),
        (lambda batch: batch.taped(GRAPH, SIZES, {}, {"share": np.ones(5)}, {}), ValueError, r"must be \[4\]"),
        (lambda batch: batch.scalars({"step": 1, "loss": "much"}), ValueError, "could not convert"),
        (lambda batch: batch.parameters('["a"]', 1, {"grad_norm": np.ones(2)}, 0), ValueError, r"must be \[1\]"),
        (lambda batch: batch.event(Event(2**70, 0.0, "finding", "late")), ValueError, "no step can be"),
        (lambda batch: batch.event(Event(1, 0.0, "finding", "x", {"x": object()})), TypeError, "object"),
        (lambda batch: batch.update_header({"x": object()}), TypeError, "object"),
    ],
)
def test_what_is_wrong_is_refused_and_adds_nothing(add, error, why):
    batch = Batch()
    with pytest.raises(error, match=why):
        add(batch)
    assert batch.first() is None
    assert not batch.events


def test_a_step_has_one_row_of_scalars_and_keeps_its_first_time():
    batch = Batch()
    batch.scalars({"step": 7, "time": 1.0, "loss": 3.0})
    batch.scalars({"step": 7, "time": 2.0, "loss": 2.0, "accuracy": 0.5})
    batch.scalars({"step": 8, "time": 3.0})
    (rows,) = batch.rows.values()
    assert [{name: value for (_, name), value in each.items()} for each in rows] == [
        {"step": 7, "time": 1.0, "loss": 2.0, "accuracy": 0.5},
        {"step": 8, "time": 3.0},
    ]


def test_the_first_row_is_the_one_that_was_added_first():
    batch = Batch()
    batch.graph(GRAPH)
    assert batch.first() is None, "a graph is no row"
    batch.taped(GRAPH, SIZES, row(4), edges(4), {"step": 4, "time": 0.25})
    batch.scalars({"step": 3, "time": 0.1})
    assert batch.first() == (4, 0.25)
