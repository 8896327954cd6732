"""UT704: losses that don't fall, and those that do, or needn't."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from rules.loops import classifier, findings, record
from undertow.record import Role, Run, Severity, Site
from undertow.rules import over_time


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
