"""UT408 and UT410: steps too small to get anywhere, steps that aren't finite, and the healthy ones beside them."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from rules.loops import classifier, findings, fresh, record
from undertow.examination import examine
from undertow.record import Run, Severity
from undertow.rules import over_time
from undertow.testing import check_rule

STEPS = 200


def sgd(net, lr=0.05, **settings):
    return torch.optim.SGD(net.parameters(), lr=lr, **settings)


def adagrad(net, start):
    return torch.optim.Adagrad(net.parameters(), lr=0.05, initial_accumulator_value=start)


def told(net, loss, optimizer, code="UT408"):
    report = examine(net, loss, optimizer)
    return {found.code: found for found in report.findings}.get(code)


def at_start(make, scale=1.0):
    net, loss = classifier()
    return net, lambda: loss(0) * scale, make(net)


def groups(net, rate):
    return torch.optim.Adam([
        {"params": net[:2].parameters(), "lr": rate}, {"params": net[2:].parameters(), "lr": 1e-3}
    ])  # fmt: skip


SMALL = {
    "rate of 0": (lambda: at_start(lambda net: sgd(net, lr=0.0)), Severity.ERROR),
    "AdamW at 0": (lambda: at_start(lambda net: torch.optim.AdamW(net.parameters(), lr=0.0)), Severity.ERROR),
    "a group at 0": (lambda: at_start(lambda net: groups(net, 0.0)), Severity.WARNING),
    "averaged twice": (lambda: at_start(lambda net: sgd(net, lr=1e-3), scale=1 / 256), Severity.WARNING),
    "Adagrad's start": (lambda: at_start(lambda net: adagrad(net, 1e6)), Severity.WARNING),
}
ENOUGH = {
    "SGD": lambda: at_start(sgd),
    "Adam": lambda: at_start(lambda net: torch.optim.Adam(net.parameters(), lr=1e-4)),
    "groups": lambda: at_start(lambda net: groups(net, 1e-4)),
    "Adagrad": lambda: at_start(lambda net: adagrad(net, 0.0)),
    "a small loss under Adam": lambda: at_start(lambda net: torch.optim.Adam(net.parameters(), lr=1e-3), scale=1e-3),
}


CASES = {
    "UT408": (SMALL["averaged twice"][0], ENOUGH["SGD"]),
    "UT410": (lambda: half(), lambda: half(epsilon=1e-4)),
}


@pytest.mark.parametrize("code", CASES)
def test_keeps_the_contract_of_rules(code):
    check_rule(code, *CASES[code])


@pytest.mark.parametrize("kind", SMALL)
def test_examine_tells_of_steps_that_get_nowhere(kind):
    build, severity = SMALL[kind]
    assert told(*build()).severity is severity


@pytest.mark.parametrize("kind", ENOUGH)
def test_examine_is_silent_of_steps_that_get_somewhere(kind):
    assert told(*ENOUGH[kind]()) is None


def test_adagrads_start_is_named():
    assert "accumulator" in told(*SMALL["Adagrad's start"][0]()).message


@pytest.mark.parametrize(("make", "lr", "least", "most"), [
    (torch.optim.SGD, 1e-9, 1e-2, 0.2), (torch.optim.Adam, 1e-10, 1e-5, 0.02), (torch.optim.SGD, 1e-6, 1e-3, 0.2),
])  # fmt: skip
def test_what_it_advises_to_type_gets_somewhere_however_small_the_rate_is(make, lr, least, most):
    net, loss, optimizer = at_start(lambda net: make(net.parameters(), lr=lr))
    exec(told(net, loss, optimizer).snippet, {"optimizer": optimizer})  # noqa: S102 - the snippet is what is tested
    assert least <= optimizer.param_groups[0]["lr"] <= most
    assert told(net, loss, optimizer) is None


def test_a_warm_up_that_is_about_to_begin_is_a_note():
    net, loss = classifier()
    optimizer = sgd(net)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 100))
    assert told(net, lambda: loss(0), optimizer).severity is Severity.NOTE


def test_a_network_that_has_converged_is_not_told_of_small_steps():
    """The whole data, to the bottom: its examples' gradients cancel."""
    torch.manual_seed(0)
    net, x = nn.Linear(4, 8), torch.randn(64, 4)
    y = x @ torch.randn(4, 8) + 0.5 * torch.randn(64, 8)
    optimizer = sgd(net, lr=0.5)
    for _ in range(4000):
        optimizer.zero_grad()
        functional.mse_loss(net(x), y).backward()
        optimizer.step()
    assert told(net, lambda: functional.mse_loss(net(x), y), optimizer) is None


def run(folder, make, schedule=None, steps=STEPS, scale=1.0, rows=32):
    net, loss = classifier(rows=rows)
    optimizer = make(net)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule) if schedule else None

    def loop():
        for step in range(steps):
            optimizer.zero_grad()
            value = loss(step) * scale
            value.backward()
            yield value
            optimizer.step()
            if scheduler is not None:
                scheduler.step()

    return record(fresh(folder), net, optimizer, loop())


def adam(net, lr=2e-3):
    return torch.optim.Adam(net.parameters(), lr=lr)


def linear_to_0(steps):
    return lambda step: max(0.0, 1 - step / steps)


GONE = {
    "linear, eight times too fast": (adam, linear_to_0(STEPS // 8)),
    "exponential, once a batch": (adam, lambda step: 0.7**step),
    "steps of a tenth": (sgd, lambda step: 0.1 ** (step // 10)),
}
SCHEDULED = {
    "constant": (adam, None),
    "linear to the end": (adam, linear_to_0(STEPS)),
    "cosine": (adam, lambda step: 0.5 * (1 + np.cos(np.pi * step / STEPS))),
    "steps of a tenth": (adam, lambda step: 0.1 ** (step // 70)),
    "warm-up": (adam, lambda step: min(1.0, (step + 1) / 50)),
    "warm-up that isn't over": (adam, lambda step: step / 2e4),
}


@pytest.mark.parametrize("kind", GONE)
def test_a_rate_that_is_gone_long_before_the_end_is_told(tmp_path, kind):
    found = findings(run(tmp_path, *GONE[kind]))
    assert next(iter(found)) == "UT408"
    assert 15 <= found["UT408"].began <= 60
    assert found["UT408"].severity is Severity.ERROR


@pytest.mark.parametrize("kind", SCHEDULED)
def test_usual_schedules_are_not(tmp_path, kind):
    assert "UT408" not in findings(run(tmp_path, *SCHEDULED[kind]))


def test_a_warm_up_of_a_million_steps_is_told_and_explains_that_nothing_is_learned(tmp_path):
    found = findings(run(tmp_path, adam, lambda step: 1e-5 + step / 1e6))
    assert next(iter(found)) == "UT408"
    assert "warm-up" in found["UT408"].message
    assert found["UT704"].follows_from == "UT408"


def test_a_group_at_a_rate_of_0_is_told_unless_it_gets_one_later(tmp_path):
    found = findings(run(tmp_path, lambda net: groups(net, 0.0), None))["UT408"]
    assert found.severity is Severity.WARNING
    assert "is 0" in found.message
    assert found.snippet.count("group") > 1


def test_a_frozen_first_group_at_a_rate_of_0_says_nothing_of_the_others(tmp_path):
    def frozen(net):
        optimizer = groups(net, 0.0)
        for parameter in optimizer.param_groups[0]["params"]:
            parameter.requires_grad_(False)
        return optimizer

    assert "UT408" not in findings(run(tmp_path, frozen, None))


def test_a_rate_that_goes_when_all_is_learned_is_a_note():
    steps = np.arange(600.0)
    losses = 2 * 0.9**steps + 1e-3
    rates = np.where(steps < 400, 0.1, 0.0)
    ended = Run({}, (), scalars={"step": steps, "loss": losses, "lr": rates})
    (found,) = (f for f in over_time(ended) if f.code == "UT408")
    assert (found.severity, found.began) == (Severity.NOTE, 400)
    early = Run({}, (), scalars={"step": steps, "loss": 2 - 1e-3 * np.minimum(steps, 400), "lr": rates})
    (found,) = (f for f in over_time(early) if f.code == "UT408")
    assert found.severity is Severity.ERROR


def test_a_run_whose_steps_together_get_nowhere_is_told(tmp_path):
    found = findings(run(tmp_path, lambda net: sgd(net, lr=1e-2), scale=1 / 512))
    assert list(found)[:2] == ["UT408", "UT704"]
    assert found["UT408"].evidence["all steps"] < 0.05


def half(epsilon=1e-8, lr=1e-3, optimizer=torch.optim.Adam):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4)).half()
    x, y = torch.randn(64, 8).half(), torch.randint(0, 4, (64,))
    return net, lambda: functional.cross_entropy(net(x).float(), y), optimizer(net.parameters(), lr=lr, eps=epsilon)


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop])
def test_examine_tells_of_an_epsilon_that_is_0_in_float16(optimizer):
    found = told(*half(optimizer=optimizer), code="UT410")
    assert found.severity is Severity.ERROR
    assert found.evidence["epsilon there"] == 0


def test_examine_is_silent_with_one_that_float16_can_hold():
    assert told(*half(epsilon=1e-4), code="UT410") is None
    net, loss = classifier()
    assert told(net, lambda: loss(0), adam(net), code="UT410") is None


def test_gradients_that_are_not_finite_are_not_the_steps_fault():
    net, loss = classifier()
    assert told(net, lambda: loss(0) * float("inf"), adam(net), code="UT410") is None


@pytest.mark.parametrize("epsilon", [1e-8, 1e-4])
def test_a_watched_step_that_makes_weights_nan_is_the_cause_of_what_follows(tmp_path, epsilon):
    net, loss, optimizer = half(epsilon)

    def loop():
        for _ in range(30):
            optimizer.zero_grad()
            value = loss()
            value.backward()
            yield value
            optimizer.step()

    found = findings(record(tmp_path, net, optimizer, loop()))
    if epsilon == 1e-4:
        assert not found
    else:
        assert list(found)[:2] == ["UT410", "UT103"]
        assert (found["UT410"].began, found["UT103"].began) == (0, 1)
