"""What a regression's and a classifier's loss show of their targets, held against torch on the same numbers."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from undertow.measure import Meter
from undertow.tape import Tape

TARGETS = ("target_mean", "target_spread", "target_missed", "output_size")


def columns(net, loss_of, inflow=True):
    """Columns of one backward pass, by name, without what was measured nowhere."""
    with Tape(net, Meter(inflow=inflow)) as tape:
        loss = loss_of()
        tape.attach(loss)
        loss.backward()
    run = tape.run()
    known = {name: run.columns[name][0] for name in (*TARGETS, "surprise", "classes")}
    return {name: float(found[0]) for name, column in known.items() if len(found := column[np.isfinite(column)])}


@pytest.mark.parametrize("loss", [functional.mse_loss, functional.smooth_l1_loss, functional.huber_loss])
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("last", [nn.Identity(), nn.ReLU(), nn.Tanh(), nn.Hardtanh(-0.5, 2.0)])
def test_targets_are_measured_whichever_side_they_stand_on(loss, swapped, last):
    torch.manual_seed(0)
    net, x, y = nn.Sequential(nn.Linear(5, 3), last), torch.randn(20, 5), 2 * torch.randn(20, 3) - 1
    found = columns(net, lambda: loss(*((y, net(x)) if swapped else (net(x), y))))
    limits = {nn.ReLU: (0.0, math.inf), nn.Tanh: (-1.0, 1.0), nn.Hardtanh: (-0.5, 2.0)}.get(type(last))
    wanted = {
        "target_mean": y.mean(),
        "target_spread": y.std(correction=0),
        "output_size": net(x).square().mean().sqrt(),
    }
    if limits is not None:
        wanted["target_missed"] = (y - y.clamp(*limits)).square().mean().sqrt()
    assert found == pytest.approx({name: value.item() for name, value in wanted.items()}, rel=1e-5)


@pytest.mark.parametrize(
    ("net", "shape"), [(nn.Linear(4, 5), ()), (nn.Conv1d(4, 5, 1), (6,)), (nn.Conv2d(4, 5, 1), (2, 3))]
)
def test_a_classifier_is_as_wrong_as_its_loss_is_over_chance(net, shape):
    torch.manual_seed(0)
    x, y = 9 * torch.randn(8, 4, *shape), torch.randint(0, 5, (8, *shape))
    y[0] = -100  # which cross_entropy leaves out
    found = columns(net, lambda: functional.cross_entropy(net(x), y))
    surprise = functional.cross_entropy(net(x), y).item() / math.log(5)
    assert found == pytest.approx({"surprise": surprise, "classes": 5.0}, rel=1e-5)
    assert columns(net, lambda: functional.cross_entropy(net(x), y, reduction="sum")) == pytest.approx(found)


def test_nothing_is_measured_unless_asked_for_or_of_two_that_both_learn():
    net, x = nn.Linear(4, 2), torch.randn(6, 4)
    assert not columns(net, lambda: functional.mse_loss(net(x), torch.zeros(6, 2)), inflow=False)
    assert not columns(net, lambda: functional.mse_loss(net(x), net(-x)))
    assert not columns(net, lambda: functional.cross_entropy(net(x), torch.full((6, 2), 0.5)))


WEIGHTS = torch.tensor([1.0, 2.0, 0.5])


@pytest.mark.parametrize("kind", ["classes", "weighted", "truths", "rare truths", "squares"])
def test_the_constant_answers_loss_is_the_least_that_one_answer_gets(kind):
    """Held against descent over the answer itself; a batch's entropy has Miller and Madow's correction."""
    torch.manual_seed(0)
    y = torch.tensor([0] * 20 + [1] * 12 + [2] * 8)
    truths = functional.one_hot(y, 3).float()
    losses = {
        "classes": lambda z: functional.cross_entropy(z, y),
        "weighted": lambda z: functional.cross_entropy(z, y, weight=WEIGHTS),
        "truths": lambda z: functional.binary_cross_entropy_with_logits(z, truths),
        "rare truths": lambda z: functional.binary_cross_entropy_with_logits(z, truths, pos_weight=5 * WEIGHTS),
        "squares": lambda z: functional.mse_loss(z, 3 * truths - 1),
    }
    answer = torch.zeros(1, 3, requires_grad=True)
    descent = torch.optim.LBFGS([answer], line_search_fn="strong_wolfe", max_iter=100)
    descent.step(lambda: (descent.zero_grad(), value := losses[kind](answer.expand(40, 3)), value.backward())[1])
    least = losses[kind](answer.expand(40, 3)).item()
    net, x = nn.Linear(4, 3), torch.randn(40, 4)
    with Tape(net, Meter(inflow=True)) as tape:
        loss = losses[kind](net(x))
        tape.attach(loss)
        loss.backward()
    found = float(tape.run().columns["constant_loss"][0, 0])
    if kind in ("classes", "weighted"):
        found -= 2 / (2 * 40)
    if kind == "squares":
        found *= 39 / 40
    assert found == pytest.approx(least, rel=1e-4)


@pytest.mark.parametrize(("take", "axis"), [
    (lambda z: z.log_softmax(0), 0), (lambda z: z.log_softmax(-1), 1), (lambda z: z.softmax(-2).log(), 0),
])  # fmt: skip
def test_the_axis_of_a_softmax_counts_from_the_front(take, axis):
    net, x = nn.Linear(4, 3), torch.randn(5, 4)
    with Tape(net, Meter()) as tape:
        loss = -take(net(x)).mean()
        tape.attach(loss)
        loss.backward()
    column = tape.run().columns["softmax_axis"][0]
    assert column[np.isfinite(column)].tolist() == [axis]
