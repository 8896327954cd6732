"""Advice on whole trainings: the lines, put where they say, make the finding go."""

import ast
from dataclasses import replace

import pytest
import torch
from torch import nn

from rules import test_ut2_rows, test_ut7_loop
from rules.advising import run
from rules.loops import STEPS, classifier, findings, fresh, plainly, record
from rules.trainings import FAULTY, adam, added_up, chain, classified, odd_batch, sgd, train
from rules.trainings import Transformer as Deep
from rules.trainings import _jump as jump
from undertow.record import Severity
from undertow.rules import over_time


def told(run, code):
    return next((each for each in over_time(run) if each.code == code and each.severity is not Severity.NOTE), None)


@pytest.mark.parametrize("name", FAULTY)
def test_every_finding_on_a_training_says_what_to_do(found, name):
    for finding in found(name).values():
        if finding.severity is not Severity.NOTE:
            assert finding.advice, finding
            assert "undertow" not in finding.snippet
            ast.parse(finding.snippet)


def test_clipping_wide_enough_is_silent(found, tmp_path):
    advised = found("clipped hard")["UT403"]
    net = chain(nn.ReLU, 4, gain=2.0)
    torch.manual_seed(0)
    loss, optimizer = classified(), sgd(net)

    def loop():
        for step in range(60):
            optimizer.zero_grad()
            value = loss(net, step)
            value.backward()
            run(advised, model=net)
            yield value
            optimizer.step()

    assert told(record(tmp_path, net, optimizer, loop(), every=1), "UT403") is None


ODD = {
    "dying": ("UT108", sgd, classified, jump(60, 300.0)),
    "odd batch": ("UT405", lambda net: adam(net, 0.02), lambda: odd_batch(60), None),
    "spike": ("UT405", sgd, classified, jump(60, 40.0)),
}
"""Trainings of `FAULTY` in which one step goes wild: what is said of it, and how they are made."""


@pytest.mark.parametrize("name", ODD)
def test_clipping_as_advised_keeps_one_wild_step_from_harm(found, tmp_path, name):
    """The batch, or the learning rate of that step, is as odd as before."""
    code, make, loss, lr = ODD[name]
    advised = found(name)[code]
    setup = [line for line in advised.snippet.splitlines() if "clip_grad" not in line]
    limit = float(advised.snippet.partition("max_norm=")[2].partition(")")[0])
    torch.manual_seed(0)
    net = chain(nn.ReLU, 4, gain=2.0)
    optimizer = make(net)
    run(replace(advised, snippet="\n".join(setup)), optimizer=optimizer)
    assert told(train(tmp_path, net, optimizer, loss(), 120, clip=limit, lr=lr), code) is None


def test_a_warm_up_as_advised_keeps_a_transformer_whole(found, tmp_path):
    advised = found("post-norm")["UT406"]
    torch.manual_seed(0)
    net = Deep(12, False, width=16, words=8, length=8)
    optimizer, loss = adam(net, 4e-3), added_up()
    setup, _, after = advised.snippet.partition("# after every optimizer.step():\n")
    names = run(replace(advised, snippet=setup), optimizer=optimizer)

    def loop():
        for step in range(80):
            optimizer.zero_grad()
            value = loss(net, step)
            value.backward()
            yield value
            optimizer.step()
            exec(after, names)  # noqa: S102  # as above

    assert told(record(tmp_path, net, optimizer, loop(), every=4), "UT406") is None


def by_the_lines(advised, loss, **objects):
    """A loop whose passes and steps are the lines that a finding has to paste."""
    for step in range(STEPS):
        value = loss(step)
        run(advised, loss=value, **objects)
        yield value


def test_gradients_are_zeroed_by_the_lines(tmp_path):
    net, loss = classifier()
    optimizer = sgd(net, 0.05)
    never = plainly(loss, optimizer, lambda: None)
    advised = findings(record(fresh(tmp_path), net, optimizer, never))["UT701"]
    assert "SGD" in advised.advice
    net, loss = classifier()
    optimizer = sgd(net, 0.05)

    mended = by_the_lines(advised, loss, optimizer=optimizer)
    assert "UT701" not in findings(record(fresh(tmp_path), net, optimizer, mended))


def test_steps_are_taken_by_the_lines(tmp_path):
    net, loss = classifier()
    optimizer = sgd(net, 0.05)
    idle = test_ut7_loop.without_steps(loss, optimizer, lambda _: False)
    advised = findings(record(fresh(tmp_path), net, optimizer, idle))["UT702"]

    mended = by_the_lines(advised, loss, optimizer=optimizer)
    assert "UT702" not in findings(record(fresh(tmp_path), net, optimizer, mended))


def test_a_scaler_steps_alone_by_the_lines(tmp_path):
    net, loss = classifier()
    optimizer, scaler = sgd(net, 0.05), torch.amp.GradScaler("cpu", init_scale=64.0)
    both = test_ut7_loop.scaled(loss, optimizer, scaler, test_ut7_loop.both)
    advised = findings(record(fresh(tmp_path), net, optimizer, both, scaler=scaler))["UT702"]
    net, loss = classifier()
    optimizer, scaler = sgd(net, 0.05), torch.amp.GradScaler("cpu", init_scale=64.0)

    mended = by_the_lines(advised, loss, optimizer=optimizer, scaler=scaler)
    assert "UT702" not in findings(record(fresh(tmp_path), net, optimizer, mended, scaler=scaler))


def test_the_lines_for_a_loss_that_does_not_fall_try_one_batch(tmp_path):
    torch.manual_seed(0)
    net, x = chain(nn.ReLU, 2), torch.randn(512, 8)
    y = torch.randint(0, 4, (512,))
    optimizer = adam(net, 1e-3)

    def loop():
        for step in range(300):
            optimizer.zero_grad()
            chosen = torch.randperm(512, generator=torch.Generator().manual_seed(step))[:16]
            value = nn.functional.cross_entropy(net(x[chosen]), y.roll(step)[chosen])  # shuffled apart
            value.backward()
            yield value
            optimizer.step()

    advised = findings(record(tmp_path, net, optimizer, loop()))["UT704"]
    left = run(
        advised, model=net, optimizer=optimizer, loader=[(x[:16], y[:16])], loss_function=nn.functional.cross_entropy
    )
    assert left["loss"] < 0.5  # network and loop are in order


def test_codes_that_start_at_encoder_outputs_are_used(tmp_path):
    make = test_ut2_rows.Quantiser
    faulty = make(60.0)
    advised = told(
        test_ut2_rows.run_of(tmp_path / "a", faulty, lambda m, step: m(test_ut2_rows.quantised(step))), "UT204"
    )
    assert "`" not in advised.advice
    mended = make(60.0)
    h = mended.encoder(test_ut2_rows.quantised(0))
    run(advised, model=mended, h=h)
    after = told(
        test_ut2_rows.run_of(tmp_path / "b", mended, lambda m, step: m(test_ut2_rows.quantised(step))), "UT204"
    )
    assert after is None or after.evidence["used"] > advised.evidence["used"]
