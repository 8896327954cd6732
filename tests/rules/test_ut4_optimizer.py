"""UT401, UT402 and UT403: for each an example that fires, and a healthy one that looks like it and doesn't."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from rules.loops import classifier, findings, plainly, record
from rules.networks import tiny_loss, with_optimizer
from undertow.examination import examine
from undertow.record import Severity
from undertow.render.verdict import verdict
from undertow.rules import over_time
from undertow.testing import check_rule

CASES = {
    "UT401": (
        lambda: with_optimizer(lambda p: torch.optim.Adam(p, lr=0.5)),
        lambda: with_optimizer(lambda p: torch.optim.Adam(p, lr=1e-3)),
    ),
    "UT402": (lambda: tiny_loss(1e-8), lambda: tiny_loss(1e-15)),
}
RUNS = {
    "UT403": ("clipped hard", "clipped a little"),
}
"""The training in which it fires, and the one in which it doesn't; see `rules.trainings`."""


@pytest.mark.parametrize("code", CASES)
def test_keeps_the_contract_of_rules(code):
    check_rule(code, *CASES[code])


@pytest.mark.parametrize("code", RUNS)
def test_fires_on_a_run(found, code):
    assert code in found(RUNS[code][0])


@pytest.mark.parametrize("code", RUNS)
def test_stays_silent_on_a_healthy_run(found, code):
    assert code not in found(RUNS[code][1])


@pytest.mark.parametrize(("lr", "told"), [(1e-4, True), (3e-3, False)])
def test_steps_that_half_precision_rounds_away(lr, told):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(32, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4)).to(torch.bfloat16)
    x, y = torch.randn(64, 32, dtype=torch.bfloat16), torch.randint(0, 4, (64,))
    report = examine(net, lambda: functional.cross_entropy(net(x), y), torch.optim.Adam(net.parameters(), lr))
    found = [each for each in report.findings if each.code == "UT401" and each.severity is Severity.WARNING]
    assert len(found) == told
    assert all(each.evidence["stuck"] > 0.6 and "model.float()" in each.snippet for each in found)


@pytest.mark.parametrize(
    ("optimizer", "lr", "kind", "told"),
    [
        (torch.optim.AdamW, 1e-4, torch.bfloat16, True),
        (torch.optim.AdamW, 3e-3, torch.bfloat16, False),
        (torch.optim.AdamW, 1e-4, torch.float32, False),
        (torch.optim.SGD, 1e-4, torch.bfloat16, True),
        (torch.optim.SGD, 1.0, torch.bfloat16, False),
    ],
)
def test_a_watched_run_tells_steps_that_half_precision_rounds_away(tmp_path, optimizer, lr, kind, told):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(32, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4)).to(kind)
    for p in net.parameters():
        p.data *= 3
    x, y = torch.randn(64, 32, dtype=kind), torch.randint(0, 4, (64,))
    made = optimizer(net.parameters(), lr)
    run = record(tmp_path, net, made, plainly(lambda _: functional.cross_entropy(net(x), y), made, made.zero_grad, 30))
    found = [each for each in over_time(run) if each.code == "UT401" and "rounding takes" in each.message]
    assert len(found) == told


def test_clipping_is_told_by_how_much(recorded, found):
    run, clipping = recorded("clipped hard")[0], found("clipped hard")["UT403"]
    ratio = run.scalars["grad_norm"] / run.scalars["grad_norm_unclipped"]
    assert clipping.evidence["cut to"] == pytest.approx(np.median(ratio))
    assert clipping.evidence["clipped"] == 1
    assert clipping.from_start


@pytest.mark.parametrize("unscaled", [False, True])
def test_clipping_what_is_still_scaled_is_told_to_unscale_first(tmp_path, unscaled):
    net, loss = classifier()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)

    def loop():
        for step in range(250):
            optimizer.zero_grad()
            value = loss(step)
            scaler.scale(value).backward()
            yield value
            if unscaled:
                scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()

    found = findings(record(tmp_path, net, optimizer, loop(), scaler=scaler))
    if unscaled:
        assert not found
    else:
        assert next(iter(found)) == "UT403"
        assert "Unscale the gradients" in found["UT403"].advice
        assert "max_norm=1)" in found["UT403"].snippet  # the user's own limit, which was meant for unscaled gradients


def test_long_steps_that_the_loss_survives_stand_in_the_verdict():
    """Whether a training bears them, ten steps on one batch can't tell: the first thing said must not be that all is
    well."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
    x, y = torch.randn(64, 20), torch.randint(0, 4, (64,))
    report = examine(net, lambda: functional.cross_entropy(net(x), y), torch.optim.Adam(net.parameters(), lr=0.5))
    first = report.findings[0]
    assert (first.code, first.name, first.severity) == ("UT401", "long steps", Severity.NOTE)
    assert verdict(report.diagnosis) == ("no fault for sure, but long steps", first.message)
    assert "NO FAULT FOR SURE, BUT LONG STEPS" in str(report)
