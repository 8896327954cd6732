"""Advice on the loop and its data: the lines pasted do what they say."""

import pytest
import torch

from rules import test_ut7_loop
from rules.advising import found_in, run, still
from rules.loops import classifier, findings, fresh, record
from rules.test_advice_of_runs import by_the_lines
from rules.test_ut7_scale import fitted, uneven


@pytest.mark.parametrize(
    ("of_x", "of_y"),
    [
        (lambda x: x + 30, lambda y: y),
        (lambda x: 0.01 * x, lambda y: y),
        (lambda x: uneven(x, 100), lambda y: y),
        (lambda x: 200 * x, lambda y: y),
        (lambda x: x, lambda y: 200 * y),
        (lambda x: x, lambda y: 0.01 * y),
        (lambda x: x + 30, lambda y: 200 * y),
    ],
)
def test_the_lines_for_data_standardise_them(of_x, of_y):
    found = found_in("UT706", *fitted(of_x, of_y))

    def mended(name, given):
        return run(found, inputs=given, targets=given)[name]

    of_inputs = (lambda x: mended("inputs", of_x(x))) if "inputs" in found.where else of_x
    of_targets = (lambda y: mended("targets", of_y(y))) if "targets" in found.where else of_y
    assert not still("UT706", *fitted(of_inputs, of_targets))


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
