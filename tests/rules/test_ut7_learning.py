"""UT704: losses that don't fall, and those that do, or needn't."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from rules.loops import classifier, findings, record
from undertow.record import Finding, Role, Run, Severity, Site
from undertow.rules import over_time
from undertow.rules.judging import in_order


def run_of(losses, every=1, optimizer="Adam", start=0, classes=0):
    steps = start + every * np.arange(len(losses), dtype=float)
    sites = (Site(0, "head", "addmm", Role.WEIGHT, (32, classes), n_out=classes),) if classes else ()
    return Run({"optimizer": optimizer}, sites, scalars={"step": steps, "loss": np.asarray(losses, float)})


def told(run):
    return {found.code: found for found in over_time(run)}.get("UT704")


def noise(count, size=0.05, seed=0):
    return size * np.random.default_rng(seed).standard_normal(count)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("count", "every"), [(400, 1), (40, 10), (25, 20)])
def test_a_loss_that_stands_at_chance_is_told(count, every, seed):
    found = told(run_of(np.log(10) + noise(count, seed=seed), every, classes=10))
    assert found.severity is Severity.ERROR
    assert found.evidence["chance"] == pytest.approx(np.log(10))


@pytest.mark.parametrize("seed", range(5))
def test_a_loss_that_stands_elsewhere_is_a_warning(seed):
    assert told(run_of(0.4 + noise(300, seed=seed))).severity is Severity.WARNING


RUNS = {"UT704": (lambda t: np.ones_like(t), lambda t: np.exp(-5 * t))}
"""A loss through time."""


@pytest.mark.parametrize(("place", "fires"), [(0, True), (1, False)])
def test_examples_of_runs(place, fires):
    losses = 2.3 * RUNS["UT704"][place](np.linspace(0, 1, 300)) + noise(300)
    assert (told(run_of(losses)) is not None) is fires


FALLING = {
    "fast": lambda t: np.exp(-5 * t),
    "slowly": lambda t: 1 - 0.1 * t,
    "late": lambda t: np.where(t < 0.7, 1.0, 0.6),
    "and rises again": lambda t: 1 - 0.5 * t + t**4,
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", FALLING)
def test_a_loss_that_falls_is_not(kind, seed):
    t = np.linspace(0, 1, 300)
    assert told(run_of(2.3 * FALLING[kind](t) + noise(300, seed=seed))) is None


def test_a_run_too_short_to_tell_is_not():
    assert told(run_of(2.3 + noise(90))) is None
    assert told(run_of(2.3 + noise(15), every=20)) is None


NEEDNT = {
    "a GAN's": {"losses": 0.7 + noise(300), "optimizer": "Adam, Adam"},
    "a reward's": {"losses": noise(300)},
    "at its floor": {"losses": 5e-4 + 1e-5 * noise(300)},
    "goes on": {"losses": 2.3 + noise(300), "start": 5000},
}


@pytest.mark.parametrize("kind", NEEDNT)
def test_where_a_loss_need_not_fall_it_is_a_note(kind):
    found = told(run_of(**NEEDNT[kind]))
    assert found is None or found.severity is Severity.NOTE


def shuffled(folder, apart):
    """Inputs and targets that belong together, or were shuffled apart."""
    net, _ = classifier()
    y = torch.arange(512) % 4
    x = torch.randn(512, 8) + 2 * torch.randn(4, 8)[y]
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def loop():
        for step in range(200):
            rows = torch.randint(0, 512, (32,), generator=torch.Generator().manual_seed(step))
            targets = (
                torch.randint(0, 512, (32,), generator=torch.Generator().manual_seed(1000 + step)) if apart else rows
            )
            optimizer.zero_grad()
            value = functional.cross_entropy(net(x[rows]), y[targets])
            value.backward()
            yield value
            optimizer.step()

    return findings(record(folder, net, optimizer, loop()))


def test_inputs_and_targets_that_do_not_belong_together_are_told(tmp_path):
    found = shuffled(tmp_path, apart=True)
    assert "whether they belong together" in found["UT704"].message


def test_those_that_do_are_not(tmp_path):
    assert not shuffled(tmp_path, apart=False)


def met(losses, constant, commonest=0.2, op="nll_loss", classes=4):
    """A run whose batches' targets are known: a loss at its operation, and a head."""
    count = len(losses)
    sites = (Site(0, "", op, Role.LOSS), Site(1, "head", "addmm", Role.WEIGHT, (32, classes), n_out=classes))
    steps = 10 * np.arange(count, dtype=float)
    nothing, losses = np.full(count, np.nan), np.asarray(losses, float)
    surprise = losses / np.log(max(classes, 2))
    columns = {
        name: np.stack([np.broadcast_to(values, count), nothing], 1)
        for name, values in (
            ("constant_loss", constant), ("commonest", commonest), ("surprise", surprise), ("classes", float(classes)),
            ("grad_output", 1.0),
        )
    }  # fmt: skip
    if op == "mse_loss":
        columns = {name: columns[name] for name in ("constant_loss", "grad_output")}
    columns["grad_output"][:, 1] = 1.0
    scalars = {"step": steps, "loss": losses}
    return Run({"optimizer": "Adam"}, sites, (), columns, steps={"step": steps, "loss": losses}, scalars=scalars)


@pytest.mark.parametrize(("op", "classes"), [("nll_loss", 4), ("mse_loss", 1)])
@pytest.mark.parametrize("seed", range(3))
def test_a_loss_that_rests_where_a_constant_answer_stands_is_told(op, classes, seed):
    falls = 0.6 + 0.8 * np.exp(-np.arange(40.0) / 4)  # from far above, as networks with a wild start do
    found = told(met(falls + noise(40, 0.02, seed), 0.6, op=op, classes=classes))
    assert "one answer for all examples" in found.message
    assert found.evidence["constant"] == pytest.approx(0.6)


@pytest.mark.parametrize("end", [0.5, 0.3, 0.05])
@pytest.mark.parametrize("op", ["nll_loss", "mse_loss"])
def test_a_loss_under_what_a_constant_answer_gets_is_none(op, end):
    falls = end + (1.4 - end) * np.exp(-np.arange(40.0) / 4)
    assert told(met(falls + noise(40, 0.02), 0.6, op=op)) is None


def test_a_loss_that_comes_past_that_level_is_none():
    assert told(met(np.linspace(2.0, 0.58, 40) + noise(40, 0.01), 0.6)) is None


def test_a_level_of_another_loss_says_nothing():
    run = met(0.6 + 0.8 * np.exp(-np.arange(40.0) / 4), 0.6)
    half = replace(run, columns={**run.columns, "surprise": run.columns["surprise"] / 2})  # a sum of two terms, say
    assert told(half) is None


@pytest.mark.parametrize(("commonest", "constant", "loss", "fires"), [
    (1.0, 0.0, 2.0, True), (0.7, 0.6, 1.5, True),  # class by class, as data lie on disk
    (0.95, 0.2, 0.1, False), (0.95, 0.2, 0.25, False),  # one class is frequent, and the network knows it
    (0.3, 1.3, 1.4, False),
])  # fmt: skip
def test_batches_of_one_class_are_told(commonest, constant, loss, fires):
    wild = loss * (1.6 - np.linspace(0, 0.6, 40)) + noise(40, 0.02)
    found = told(met(wild, constant, commonest))
    assert "not mixed" in found.message if fires else found is None or "not mixed" not in found.message


def far_above_chance(losses):
    sites = (
        Site(0, "loss", "nll_loss", Role.LOSS, ()),
        Site(1, "head", "addmm", Role.WEIGHT, (32, 4), n_out=4),
    )
    rows = np.arange(0, len(losses), 10)
    columns = {"constant_loss": np.full((len(rows), 2), np.log(4))}
    scalars = {"step": np.arange(len(losses), dtype=float), "loss": np.asarray(losses, float)}
    steps = {"step": rows.astype(float), "loss": np.asarray(losses, float)[rows]}
    return Run({"optimizer": "Adam"}, sites, columns=columns, steps=steps, scalars=scalars)


def test_a_classifier_whose_loss_stands_far_above_chance_is_told_and_has_not_converged():
    falls = 40 * np.exp(-np.arange(300) / 15)
    codes = {found.code: found for found in over_time(far_above_chance(11 + falls + noise(300)))}
    assert codes["UT704"].severity is Severity.WARNING
    assert codes["UT704"].evidence["constant"] == pytest.approx(np.log(4))
    assert "UT601" not in codes
    assert "UT704" not in {found.code for found in over_time(far_above_chance(0.4 + falls + noise(300)))}
    still_falls = 200 * np.exp(-np.arange(300) / 100)
    assert "UT704" not in {found.code for found in over_time(far_above_chance(still_falls + noise(300)))}


@pytest.mark.parametrize(("losses", "lost"), [
    (-np.log(4) * np.geomspace(1, 1e3, 60), True),
    (-np.log(4) * np.geomspace(1, 1.5, 60), False),  # an entropy, which ends
    (-0.01 * np.geomspace(1, 1e5, 60), False),  # a reward's
    (np.log(4) * np.geomspace(1, 0.1, 60), False),
])  # fmt: skip
def test_a_likelihood_that_is_minimised_is_told(losses, lost):
    found = [each for each in over_time(met(losses, 1.386)) if each.code == "UT704"]
    assert [each.name for each in found if "likelihood" in each.message] == ["sign lost"] * lost


def test_what_develops_when_a_loss_has_stood_still_for_long_is_no_cause():
    still = replace(told(met(1.386 + noise(40, 0.02), 1.386)), evidence={"steps": 400.0})
    early, late = (
        Finding("UT101", "vanishing", Severity.WARNING, (), "", "", began=began, from_start=began == 0)
        for began in (0, 300)
    )
    assert [each.code for each in in_order([early, still])] == ["UT101", "UT704"]
    assert [each.follows_from for each in in_order([late, still])] == ["", ""]


def test_batches_that_are_not_mixed_explain_units_that_they_switch_off():
    found = told(met(2.0 + noise(40, 0.02), 0.0, 1.0))
    dead = Finding("UT202", "dead units", Severity.ERROR, (), "", "", began=200)
    assert [(each.code, each.follows_from) for each in in_order([dead, found])] == [("UT704", ""), ("UT202", "UT704")]
    plain = replace(found, name="doesn't learn")
    assert next(each.code for each in in_order([dead, plain])) == "UT202"


def test_a_loss_that_slows_down_above_chance_has_come_to_rest():
    assert told(met(0.6 + 0.8 * np.exp(-np.arange(60.0) / 9) + 0.004, 0.6)) is not None
