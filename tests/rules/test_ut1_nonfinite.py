"""UT103: for each an example that fires, and a healthy one that looks like it and doesn't."""

import numpy as np
import pytest
import torch

from rules.loops import classifier, findings, fresh, record
from rules.networks import log_of_zero, minus_infinity_mask
from undertow.record import Event, Role, Run, Severity, Site
from undertow.rules import over_time
from undertow.rules.nonfinite_advice import makes_nonfinite, remedy_for
from undertow.testing import check_rule

CASES = {
    "UT103": (log_of_zero, minus_infinity_mask),
}


@pytest.mark.parametrize("code", CASES)
def test_keeps_the_contract_of_rules(code):
    check_rule(code, *CASES[code])


def test_the_first_inf_is_told_to_the_step_with_its_place(found):
    middle, inputs = found("infinite in the middle")["UT103"], found("infinite")["UT103"]
    assert (middle.began, inputs.began) == (37, 37)
    assert not middle.from_start
    assert "log_softmax" in middle.message
    assert "forward pass" in middle.message
    assert inputs.where == "0.weight"  # tanh hides the infinite input from all but the first layer's weights


def test_steps_that_a_scaler_skips_are_no_fault(recorded, found):
    assert np.nansum(recorded("scaler")[0].scalars["skipped"]) >= 3
    assert "UT103" not in found("scaler")


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
    assert "not measured in full" in finding.message
    assert finding.sites == (0,)
    assert (finding.where, finding.evidence["lag"], finding.from_start) == ("fc.weight, fc.bias", 5, False)


def test_numbers_that_are_finite_again_are_a_warning():
    flags = np.array([0.0, 0, 1, 0, 0])
    (finding,) = over_time(Run({}, (), scalars={"step": np.arange(5.0), "nonfinite": flags}))
    assert (finding.began, finding.ended, finding.severity) == (2, 3, Severity.WARNING)


@pytest.mark.parametrize(("lost", "codes"), [(5, []), (40, ["UT702", "UT103"])])
def test_a_scaler_that_never_finds_its_scale_again_has_lost_the_run(lost, codes):
    skipped = np.array([1.0, 1, 0] + [0.0] * 60 + [1.0] * lost)
    run = Run({}, (), scalars={"step": np.arange(float(len(skipped))), "nonfinite": skipped, "skipped": skipped})
    findings = over_time(run)
    assert [finding.code for finding in findings] == codes
    assert all(finding.began == 63 for finding in findings)


def lost_at(folder, step, spoil, lr=1e-3, steps=80, scaler=None, every=10):
    """Train the classifier; ``spoil`` adds to the loss what isn't finite at one step, and at no other."""
    net, loss = classifier()
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)

    def loop():
        for number in range(steps):
            optimizer.zero_grad()
            value = spoil(net, loss(number), float(number == step))
            (value if scaler is None else scaler.scale(value)).backward()
            yield value
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)
                scaler.update()

    return findings(record(fresh(folder), net, optimizer, loop(), scaler=scaler, every=every))


def times_nan(_, loss, now):
    return loss * (float("nan") if now else 1.0)


def root_of_zero(net, loss, now):
    return loss + 1e-3 * (net[0](torch.ones(4, 8)) * (1 - now)).square().sum().sqrt()


def log_of_nothing(net, loss, now):
    return loss + 1e-3 * (net[0](torch.ones(4, 8)) * (1 - now)).square().sum().log()


def overflow(net, loss, now):
    return loss + now * 1e37 * net[0].weight.mean()


def test_a_loss_that_is_nan_was_lost_in_the_forward_pass(tmp_path):
    found = lost_at(tmp_path, 40, times_nan)["UT103"]
    assert "lost in the forward pass, with weights that were still finite" in found.message
    assert found.began == 40


def test_a_root_of_zero_was_lost_in_the_backward_pass_and_the_advice_is_the_roots(tmp_path):
    found = lost_at(tmp_path, 40, root_of_zero)["UT103"]
    assert "forward" not in found.message
    assert "add a small number inside" in found.advice
    assert "torch.sqrt(x + 1e-8)" in found.snippet
    assert "sqrt" in found.where


def test_a_log_of_nothing_is_told_with_what_to_do(tmp_path):
    found = lost_at(tmp_path, 40, log_of_nothing)["UT103"]
    assert "forward pass" in found.message
    assert "keep it away from 0" in found.advice


@pytest.mark.parametrize("spoil", [times_nan, root_of_zero, log_of_nothing])
def test_a_step_that_was_not_a_full_one_names_no_parameters_as_a_place(tmp_path, spoil):
    """All weights have it by then."""
    found = lost_at(tmp_path, 33, spoil)["UT103"]
    assert found.where in ("the loss", "sqrt", "log", "mul") or found.where.count(",") < 2
    assert found.began in (33, 34, 40)


@pytest.mark.parametrize("lr", [1e-6, 1e-3])
def test_what_is_lost_after_small_steps_wants_no_warm_up(tmp_path, lr):
    assert "UT406" not in lost_at(tmp_path, 40, times_nan, lr=lr)


def test_a_loss_that_is_nan_is_not_a_scalers_ordinary_work(tmp_path):
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    assert "UT103" in lost_at(tmp_path, 40, times_nan, scaler=scaler, every=1)


def test_a_gradient_that_overflows_under_its_scale_is(tmp_path):
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    assert "UT103" not in lost_at(tmp_path, 40, overflow, scaler=scaler, every=1)


@pytest.mark.parametrize(
    ("op", "words"),
    [
        ("_ctc_loss", "input_lengths"),
        ("sqrt", "inside"),
        ("linalg_vector_norm", "inside"),
        ("div", "float32"),
        ("mm", "65,504"),
        ("_log_softmax", "masked"),
    ],
)
def test_advice_goes_with_the_operation(op, words):
    assert words in remedy_for(op)


@pytest.mark.parametrize("op", ["relu", "embedding", "view", ""])
def test_there_is_none_for_what_keeps_numbers_finite(op):
    assert remedy_for(op) == ""
    assert makes_nonfinite(op) == 0
