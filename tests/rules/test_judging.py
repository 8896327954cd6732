"""Judging steps: nothing but notes of healthy networks, records alone, and one Diagnosis of several passes."""

import numpy as np
import pytest
from torch import nn

from rules.networks import (
    Around,
    Zeroed,
    batch_normed,
    frozen_on_purpose,
    he_relu,
    log_of_a_half,
    minus_infinity_mask,
    simple,
    zero_head,
)
from undertow import rules
from undertow.examination import examine
from undertow.record import Edge, Role, Run, Severity, Site


@pytest.mark.parametrize(
    "healthy",
    [he_relu, batch_normed, minus_infinity_mask, zero_head, log_of_a_half, frozen_on_purpose,
     lambda: simple(Zeroed(0.0)), lambda: simple(Zeroed(1e-6)), lambda: simple(Around(nn.Tanh))],
)  # fmt: skip
def test_healthy_networks_get_notes_at_most(healthy):
    assert [f.code for f in examine(*healthy()).findings if f.severity is not Severity.NOTE] == []


def test_rules_read_records_alone():
    """A Run typed in by hand: no torch, no model."""
    sites = tuple(Site(i, f"fc{i}", "addmm", Role.WEIGHT, (32, 8), n_out=8, parameters=(f"fc{i}.w",)) for i in range(6))
    edges = tuple(Edge(i, i + 1) for i in range(5))
    norms = 10.0 ** (-0.5 * np.arange(6))
    columns = {"grad_output": norms[None], "progress": (norms**2 / (norms**2).sum())[None]}
    run = Run({}, sites, edges, columns, {"contribution": norms[None, 1:], "share": np.ones((1, 5))})
    assert [finding.code for finding in rules.judge([run])] == ["UT101", "UT104"]
