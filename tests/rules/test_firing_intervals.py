"""Rules of single steps, over a run typed in: exact beginnings, few steps judged, no verdict by single steps."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.analysis.timeline import RunHistory
from undertow.record import Finding, Role, Run, Severity, Site
from undertow.rules.consequences import Outcome
from undertow.rules.firing_intervals import RuleSampler, _excused, findings_of_steps, sampled


def run_of(dead, every=10):
    """A ReLU with that share of dead units at every taped step."""
    dead = np.asarray(dead, np.float32)
    site = Site(0, "body", "relu", Role.ACTIVATION, (64, 16), activation="relu")
    steps = {"step": every * np.arange(len(dead), dtype=float)}
    return Run(
        {}, (site,), (), {"dead": dead[:, None], "grad_output": np.ones((len(dead), 1), np.float32)}, steps=steps
    )


def told(run):
    (finding,) = (f for f in findings_of_steps(RunHistory(run)) if f.code == "UT202")
    return finding


def many(length, *segments):
    dead = np.zeros(length)
    for start, end in segments:
        dead[start:end] = 1.0
    return run_of(dead)


@settings(deadline=None, max_examples=60)
@given(length=st.integers(200, 20_000), start=st.floats(0.1, 0.8), part=st.floats(0.1, 1.0))
def test_beginnings_and_ends_are_exact(length, start, part):
    first = int(start * length)
    last = first + max(int(part * length), length // 10)
    last = last if last < 0.95 * length else length  # a single silent step at the end ends nothing
    finding = told(many(length, (first, last)))
    assert finding.began == 10 * first
    assert finding.ended == (10 * last if last < length else None)
    assert not finding.from_start


@pytest.mark.parametrize("length", [3, 10, 100, 5_000])
def test_what_is_so_from_the_first_step_is_born(length):
    finding = told(many(length, (0, length)))
    assert (finding.began, finding.from_start, finding.ended, finding.confidence) == (0, True, None, 1.0)


@settings(deadline=None, max_examples=40)
@given(length=st.integers(60, 5_000), seed=st.integers(0, 1000))
def test_single_steps_are_not_told(length, seed):
    odd = np.random.default_rng(seed).choice(length // 4, max(length // 200, 1), replace=False) * 4
    assert findings_of_steps(RunHistory(many(length, *((at, at + 1) for at in odd)))) == []


def test_single_steps_do_not_end_a_fault():
    dead = np.full(200, 0.8)
    dead[[50, 90, 130]] = 0.0
    finding = told(run_of(dead))
    assert (finding.began, finding.ended) == (0, None)


def test_few_steps_of_many_are_judged():
    history = RunHistory(many(20_000, (7_000, 20_000)))
    assert len(sampled(history)) < 120
    sampler = RuleSampler(history)
    assert not sampler.found()


def test_a_fault_that_has_just_begun_is_seen_while_the_run_grows():
    assert told(many(1_000, (990, 1_000))).began == 9_900


def test_steps_that_are_not_finite_neither_end_a_fault_nor_make_one():
    run = many(100, (50, 80))
    columns = dict(run.columns)
    columns["grad_output"] = columns["grad_output"].copy()
    columns["grad_output"][80:] = np.nan
    assert told(replace(run, columns=columns)).ended is None


def test_findings_of_an_earlier_undertow_can_be_read():
    run = many(100, (50, 100))
    data = told(run).to_dict()
    assert Finding.from_dict(data) == told(run)
    for name in ("began", "born", "ended"):
        del data[name]
    old = Finding.from_dict(data)
    assert (old.began, old.from_start, old.ended) == (None, False, None)


@pytest.mark.parametrize(("end", "learned"), [(0.3, True), (2.2, False)])
def test_a_start_that_learned_all_the_same_is_a_note_and_says_nothing_of_others(end, learned):
    """Of ten classes, guessing gets 2.3: a loss that comes down to that from a large one has learned nothing."""
    sites = (Site(0, "", "log_softmax", Role.LOSS, (8, 10)), Site(1, "fc", "addmm", Role.WEIGHT, (8, 10), n_out=10))
    losses = np.concatenate([np.full(10, 9.0), np.full(30, end)])
    run = Run({}, sites, scalars={"step": np.arange(40.0), "loss": losses}, steps={"step": np.array([0.0])})
    row = str(Outcome("UT301", "any", "any", -9.0, -8.0, 30, 0, 30, 6.5))
    found = Finding("UT301", "too deep", Severity.ERROR, (), "", f"It fades. {row}")
    told = _excused(RunHistory(run), found, 0, 0)
    assert told.severity is (Severity.NOTE if learned else Severity.ERROR)
    assert told.message == ("It fades. The loss fell from 9 to 0.3 all the same." if learned else found.message)
