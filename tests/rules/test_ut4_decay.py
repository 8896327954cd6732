"""UT409: weight decay that makes most of the step, and decay as it is usual."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from rules.loops import findings, plainly, record
from undertow.examination import examine
from undertow.record import Severity
from undertow.testing import check_rule


def task(seed=0, norm=False):
    """A depth network in small: the mean of the neighbours of a pixel, by a stack of convolutions."""
    torch.manual_seed(seed)
    layers, width = [], 1
    for _ in range(4):
        layers += [nn.Conv2d(width, 12, 3, padding=1), *([nn.BatchNorm2d(12)] if norm else []), nn.ReLU()]
        width = 12
    net = nn.Sequential(*layers, nn.Conv2d(12, 1, 3, padding=1), nn.Sigmoid())
    images = torch.rand(256, 1, 8, 8)
    depth = 0.2 + 0.3 * functional.avg_pool2d(images, 3, 1, 1)

    def loss(step):
        chosen = torch.randint(0, 256, (32,), generator=torch.Generator().manual_seed(step))
        return (net(images[chosen]) - depth[chosen]).abs().mean()

    return net, loss


def adam(decay):
    return lambda net: torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=decay)


def adamw(decay, lr=1e-3):
    return lambda net: torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=decay)


def sgd(decay):
    return lambda net: torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=decay)


TOO_MUCH = {"Adam 0.05": adam(0.05), "Adam 0.5": adam(0.5), "SGD 0.5": sgd(0.5), "AdamW 100": adamw(100.0)}
USUAL = {
    "none": adam(0.0),
    "Adam 1e-5": adam(1e-5),
    "AdamW 0.01": adamw(0.01),
    "AdamW 0.1": adamw(0.1),
    "SGD 5e-4": sgd(5e-4),
}


def case(make, seed=0):
    """What `undertow.examine` takes."""
    net, loss = task(seed)
    return net, lambda: loss(0), make(net)


CASES = {"UT409": (lambda: case(adam(0.05)), lambda: case(adamw(0.1)))}


@pytest.mark.parametrize("code", CASES)
def test_keeps_the_contract_of_rules(code):
    check_rule(code, *CASES[code])


def told(make, seed):
    report = examine(*case(make, seed))
    return {found.code: found for found in report.findings if found.severity is not Severity.NOTE}.get("UT409")


@pytest.mark.parametrize("kind", TOO_MUCH)
@pytest.mark.parametrize("seed", [0, 1])
def test_examine_tells_of_too_much(kind, seed):
    found = told(TOO_MUCH[kind], seed)
    assert found.evidence["pull"] >= 1
    assert found.evidence["shrinks"] > 0.001


@pytest.mark.parametrize("kind", USUAL)
def test_examine_is_silent_of_usual_decay(kind):
    assert told(USUAL[kind], 0) is None


def watched(folder, make, norm=False, steps=300):
    net, loss = task(norm=norm)
    optimizer = make(net)
    return findings(record(folder, net, optimizer, plainly(loss, optimizer, optimizer.zero_grad, steps)))


@pytest.mark.parametrize("kind", ["Adam 0.05", "SGD 0.5"])
def test_a_run_in_which_decay_takes_the_weights_is_told(tmp_path, kind):
    found = watched(tmp_path, TOO_MUCH[kind])
    assert next(iter(found)) == "UT409"
    assert found["UT409"].evidence["left"] < 0.5


@pytest.mark.parametrize(("kind", "norm"), [("AdamW 0.1", False), ("SGD 5e-4", True), ("Adam 1e-5", False)])
def test_usual_runs_are_not(tmp_path, kind, norm):
    assert "UT409" not in watched(tmp_path, USUAL[kind], norm)
