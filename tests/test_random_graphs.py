"""No Run may make a reader of it raise: random graphs with dead, zero and non-finite edges."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow import explain
from undertow.analysis.gradient_path import find_gradient_path
from undertow.diagnosis import Diagnosis
from undertow.record import Edge, Role, Run, Site
from undertow.report import Report
from undertow.rules import judge

OPS = {
    Role.WEIGHT: "addmm", Role.ACTIVATION: "relu", Role.NORM: "native_layer_norm", Role.JOIN: "add",
    Role.ATTENTION: "softmax", Role.OTHER: "view",
}  # fmt: skip
NUMBERS = st.sampled_from([0.0, 1e-320, 1e-30, 0.01, 1.0, 3.0, 1e30, np.inf, np.nan])


@st.composite
def runs(draw):
    count, steps = draw(st.integers(1, 9)), draw(st.integers(1, 3))
    roles = [Role.LOSS, *draw(st.lists(st.sampled_from(list(OPS)), min_size=count, max_size=count))]
    sites = tuple(
        Site(i, f"m{i}", OPS.get(role, "mse_loss"), role, (4, 3), n_out=3,
             weight_shape=(3, 3) if role is Role.WEIGHT else None,
             parameters=(f"m{i}.weight",) if role is Role.WEIGHT else ())
        for i, role in enumerate(roles)
    )  # fmt: skip
    pairs = [(a, b) for b in range(1, count + 1) for a in range(b)]
    edges = tuple(Edge(*pair) for pair in pairs if draw(st.booleans()))

    def column(width):
        return np.array(draw(st.lists(NUMBERS, min_size=steps * width, max_size=steps * width))).reshape(steps, width)

    by_site = {name: column(len(sites)) for name in ("grad_output", "alignment_w", "weight_norm", "derivative_rms")}
    by_edge = {name: column(len(edges)) for name in ("contribution", "share")}
    losses = {"step": np.arange(float(steps)), "loss": column(1)[:, 0]}
    return Run({"loss": 1.0}, sites, edges, by_site, by_edge, losses)


@settings(deadline=None, max_examples=300)
@given(runs())
def test_a_path_between_dominators_stays_between_them(run):
    for step in range(len(run)):
        gradient_path = find_gradient_path(run, step)
        for start, end in gradient_path.blocks() if gradient_path else ():
            for path in (gradient_path.main_path(start, end), gradient_path.deepest_path(start, end)):
                sources = [run.edges[edge].source for edge in path]
                assert sources[0] == start
                assert [*sources[1:], end] == [run.edges[edge].target for edge in path]


@settings(deadline=None, max_examples=150)
@given(runs())
def test_every_reader_reads_every_run(run):
    assert str(Report(Diagnosis(run, 0, judge([run]))))
    assert str(explain(run))
    explain(run).report().to_dict()
