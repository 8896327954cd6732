"""Lines that findings have to paste in place of a line of the user's: the one makes the fault, the other mends it."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from rules import test_ut7_loop
from rules.loops import classifier, findings, fresh, record
from rules.reported import REPORTED, labelled, mlp
from rules.test_advice import found_in, run
from rules.test_advice_of_runs import by_the_lines
from undertow.rules.nonfinite_advice import lines_for


def leaf(*values):
    return torch.tensor(values, requires_grad=True)


ALIKE = torch.ones(2, 3)
AT_THE_EDGE = {
    "sqrt": {"x": leaf(0.0)},
    "rsqrt": {"x": leaf(0.0)},
    "linalg_vector_norm": {"x": torch.zeros(2, 3, requires_grad=True)},
    "std": {"x": ALIKE.clone().requires_grad_()},
    "cdist": {"a": ALIKE.clone().requires_grad_(), "b": ALIKE},
    "div": {"x": leaf(1.0), "y": leaf(0.0)},
    "reciprocal": {"x": leaf(0.0)},
    "log": {"x": leaf(0.0)},
    "exp": {"x": leaf(1000.0, 1000.0)},
    "pow": {"x": leaf(0.0), "p": 0.5},
    "acos": {"x": leaf(1.0)},
    "asin": {"x": leaf(-1.0)},
    "softmax": {"scores": torch.full((1, 3), -torch.inf, requires_grad=True)},
    "mm": {"x": (300 * torch.ones(2, 4)).half().requires_grad_(), "w": (300 * torch.ones(4, 2)).half()},
}
"""For every operation that makes inf or nan what it makes them of, in its value or its derivative."""


FINITE_AT_FIRST = ("linalg_vector_norm", "std", "cdist")
"""Operations whose first derivative torch takes for 0 there; in a second one, as of a gradient penalty, it is nan."""


def finite(line, names):
    """Whether a line's result and the gradient through it are finite."""
    left = {name: each.detach().clone().requires_grad_(each.requires_grad) for name, each in names.items()
            if isinstance(each, torch.Tensor)}  # fmt: skip
    given = {**names, **left, "torch": torch}
    exec(line, given)  # noqa: S102  # it is what the test is about
    out = given[line.partition(" = ")[0]]
    out.float().sum().backward()
    # -inf is a constant of the mask, whose own gradient nobody takes.
    grads = [each.grad for name, each in left.items() if each.grad is not None and name != "scores"]
    return all(bool(torch.isfinite(each).all()) for each in (out, *grads))


@pytest.mark.parametrize("op", AT_THE_EDGE)
def test_lines_against_inf_and_nan_keep_numbers_finite(op):
    (before,), (after,) = lines_for(op)
    assert finite(before, AT_THE_EDGE[op]) is (op in FINITE_AT_FIRST)
    assert finite(after, AT_THE_EDGE[op])


def test_the_line_for_targets_that_are_too_long_keeps_the_loss_finite():
    (before,), (after,) = lines_for("_ctc_loss")
    given = {
        "log_probs": torch.zeros(2, 1, 5, requires_grad=True).log_softmax(2), "targets": torch.tensor([[1, 1, 2]]),
        "input_lengths": torch.tensor([2]), "target_lengths": torch.tensor([3]), "torch": torch,
    }  # fmt: skip
    for line, holds in ((before, False), (after, True)):
        exec(line, given)  # noqa: S102
        assert bool(torch.isfinite(given["loss"])) is holds


def advised(name):
    torch.manual_seed(0)
    code, make = REPORTED[name]
    model, loss, optimizer = make(True)
    return code, model, loss, optimizer, found_in(code, model, lambda: loss(0), optimizer)


x, y = labelled()
IN_THE_LOSS = {
    "softmax over the batch": lambda f, z: functional.nll_loss(run(f, x=z)["x"], y),
    "loss of the wrong sign": lambda f, z: run(f, loss=functional.cross_entropy(z, y))["loss"],
    "distillation of probabilities": lambda f, z: run(f, output=z, targets=torch.softmax(x[:, :4], 1))["loss"],
}


@pytest.mark.parametrize("name", IN_THE_LOSS)
def test_the_line_for_a_loss_mends_it(name):
    code, model, _, optimizer, found = advised(name)
    assert found_in(code, model, lambda: IN_THE_LOSS[name](found, model(x)), optimizer) is None


def test_the_line_for_axes_of_the_output_exchanges_them():
    _, _, _, _, found = advised("words and positions exchanged by reshape")
    z = torch.randn(32, 4, 12)
    assert torch.equal(run(found, x=z)["x"], z.transpose(1, 2))


def test_the_line_for_ctc_makes_log_probabilities():
    _, _, _, _, found = advised("ctc of probabilities")
    z = torch.randn(6, 16, 6)
    assert torch.allclose(run(found, output=z)["p"], z.log_softmax(-1))


def test_the_line_for_a_mean_of_one_number_takes_it_over_the_batch():
    code, model, _, optimizer, found = advised("output minus its own mean")
    assert found_in(code, model, lambda: (run(found, x=model(x))["x"] - 1).square().mean(), optimizer) is None


def test_the_line_for_dropout_lets_some_through():
    code, model, loss, optimizer, found = advised("dropout of everything")
    run(found, model=model)
    assert found_in(code, model, lambda: loss(0), optimizer) is None


def test_gradients_are_not_cleared_before_the_step_by_the_lines(tmp_path):
    net, loss = classifier()
    optimizer = torch.optim.SGD(net.parameters(), 0.05)

    def cleared():
        for step in range(60):
            value = loss(step)
            value.backward()
            optimizer.zero_grad(set_to_none=False)
            yield value
            optimizer.step()

    found = findings(record(fresh(tmp_path), net, optimizer, cleared()))["UT702"]
    net, loss = classifier()
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    assert "UT702" not in findings(
        record(fresh(tmp_path), net, optimizer, by_the_lines(found, loss, optimizer=optimizer))
    )


def test_the_lines_for_skipped_steps_stop_at_the_first_loss_that_is_lost(tmp_path):
    net, loss = classifier()
    optimizer, scaler = torch.optim.SGD(net.parameters(), 0.05), torch.amp.GradScaler("cpu", init_scale=64.0)
    step_by, _ = test_ut7_loop.STEP_BY["the scaler's"]
    lost = test_ut7_loop.scaled(lambda step: loss(step) * torch.nan, optimizer, scaler, step_by)
    found = findings(record(fresh(tmp_path), net, optimizer, lost, scaler=scaler))["UT702"]
    run(found, loss=loss(0))
    with pytest.raises(AssertionError):
        run(found, loss=loss(0) * torch.nan)


def test_a_column_of_one_feature_is_normalised_over_more():
    net = nn.Sequential(mlp(16, 8, 1), nn.LayerNorm(1), nn.Linear(1, 4))
    found = found_in("UT505", net, lambda: functional.cross_entropy(net(x), y), None)
    run(found, model=net, nn=nn)
    assert found_in("UT505", net, lambda: functional.cross_entropy(net(x), y), None) is None
