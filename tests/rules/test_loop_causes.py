"""Faults of loops and losses by their mechanism: the cause is told first, and twins that train are left in peace."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import undertow
from rules.fitting import alarms, batch
from rules.loops import findings, plainly, record
from undertow.analysis.timeline import RunHistory
from undertow.diagnosis import Diagnosis
from undertow.record import Edge, Finding, Role, Run, Severity, Site
from undertow.rules import over_time
from undertow.rules.firing_intervals import findings_of_steps
from undertow.rules.ut4_optimizer import long_steps_before, update_ratio


def first_of(run):
    return next(each.code for each in over_time(run) if each.severity is not Severity.NOTE)


def watched(folder, loss_of, steps=40, optimizer=torch.optim.Adam, **options):
    torch.manual_seed(0)
    net, (x, y) = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4)), batch(32)
    made = optimizer(net.parameters(), **{"lr": 1e-3, **options})
    return record(folder, net, made, plainly(lambda _: loss_of(net(x), y, net), made, made.zero_grad, steps))


WATCHED = {
    "softmax along the batch": ("UT506", lambda z, y, _: functional.nll_loss(z.log_softmax(0), y)),
    "softmax along positions": (
        "UT506", lambda z, y, _: functional.nll_loss(z.reshape(8, 4, 4).log_softmax(1).reshape(-1, 4), y)
    ),
    "softmax of outputs along the batch": ("UT506", lambda z, y, _: -z.softmax(0).log().gather(1, y[:, None]).mean()),
    "kl_div of probabilities": (
        "UT503", lambda z, y, _: functional.kl_div(z.softmax(1), soft(y), reduction="batchmean")
    ),
    "kl_div of logits": ("UT503", lambda z, y, _: functional.kl_div(z, soft(y), reduction="batchmean")),
    "one term beside another": (
        "UT507", lambda z, y, _: functional.cross_entropy(z, y) + 1e4 * (z[:, :1] - 1).square().mean()
    ),
    "a penalty on weights": (
        "UT507", lambda z, y, net: functional.cross_entropy(z, y) + 30 * sum(p.abs().sum() for p in net.parameters())
    ),
}  # fmt: skip


def soft(y):
    return 0.9 * functional.one_hot(y, 4) + 0.025


@pytest.mark.parametrize("kind", WATCHED)
def test_a_watched_run_tells_what_the_loss_is_made_of(tmp_path, kind):
    code, loss_of = WATCHED[kind]
    assert first_of(watched(tmp_path, loss_of)) == code


HEALTHY = {
    "nll_loss": lambda z, y, _: functional.nll_loss(z.log_softmax(1), y),
    "nll_loss of rows": lambda z, y, _: functional.nll_loss(z.reshape(8, 4, 4).log_softmax(2).reshape(-1, 4), y),
    "kl_div": lambda z, y, _: functional.kl_div(z.log_softmax(1), soft(y), reduction="batchmean"),
    "two terms": lambda z, y, _: functional.cross_entropy(z, y) + 0.1 * (z[:, :1] - 1).square().mean(),
    "a small term": lambda z, y, _: functional.cross_entropy(z, y) + 1e-5 * z.square().mean(),
    "weight decay": lambda z, y, net: functional.cross_entropy(z, y)
    + 1e-4 * sum(p.square().sum() for p in net.parameters()),
    "a gradient's penalty": lambda z, y, net: functional.cross_entropy(z, y)
    + torch.autograd.grad(z.square().mean(), net[0].weight, create_graph=True)[0].square().sum(),
    "similarities both ways": lambda z, _y, _net: (lambda s, t: functional.cross_entropy(s, t)
    + functional.cross_entropy(s.T, t))(z @ z.detach().T, torch.arange(len(z))),
}  # fmt: skip


@pytest.mark.parametrize("kind", HEALTHY)
def test_a_watched_run_leaves_losses_like_them_in_peace(tmp_path, kind):
    assert not {"UT503", "UT506", "UT507"} & findings(watched(tmp_path, HEALTHY[kind])).keys()


def test_steps_that_threw_the_weights_out_come_before_what_died_of_them(tmp_path):
    run = watched(
        tmp_path, lambda z, y, _: 40 * functional.cross_entropy(z, y), 160, torch.optim.SGD, lr=0.05, momentum=0.95
    )
    found = [each for each in over_time(run) if each.severity is not Severity.NOTE]
    assert found[0].code in ("UT401", "UT706")
    assert "UT401" in {each.code for each in found}


@pytest.mark.parametrize(("grown", "fires"), [(30.0, True), (1.5, False)])
def test_weights_are_blown_up_where_they_have_grown_many_times_by_a_fault(grown, fires):
    sites = (Site(0, "a", "addmm", Role.WEIGHT, (8, 4), n_out=4, parameters=("a.weight",)),)
    size, steps = np.geomspace(1.0, grown, 20)[:, None], 10 * np.arange(20.0)
    run = Run(
        {"optimizer": "SGD", "lr": 0.1}, sites, (),
        {"grad_output": np.ones((20, 1)), "update_ratio": np.full((20, 1), 0.05)},
        steps={"step": steps}, parameters=("a.weight",), parameter_columns={"weight_norm": size}, parameter_steps=steps,
    )  # fmt: skip
    died = Finding("UT202", "dead units", Severity.ERROR, (), "", "", began=180)
    told = list(long_steps_before(RunHistory(run, [died])))
    assert bool(told) is fires
    assert all("times as large" in each.message for each in told)


def test_advice_on_long_steps_names_the_rate_of_the_step_where_they_are_long():
    site = Site(0, "a", "addmm", Role.WEIGHT, (8, 4), n_out=4, parameters=("a.weight",))
    columns = {"update_ratio": np.array([[0.01], [0.8]]), "grad_output": np.ones((2, 1))}
    steps = {"step": np.array([0.0, 10.0]), "lr": np.array([1e-4, 0.5])}
    run = Run({"optimizer": "Adam", "lr": 1e-4}, (site,), (), columns, steps=steps)
    (found,) = update_ratio(Diagnosis(run, 1))
    assert "(0.5 to 0.005)" in found.advice


@pytest.mark.parametrize(("end", "severity"), [(0.1, Severity.NOTE), (1.9, Severity.ERROR)])
def test_layers_that_hardly_learn_are_a_note_where_the_loss_fell_all_the_same(end, severity):
    layers = [Site(n, f"layer{n}", "addmm", Role.WEIGHT, (8, 4), n_out=4, weight_shape=(4, 4),
             parameters=(f"layer{n}.weight",)) for n in range(6)]  # fmt: skip
    share = np.tile([0.4, 0.3, 0.3, 1e-9, 1e-9, 1e-9], (30, 1))
    columns = {"progress": share, "update_ratio": np.full((30, 6), 1e-3), "grad_output": np.ones((30, 6))}
    columns |= {"grad_input": np.ones((30, 6)), "weight_norm": np.ones((30, 6))}
    edges = tuple(Edge(n, n + 1) for n in range(5))
    steps, loss = 10 * np.arange(30.0), np.linspace(2.0, end, 30)
    contributions = {"contribution": np.ones((30, 5)), "share": np.ones((30, 5))}
    run = Run(
        {"optimizer": "Adam"}, tuple(layers), edges, columns, contributions, {"step": steps, "loss": loss},
        scalars={"step": steps, "loss": loss},
    )  # fmt: skip
    (found,) = (each for each in findings_of_steps(RunHistory(run)) if each.code == "UT104")
    assert found.severity is severity


def embedded(tokens, labels):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(20, 4), nn.Flatten(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    return lambda: (net, lambda: functional.cross_entropy(net(tokens), labels), torch.optim.Adam(net.parameters()))


@pytest.mark.parametrize(("same", "differ"), [(True, True), (True, False), (False, True)])
def test_examples_that_are_the_same_are_told_where_their_targets_differ(same, differ):
    torch.manual_seed(1)
    tokens = torch.zeros(32, 4, dtype=torch.long) if same else torch.randint(20, (32, 4))
    found = alarms(embedded(tokens, torch.arange(32) % 4 if differ else torch.zeros(32, dtype=torch.long)))
    assert ("UT204" in found and "UT205" in found) is (same and differ)


def test_decay_that_overwhelms_the_loss_is_told_before_half_of_the_weights_is_gone(tmp_path):
    run = watched(
        tmp_path, lambda z, y, _: functional.cross_entropy(z, y), 80, torch.optim.Adam, lr=5e-3, weight_decay=3.0
    )
    assert first_of(run) == "UT409"
    mild = replace(run, header={**run.header, "decay": {**run.header["decay"], "weight_decay": 1e-4}})
    assert "UT409" not in findings(mild)


def test_a_table_that_is_indexed_by_hand_is_watched_and_its_optimizer_judged(tmp_path):
    table, head = nn.Parameter(torch.randn(9, 4)), nn.Linear(8, 3)

    class ByHand(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = table, head

        def forward(self, x):
            return self.head(self.table[x].flatten(1))

    net, x = ByHand(), torch.randint(9, (12, 2))
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), 0.1)  # another model's
    loss = lambda _: functional.cross_entropy(net(x), torch.arange(12) % 3)  # noqa: E731
    run = record(tmp_path, net, optimizer, plainly(loss, optimizer, net.zero_grad, 40))
    assert "UT407" in findings(run)
    assert undertow.explain(run).findings[0].code == "UT407"
