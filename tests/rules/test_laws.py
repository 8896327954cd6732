"""Laws of judging through time, on Runs typed in: exact beginnings, few steps judged, no verdict by single steps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rules.trainings import adam, chain, classified
from undertow.analysis.loss_spikes import spikes_of
from undertow.analysis.timeline import RunHistory
from undertow.record import Event, Finding, Role, Run, Severity, Site
from undertow.rules import over_time
from undertow.rules.firing_intervals import RuleSampler, findings_of_steps, sampled


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
        dead[start:end] = 0.8
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


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10_000), length=st.integers(20, 400), noise=st.floats(0.01, 0.3))
def test_noise_and_a_loss_that_falls_are_no_spikes(seed, length, noise):
    rng = np.random.default_rng(seed)
    losses = (0.5 + 2 * 0.98 ** np.arange(length)) * np.exp(noise * rng.standard_normal(length))
    assert spikes_of(losses) == []


def test_a_single_hard_batch_is_no_spike_but_two_are():
    calm = 1 + 0.05 * np.random.default_rng(0).standard_normal(200)
    one, two = calm.copy(), calm.copy()
    one[100], two[100:102] = 1.9, 1.9
    assert spikes_of(one) == []
    assert [(spike.first, spike.last) for spike in spikes_of(two)] == [(100, 101)]


@pytest.mark.parametrize("rows", [2, 4, 16])
def test_small_batches_are_no_spikes(rows):
    """A training on batches of a few examples: hard ones come by the dozen."""
    torch.manual_seed(0)
    model, loss, losses = chain(nn.ReLU, 3, gain=2.0), classified(rows), []
    optimizer = adam(model, 3e-3)
    for step in range(1000):
        optimizer.zero_grad()
        value = loss(model, step)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert spikes_of(np.array(losses)) == []


def spiked(taped, moved, calm=200, top=8.0):
    """A loss that is noted at every step and jumps at step ``calm``; parameters read at some, moved at one of them."""
    rng, taped = np.random.default_rng(0), np.asarray(taped, float)
    losses = np.where(np.arange(calm + 20) < calm, 1.0, top) + 0.01 * rng.standard_normal(calm + 20)
    norms = 1 + 0.01 * rng.standard_normal((len(taped), 2))
    norms[taped == moved, 0] = 10.0
    run = Run(
        {},
        (Site(0, "fc", "addmm", Role.WEIGHT, parameters=("fc.weight",)),),
        scalars={"step": np.arange(calm + 20.0), "loss": losses},
        parameters=("fc.weight", "fc.bias"),
        parameter_columns={"update_norm": norms},
        parameter_steps=taped,
    )
    (spike,) = (finding for finding in over_time(run) if finding.code == "UT405")
    return spike


EVERY, SPARSE, LONG_AGO = np.arange(220), np.arange(0, 220, 15), np.arange(0, 140, 5)


@pytest.mark.parametrize(
    ("taped", "moved", "lead", "words"),
    [
        (EVERY, 199, 1, "First moved, at step 199 (1 step before): update of fc.weight (x 1"),
        (EVERY, 190, 10, "First moved, at step 190 (10 steps before)"),
        (EVERY, 200, 0, "At the same step moved: update of fc.weight"),
        (EVERY, 180, None, "In the 11 steps taped just before nothing else was out of the ordinary."),
        (SPARSE, 195, 5, "First moved, at step 195"),
        (SPARSE, 150, 50, "First moved, at step 150 (50 steps before)"),
        (SPARSE, 135, None, "In the 4 steps taped just before nothing else was out of the ordinary."),
        (SPARSE, 30, None, "In the 4 steps taped just before nothing else"),
        (LONG_AGO, 135, None, "What moved first isn't known: too few steps just before it were taped."),
        (np.array([170, 180, 190]), 190, None, "What moved first isn't known"),
        (np.append(LONG_AGO, 200), 200, 0, "What moved first isn't known: too few steps just before it were taped."),
        (np.array([]), 0, None, "What moved first isn't known"),
    ],
)
def test_what_moved_first_is_looked_for_shortly_before_the_spike(taped, moved, lead, words):
    spike = spiked(taped, moved)
    assert spike.began == 200
    assert spike.evidence.get("lead") == lead
    assert words in spike.message
    assert spike.sites == (() if lead is None else (0,))


def test_a_spike_between_two_notes_says_between_which():
    losses, steps = np.where(np.arange(60) < 40, 1.0, 5.0), 10 * np.arange(60.0)
    (spike,) = over_time(Run({}, (), scalars={"step": steps, "loss": losses}))
    assert spike.message.startswith("The loss rose from 1 to 5 between steps 390 and 400 and has not come back.")
    assert "between" not in spiked(EVERY, 199).message


@settings(deadline=None, max_examples=30)
@given(values=st.lists(st.floats(-1e300, 1e300) | st.just(np.inf) | st.just(np.nan), max_size=120))
def test_any_losses_can_be_judged(values):
    over_time(Run({}, (), scalars={"loss": np.array(values), "step": np.arange(float(len(values)))}))


def test_an_empty_run_has_nothing_to_tell():
    assert over_time(Run({}, ())) == []


def test_findings_of_an_earlier_undertow_can_be_read():
    run = many(100, (50, 100))
    data = told(run).to_dict()
    assert Finding.from_dict(data) == told(run)
    for name in ("began", "born", "ended"):
        del data[name]
    old = Finding.from_dict(data)
    assert (old.began, old.from_start, old.ended) == (None, False, None)


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
    late[250:], early[20:] = 1e-9, 1e-9
    severities = [{f.code: str(f.severity) for f in over_time(learned(each))} for each in (late, early)]
    assert severities == [{"UT402": "note", "UT601": "note"}, {"UT402": "warning", "UT601": "note"}]


@pytest.mark.parametrize(
    ("exact", "words"), [(True, "At step 37 numbers"), (False, "After step 30, and by step 37, numbers")]
)
def test_an_inf_at_a_step_that_was_not_taped_is_told_from_the_event(exact, words):
    """The watcher saw it at step 41, in what it had kept of the steps between."""
    steps = np.array([0.0, 10, 20, 30, 41, 50])
    data = {"step": 37, "after": 36 if exact else 30, "exact": exact, "lag": 5, "parameters": ["fc.weight", "fc.bias"]}
    run = Run(
        {},
        (Site(0, "fc", "addmm", Role.WEIGHT, parameters=("fc.weight",)),),
        (),
        {"grad_output": np.ones((1, 1))},
        steps={"step": np.array([0.0])},
        scalars={"step": steps, "nonfinite": np.array([0.0, 0, 0, 0, 1, 1])},
        events=(Event(37, 1.0, "nonfinite", "the gradient isn't finite", data),),
    )
    (finding,) = over_time(run)
    assert (finding.code, finding.began, finding.severity) == ("UT103", 37, Severity.ERROR)
    assert finding.message.startswith(words)
    assert "not taped" in finding.message
    assert finding.sites == (0,)
    assert (finding.where, finding.evidence["lag"], finding.from_start) == ("fc.weight, fc.bias", 5, False)


def test_numbers_that_are_finite_again_are_a_warning():
    flags = np.array([0.0, 0, 1, 0, 0])
    (finding,) = over_time(Run({}, (), scalars={"step": np.arange(5.0), "nonfinite": flags}))
    assert (finding.began, finding.ended, finding.severity) == (2, 3, Severity.WARNING)


@pytest.mark.parametrize(("lost", "codes"), [(5, []), (40, ["UT103"])])
def test_a_scaler_that_never_finds_its_scale_again_has_lost_the_run(lost, codes):
    skipped = np.array([1.0, 1, 0] + [0.0] * 60 + [1.0] * lost)
    run = Run({}, (), scalars={"step": np.arange(float(len(skipped))), "nonfinite": skipped, "skipped": skipped})
    findings = over_time(run)
    assert [finding.code for finding in findings] == codes
    assert all(finding.began == 63 for finding in findings)
