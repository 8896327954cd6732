"""Facts of loops, optimizers and losses by which rules of several families tell a set-up, each at its smallest."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from rules.fitting import adam, alarms, batch, mlp
from undertow.analysis.timeline import RunHistory
from undertow.diagnosis import Diagnosis
from undertow.examination import examine
from undertow.record import Edge, Role, Run, Severity, Site
from undertow.rules.ut1_collapse import has_learned
from undertow.rules.ut2_likeness import alike_in_time
from undertow.rules.ut2_units import dead
from undertow.rules.ut4_momentum import long_memory
from undertow.rules.ut4_optimizer import clipping
from undertow.rules.ut4_spikes import loss_spikes
from undertow.rules.ut4_step_size import too_small_over_time
from undertow.rules.ut5_examples import normalisation_of_one
from undertow.rules.ut5_terms import drowned
from undertow.rules.ut7_few_steps import rarely, taken_back

STEPS = 10.0 * np.arange(20)


def run_of(update, gradient=1.0, weight=1.0, loss=2.0, header=(), **scalars):
    """A run of one matrix with these columns at every tenth step."""
    columns = {
        "grad_norm": np.broadcast_to(gradient, (20, 1)), "update_norm": np.broadcast_to(update, 20).reshape(20, 1),
        "weight_norm": np.broadcast_to(weight, 20).reshape(20, 1),
    }  # fmt: skip
    columns["update_ratio"] = columns["update_norm"] / columns["weight_norm"]
    losses = np.broadcast_to(loss, 20)
    norms = {"grad_norm": np.ravel(columns["grad_norm"]), **scalars}
    return Run(
        {"optimizer": "SGD", "lr": 0.1, **dict(header)}, (), (), scalars={"step": STEPS, "loss": losses, **norms},
        parameters=("w",), parameter_columns=columns, parameter_steps=STEPS,
    )  # fmt: skip


@pytest.mark.parametrize(("update", "loss", "told"), [
    (0.1 * 0.5 ** np.arange(20.0), 2.0, True),
    (0.1 * 0.5 ** np.arange(20.0), np.geomspace(2.0, 0.1, 20), False),
    (0.1, 2.0, False),
])  # fmt: skip
def test_steps_that_die_away_before_anything_is_learned_are_told(update, loss, told):
    found = list(too_small_over_time(RunHistory(run_of(update, loss=loss))))
    assert [each.code for each in found] == ["UT408"] * told


@pytest.mark.parametrize(("weight", "loss", "told"), [
    (1.0, 2.0, True),
    (1.0, np.geomspace(2.0, 0.1, 20), False),  # somebody holds the norms, and it learns
    (1 + 0.01 * np.arange(20.0), 2.0, False),
])  # fmt: skip
def test_weights_that_are_always_what_they_were_are_set_back(weight, loss, told):
    found = list(taken_back(RunHistory(run_of(0.01, weight=weight, loss=loss))))
    assert [(each.code, each.severity) for each in found] == [("UT702", Severity.ERROR)] * told


@pytest.mark.parametrize(("usual", "steps", "told"), [(100, 4, True), (100, 400, False), (4, 4, False)])
def test_a_handful_of_steps_beside_hundreds_of_passes_is_told(usual, steps, told):
    run = Run({"idle passes": {"passes": 0, "usual": usual, "step": steps, "steps": steps}}, ())
    assert [each.code for each in rarely(RunHistory(run))] == ["UT702"] * told


@pytest.mark.parametrize(("end", "severity"), [(0.3, Severity.NOTE), (5.0, Severity.WARNING)])
def test_a_spike_that_comes_back_as_the_run_ends_is_a_note(end, severity):
    noise = 0.002 * np.random.default_rng(0).standard_normal(200)
    losses = np.concatenate([np.geomspace(2.0, 0.05, 170), np.geomspace(6.0, end, 30)]) + noise
    run = Run({}, (), scalars={"step": np.arange(200.0), "loss": losses})
    assert [each.severity for each in loss_spikes(RunHistory(run))] == [severity]


@pytest.mark.parametrize(("optimizer", "told"), [
    (lambda p: torch.optim.SGD(p, 0.01, momentum=0.999), True),
    (lambda p: torch.optim.Adam(p, betas=(0.99, 0.9)), True),
    (lambda p: torch.optim.RMSprop(p, momentum=0.9), False),
    (lambda p: torch.optim.AdamW(p, betas=(0.99, 0.999)), False),
])  # fmt: skip
def test_momentum_that_remembers_too_long_is_told(optimizer, told):
    net, (x, y) = mlp(), batch()
    report = examine(net, lambda: functional.cross_entropy(net(x), y), optimizer(net.parameters()))
    assert [each.name for each in long_memory(report.diagnosis)] == ["momentum near 1"] * told


def weighed(loss):
    net, (x, y) = mlp(), batch(32)
    return alarms(lambda: (net, lambda: loss(net(x), y), adam(net)))


@pytest.mark.parametrize("heavy", [5000.0, 3.0])
def test_a_class_that_drowns_the_others_by_its_weight_is_told(heavy):
    weight = torch.tensor([1.0, heavy, 1.0, 1.0])
    several = weighed(lambda z, y: functional.cross_entropy(z, y, weight=weight))
    two = weighed(lambda z, y: functional.binary_cross_entropy_with_logits(
        z[:, 0], (y == 1).float(), pos_weight=torch.tensor(heavy)
    ))  # fmt: skip
    assert ("UT507" in several, "UT507" in two) == (heavy > 100, heavy > 100)


def test_a_class_that_is_nearly_all_there_is_needs_no_weight_to_count():
    sites = (Site(0, "", "nll_loss", Role.LOSS, ()),)
    told = [
        [each.code for each in drowned(Diagnosis(Run({}, sites, (), {"outweighs": np.full((1, 1), odds)}), 0))]
        for odds in (0.0, 500.0)
    ]
    assert told == [[], ["UT507"]]


@pytest.mark.parametrize(("squash", "told"), [
    (functional.logsigmoid, True), (lambda z: z.log_softmax(1), False), (lambda z: z, False),
])  # fmt: skip
def test_logarithms_of_probabilities_are_no_logits(squash, told):
    found = weighed(lambda z, y: functional.binary_cross_entropy_with_logits(
        squash(z), functional.one_hot(y, 4).float()
    ))  # fmt: skip
    assert ("UT503" in found) is told


@pytest.mark.parametrize(("op", "kind", "shape", "passed", "told"), [
    ("native_batch_norm", "BatchNorm2d", (1, 4, 8, 8), 1.0, True),
    ("native_batch_norm", "InstanceNorm2d", (1, 4, 8, 8), 1.0, False),
    ("native_batch_norm", "BatchNorm2d", (2, 4, 8, 8), 1.0, False),
    ("native_group_norm", "GroupNorm", (8, 4, 1, 1), 1e-6, True),
    ("native_group_norm", "GroupNorm", (8, 4, 1, 1), 0.3, False),
])  # fmt: skip
def test_a_watched_run_tells_normalisations_of_one(op, kind, shape, passed, told):
    site = Site(0, "n", op, Role.NORM, shape, module_type=kind)
    columns = {"grad_output": np.ones((1, 1)), "grad_input": np.full((1, 1), passed)}
    found = normalisation_of_one(Diagnosis(Run({}, (site,), (), columns), 0))
    assert [each.code for each in found] == ["UT505"] * told


@pytest.mark.parametrize(("second", "told"), [(True, True), (False, False)])
def test_two_outputs_that_agree_on_a_constant_are_told(second, told):
    layer = {"role": Role.WEIGHT, "shape": (16, 4), "n_out": 4, "weight_shape": (4, 8)}
    sites = (Site(0, "", "mse_loss", Role.LOSS, ()), *(Site(n, "f", "addmm", **layer) for n in (1, 2)))
    distance = np.geomspace(0.3, 0.003, 10)
    cosine = np.stack([np.full(10, np.nan), 1 - distance, 1 - distance], 1)
    edges = (Edge(0, 1), Edge(0, 2)) if second else (Edge(0, 1),)
    columns = {"input_cosine": cosine, "grad_output": np.ones((10, 3))}
    run = Run({}, sites, edges, columns, steps={"step": STEPS[:10]})
    assert [each.code for each in alike_in_time(RunHistory(run))] == ["UT205"] * told


def test_a_variance_near_its_limit_is_no_dead_unit():
    net, x = nn.Linear(3, 4), torch.randn(40, 3)
    with torch.no_grad():
        net.weight.mul_(0.01)
        net.bias.fill_(-20.0)
    report = examine(net, lambda: functional.softplus(net(x)).sum())
    assert [each.severity for each in dead(report.diagnosis)] == [Severity.NOTE]


@pytest.mark.parametrize(("after", "told"), [
    (0.01 * np.ones(20), True),  # cut by value: what is left doesn't follow what came
    (0.001 * (1 + 0.2 * np.cos(np.arange(20.0))), False),  # divided, as by the number of passes
    (0.5 * np.ones(20), False),
])  # fmt: skip
def test_clipping_by_value_is_seen_where_the_norm_before_is_known(after, told):
    steps, whole = np.arange(200.0), np.repeat(1 + 0.2 * np.cos(np.arange(20.0)), 10)
    after = np.repeat(after, 10)
    norms = {"grad_norm": after, "grad_norm_unclipped": np.where(steps % 20, after, whole)}  # what was before is rare
    run = replace(run_of(0.01), scalars={"step": steps, "loss": np.full(200, 2.0), **norms})
    assert [each.code for each in clipping(RunHistory(run))] == ["UT403"] * told


@pytest.mark.parametrize(("loss", "told"), [
    (2.0 * (1 - 0.1 * np.arange(20) / 19), True),  # as far as its steps can, evenly
    (2.0 * (1 - 0.1 * (1 - np.exp(-np.arange(20.0)))), False),  # come to rest
    (2.0 * (1 - 0.01 * np.arange(20) / 19), False),  # by a twentieth of what they can: it is something else
    (2.0 * (1 - 0.3 * np.arange(20) / 19), False),
])  # fmt: skip
def test_a_loss_that_falls_evenly_and_hardly_at_all_has_steps_too_short(loss, told):
    run = run_of(0.002, loss=loss)  # 20 rows stand for 210 steps, which can take about 0.2 of the loss off
    later = {**run.scalars, "step": 1.1 * STEPS}
    run = replace(run, scalars=later, parameter_steps=1.1 * STEPS)
    assert [each.code for each in too_small_over_time(RunHistory(run))] == ["UT408"] * told


@pytest.mark.parametrize(("gradient", "told"), [(np.ones(20), True), (np.geomspace(1, 1e-4, 20), False)])
def test_steps_are_not_too_small_where_the_gradient_is_gone(gradient, told):
    run = run_of(1e-4, gradient=gradient[:, None])
    assert [each.code for each in too_small_over_time(RunHistory(run))] == ["UT408"] * told


@pytest.mark.parametrize(("end", "learned"), [(0.001, True), (1.5, False)])
def test_what_has_learned_has_not_collapsed(end, learned):
    loss = end + (2.3 - end) * np.exp(-np.arange(200.0) / 5)
    history = RunHistory(Run({}, (), scalars={"step": np.arange(200.0), "loss": loss}))
    assert has_learned(history, 150, end) is learned
