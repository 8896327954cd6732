"""Judging steps and runs: healthy networks get notes at most, records are enough, verdicts are free of the scale."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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
from undertow.record import Edge, Finding, Role, Run, Severity, Site
from undertow.rules import RULES, over_time
from undertow.rules.judging import in_order


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
    assert {finding.code for finding in rules.judge([run])} == {"UT101", "UT104"}


@pytest.mark.parametrize("factor", [1e-6, 65536.0])
@pytest.mark.parametrize("name", ["vanishing", "by heart", "post-norm"])
def test_verdicts_are_free_of_the_losss_scale(recorded, name, factor):
    run = recorded(name)[0]
    norms = {key: factor * column for key, column in run.columns.items() if key in SCALED}
    scaled = replace(
        run,
        columns={**run.columns, **norms},
        edge_columns={**run.edge_columns, "contribution": factor * run.edge_columns["contribution"]},
        steps={**run.steps, "loss": factor * run.steps["loss"]},
        scalars={key: factor * column if key in SCALED else column for key, column in run.scalars.items()},
    )
    assert verdicts(scaled) == verdicts(run)


SCALED = {"grad_output", "grad_input", "learning_speed", "weight_grad_norm", "loss", "grad_norm", "grad_norm_unclipped"}


def verdicts(run):
    return [
        (f.code, f.began, f.ended, f.from_start) for f in over_time(run) if f.code not in ("UT401", "UT402", "UT404")
    ]


@settings(deadline=None, max_examples=30)
@given(values=st.lists(st.floats(-1e300, 1e300) | st.just(np.inf) | st.just(np.nan), max_size=120))
def test_any_losses_can_be_judged(values):
    over_time(Run({}, (), scalars={"loss": np.array(values), "step": np.arange(float(len(values)))}))


def test_an_empty_run_has_nothing_to_tell():
    assert over_time(Run({}, ())) == []


def learned(gradient):
    """A loss that fell and has stood still since step 100, and the rms of a layer's gradient at every step."""
    steps = np.arange(400.0)
    site = Site(0, "fc", "addmm", Role.WEIGHT, (32, 8), n_out=8, parameters=("fc.weight",), weight_shape=(8, 8))
    columns = {"weight_grad_norm": 8 * np.asarray(gradient)[:, None], "grad_output": np.ones((400, 1))}
    return Run(
        {"epsilon": 1e-8, "optimizer": "Adam"},
        (site,),
        (),
        columns,
        steps={"step": steps},
        scalars={"step": steps, "loss": 0.1 + 2 * np.exp(-steps / 10)},
    )


def test_small_gradients_after_convergence_are_no_fault():
    late, early = np.full(400, 1e-3), np.full(400, 1e-3)
    late[250:], early[30:] = 1e-9, 1e-9  # from 20 on the loss would have fallen by half all the same
    severities = [{f.code: str(f.severity) for f in over_time(learned(each))} for each in (late, early)]
    assert severities == [{"UT402": "note", "UT601": "note"}, {"UT402": "warning", "UT601": "note"}]


def test_a_diagnosis_of_several_passes_has_the_findings_of_all():
    quiet, cut = Run({}, ()), Run({"unreached": ["fc.weight"]}, ())
    diagnosis = rules.diagnose([quiet, cut])
    assert diagnosis.run is quiet
    assert [(found.code, found.confidence) for found in diagnosis.findings] == [("UT501", 0.5)]
    assert list(diagnosis.findings) == rules.judge([quiet, cut])
    with pytest.raises(ValueError, match="there is no pass to judge"):
        rules.diagnose([])


def test_the_old_name_of_a_run_history_is_there_for_a_release():
    with pytest.warns(DeprecationWarning, match="called RunHistory now"):
        assert rules.History is rules.RunHistory


def fault(code, began=None, from_start=False, severity=Severity.WARNING):
    return Finding(code, code, severity, (), "", "", began=began, from_start=from_start)


@pytest.mark.parametrize(
    ("decay", "alike", "first"),
    [((0, True), (0, True), "UT205"), ((0, True), (80, False), "UT409"), ((80, False), (0, True), "UT205")],
)
def test_of_two_that_explain_each_other_the_earlier_is_the_cause(decay, alike, first):
    found = in_order([fault("UT409", *decay), fault("UT205", *alike)])
    assert [each.code for each in found if not each.follows_from] == [first]
    assert found[0].code == first
    assert found[1].follows_from == first


def test_what_began_later_explains_nothing_that_was_there_before():
    late, early = fault("UT703", 50), fault("UT202", 10)
    assert {each.follows_from for each in in_order([late, early])} == {""}
    assert [each.follows_from for each in in_order([late, early], slack=40)] == ["", "UT703"]
    assert {each.follows_from for each in in_order([late, fault("UT202", 0, True)], slack=90)} == {""}


def test_a_cause_of_causes_is_as_bad_as_the_worst_that_follows():
    chain = [fault("UT704", 0, True, Severity.ERROR), fault("UT109", 5), fault("UT703", 0, True)]
    found = in_order(chain)
    assert [(each.code, each.severity) for each in found] == [(code, "error") for code in ("UT703", "UT109", "UT704")]


def test_no_finding_is_lost_or_made_by_ordering():
    codes = [rule.code for rule in RULES.values()]
    found = in_order([fault(code, n % 3, n % 2 == 0) for n, code in enumerate(codes)])
    assert sorted(each.code for each in found) == sorted(codes)
    assert all(each.follows_from == "" or each.code in RULES[each.follows_from].explains for each in found)


def test_a_note_follows_from_what_explains_it_and_explains_no_fault():
    start, fading = (Finding(code, "", Severity.NOTE, (), "", "") for code in ("UT301", "UT101"))
    assert [(each.code, each.follows_from) for each in in_order([fading, start])] == [("UT301", ""), ("UT101", "UT301")]
    lost = replace(fading, severity=Severity.ERROR)
    assert [(each.code, each.follows_from) for each in in_order([lost, start])] == [("UT101", ""), ("UT301", "")]


@pytest.mark.parametrize(("name", "cause"), [("update too small", "UT101"), ("update too large", "")])
def test_a_cause_may_explain_findings_of_one_name_alone(name, cause):
    """A gradient that fades makes steps short; it makes none long."""
    fading = Finding("UT101", "vanishing", Severity.ERROR, (), "", "")
    step = Finding("UT401", name, Severity.WARNING, (), "", "")
    assert next(each.follows_from for each in in_order([step, fading]) if each.code == "UT401") == cause
