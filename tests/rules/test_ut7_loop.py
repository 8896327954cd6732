"""UT701, UT702 and UT703: loops with one mistake each, in several guises, and healthy loops that look like them."""

import pytest
import torch
from torch import nn

from rules.loops import STEPS, classifier, findings, fresh, plainly, record, regression
from undertow.examination import examine
from undertow.record import Finding, Run, Severity
from undertow.rules import over_time
from undertow.testing import check_rule


def sgd(net, lr=0.05, **settings):
    return torch.optim.SGD(net.parameters(), lr=lr, **settings)


def in_place(net):
    for parameter in net.parameters():
        if parameter.grad is not None:
            parameter.grad.data.zero_()


ZEROED = {
    "to None": lambda _, optimizer: optimizer.zero_grad,
    "in place": lambda _, optimizer: lambda: optimizer.zero_grad(set_to_none=False),
    "by the model": lambda net, _: net.zero_grad,
    "by hand": lambda net, _: lambda: in_place(net),
}
NOT_ZEROED = {
    "never": lambda *_: lambda: None,
    "another optimizer's": lambda *_: sgd(nn.Linear(2, 2)).zero_grad,
    "another model's": lambda *_: nn.Linear(2, 2).zero_grad,
}
OPTIMIZERS = {"SGD": sgd, "Adam": lambda net: torch.optim.Adam(net.parameters(), lr=3e-3)}


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("how", NOT_ZEROED)
def test_gradients_that_nobody_zeroes_are_told(tmp_path, how, kind):
    net, loss = classifier()
    optimizer = OPTIMIZERS[kind](net)
    run = record(tmp_path, net, optimizer, plainly(loss, optimizer, NOT_ZEROED[how](net, optimizer)))
    found = findings(run)
    assert next(iter(found)) == "UT701"
    assert found["UT701"].evidence["left over"] > 0.1
    assert found["UT701"].began == 1


@pytest.mark.parametrize("how", ZEROED)
def test_gradients_that_are_zeroed_in_whatever_way_are_not(tmp_path, how):
    net, loss = classifier()
    optimizer = sgd(net)
    run = record(tmp_path, net, optimizer, plainly(loss, optimizer, ZEROED[how](net, optimizer)))
    assert not findings(run)
    assert run.scalars["left_over"][run.scalars["left_over"] == run.scalars["left_over"]].max() == 0


def test_accumulation_over_several_passes_is_no_gradient_left_over(tmp_path):
    net, loss = classifier()
    optimizer = sgd(net)
    loop = plainly(loss, optimizer, optimizer.zero_grad, steps=4 * STEPS, every=4)
    assert not findings(record(tmp_path, net, optimizer, loop))


def test_gradients_zeroed_right_after_the_step_are_zeroed(tmp_path):
    net, loss = classifier()
    optimizer = sgd(net)

    def loop():
        for step in range(STEPS):
            value = loss(step)
            value.backward()
            yield value
            optimizer.step()
            optimizer.zero_grad()

    assert not findings(record(tmp_path, net, optimizer, loop()))


def gan(zero_generator=True):
    torch.manual_seed(0)
    model = nn.ModuleDict({
        "G": nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2)),
        "D": nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1)),
    })  # fmt: skip
    of = {name: torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.5, 0.9)) for name, net in model.items()}

    def loop():
        for _ in range(STEPS):
            real, noise = torch.randn(32, 2) + 2, torch.randn(32, 4)
            of["D"].zero_grad()
            fake = model["G"](noise)  # reaches the generator, which zeroes it before its own pass
            value = (nn.functional.softplus(-model["D"](real)) + nn.functional.softplus(model["D"](fake))).mean()
            value.backward()
            yield value
            of["D"].step()
            if zero_generator:
                of["G"].zero_grad()
            nn.functional.softplus(-model["D"](model["G"](noise))).mean().backward()
            of["G"].step()

    return model, [of["D"], of["G"]], loop()


def test_each_half_of_a_gan_zeroes_what_the_other_left(tmp_path):
    model, optimizers, loop = gan()
    assert "UT701" not in findings(record(tmp_path, model, optimizers, loop))


def test_a_half_of_a_gan_that_is_never_zeroed_is_told(tmp_path):
    model, optimizers, loop = gan(zero_generator=False)
    assert "UT701" in findings(record(tmp_path, model, optimizers, loop))


def without_steps(loss, optimizer, stepping, steps=STEPS):
    for step in range(steps):
        optimizer.zero_grad()
        value = loss(step)
        value.backward()
        yield value
        if stepping(step):
            optimizer.step()


@pytest.mark.parametrize(
    ("stepping", "since"), [(lambda _: False, 0), (lambda step: step < 60, 60)], ids=["never", "no more"]
)
def test_backward_passes_without_a_step_are_told(tmp_path, stepping, since):
    net, loss = classifier()
    optimizer = sgd(net)
    found = findings(record(tmp_path, net, optimizer, without_steps(loss, optimizer, stepping)))["UT702"]
    assert (found.began, found.severity) == (since, Severity.ERROR)
    assert found.evidence["passes"] == STEPS - since


def test_a_run_that_ends_between_two_steps_has_not_stopped_stepping(tmp_path):
    net, loss = classifier()
    optimizer = sgd(net)
    run = record(tmp_path, net, optimizer, without_steps(loss, optimizer, lambda step: step % 20 == 19, steps=139))
    assert not findings(run)


@pytest.mark.parametrize("to_none", [True, False])
def test_gradients_that_are_cleared_before_the_step_are_told(tmp_path, to_none):
    net, loss = classifier()
    optimizer = sgd(net)

    def loop():
        for step in range(STEPS):
            value = loss(step)
            value.backward()
            yield value
            optimizer.zero_grad(set_to_none=to_none)
            optimizer.step()

    found = findings(record(tmp_path, net, optimizer, loop()))
    assert next(iter(found)) == "UT702"
    assert "UT403" not in found
    assert "UT501" not in found


def scaled(loss, optimizer, scaler, step_by, spoilt=lambda _: False):
    for step in range(STEPS):
        optimizer.zero_grad()
        value = loss(step) * (float("nan") if spoilt(step) else 1.0)
        scaler.scale(value).backward()
        yield value
        step_by(optimizer, scaler)
        scaler.update()


def both(optimizer, scaler):
    scaler.step(optimizer)
    optimizer.step()


STEP_BY = {
    "the scaler's": (lambda optimizer, scaler: scaler.step(optimizer), False),
    "both": (both, True),
}


@pytest.mark.parametrize("how", STEP_BY)
def test_a_step_beside_the_scalers_own_is_told(tmp_path, how):
    step_by, told = STEP_BY[how]
    net, loss = classifier()
    optimizer, scaler = sgd(net), torch.amp.GradScaler("cpu", init_scale=64.0)
    run = record(tmp_path, net, optimizer, scaled(loss, optimizer, scaler, step_by), scaler=scaler)
    assert ("UT702" in findings(run)) is told


def test_a_step_with_gradients_that_are_still_scaled_is_told(tmp_path):
    net, loss = classifier()
    optimizer, scaler = torch.optim.Adam(net.parameters()), torch.amp.GradScaler("cpu", init_scale=64.0)

    def loop():
        for step in range(STEPS):
            optimizer.zero_grad()
            value = loss(step)
            scaler.scale(value).backward()
            yield value
            optimizer.step()

    run = record(tmp_path, net, optimizer, loop(), scaler=scaler)
    assert "multiplied by the loss scale" in findings(run)["UT702"].message


def test_a_scaler_that_skips_every_step_is_told_and_before_what_is_not_finite(tmp_path):
    net, loss = classifier()
    optimizer, scaler = sgd(net), torch.amp.GradScaler("cpu")
    loop = scaled(loss, optimizer, scaler, STEP_BY["the scaler's"][0], spoilt=lambda _: True)
    found = findings(record(tmp_path, net, optimizer, loop, scaler=scaler))
    assert list(found)[:2] == ["UT702", "UT103"]
    assert found["UT702"].evidence["skipped"] == pytest.approx(1.0, abs=0.02)


def test_a_scaler_that_skips_a_few_steps_at_its_start_does_its_work(tmp_path):
    net, loss = classifier()
    optimizer, scaler = sgd(net), torch.amp.GradScaler("cpu", init_scale=64.0)
    loop = scaled(loss, optimizer, scaler, STEP_BY["the scaler's"][0], spoilt=lambda step: step < 5)
    assert "UT702" not in findings(record(tmp_path, net, optimizer, loop, scaler=scaler))


RUNS = {
    "UT701": ("never", "to None"),
    "UT702": (lambda _: False, lambda _: True),
}
"""For UT701 how gradients are zeroed, for UT702 at which steps the optimizer steps."""


@pytest.mark.parametrize(("place", "told"), [(0, True), (1, False)])
def test_examples_of_runs(tmp_path, place, told):
    net, loss = classifier()
    optimizer = sgd(net)
    zero = {**ZEROED, **NOT_ZEROED}[RUNS["UT701"][place]](net, optimizer)
    assert ("UT701" in findings(record(tmp_path, net, optimizer, plainly(loss, optimizer, zero)))) is told
    net, loss = classifier()
    optimizer = sgd(net)
    loop = without_steps(loss, optimizer, RUNS["UT702"][place])
    assert ("UT702" in findings(record(fresh(tmp_path), net, optimizer, loop))) is told


def in_mode(training):
    net, loss = regression()
    return net.train(training), lambda: loss(0), sgd(net, lr=1e-3)


CASES = {"UT703": (lambda: in_mode(False), lambda: in_mode(True))}


@pytest.mark.parametrize("code", CASES)
def test_keeps_the_contract_of_rules(code):
    check_rule(code, *CASES[code])


def evaluation_of(net, loss, optimizer, before_steps):
    for step in range(STEPS):
        before_steps(net, step)
        optimizer.zero_grad()
        value = loss(step)
        value.backward()
        yield value
        optimizer.step()


def only_norms(net, _):
    net.train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def validates(net, step, back=True):
    if step % 50 == 0:
        net.eval()
        if back:
            net.train()


MODES = {
    "eval and never back": (lambda net, step: validates(net, step, back=False), Severity.WARNING),
    "train(False)": (lambda net, _: net.train(False), Severity.WARNING),
    "eval later on": (lambda net, step: net.train(step < 40), Severity.WARNING),
    "validates and comes back": (validates, None),
    "normalisations alone, on purpose": (only_norms, None),
}


@pytest.mark.parametrize("how", MODES)
def test_a_run_in_evaluation_mode_is_told(tmp_path, how):
    before_steps, severity = MODES[how]
    net, loss = regression()
    optimizer = sgd(net, lr=1e-3)
    run = record(tmp_path, net, optimizer, evaluation_of(net, loss, optimizer, before_steps))
    found = findings(run).get("UT703")
    assert (found is not None) is (severity is not None)
    if found is not None:
        assert found.severity.rank >= Severity.WARNING.rank
        assert {"normalisations": 1.0, "dropouts": 1.0}.items() <= found.evidence.items()
        assert (found.began > 0) is (how == "eval later on")


def examined(prepare=lambda _: None, with_optimizer=True, held=lambda net: net.parameters()):
    net, loss = regression()
    prepare(net)
    optimizer = torch.optim.SGD(held(net), lr=0.01) if with_optimizer else None
    report = examine(net, lambda: loss(0), optimizer)
    return {found.code: found for found in report.findings}.get("UT703")


def test_examine_tells_of_evaluation_mode():
    assert examined(lambda net: net.eval()).severity.rank >= Severity.WARNING.rank
    assert examined() is None


def test_examine_without_an_optimizer_takes_evaluation_for_meant():
    assert examined(lambda net: net.eval(), with_optimizer=False).severity is Severity.NOTE


def test_a_frozen_backbone_may_be_in_evaluation_mode():
    def freeze(net):
        net[:3].eval().requires_grad_(False)
        net[4].eval()
        net[4].p = 0.0

    assert examined(freeze, held=lambda net: net[5].parameters()) is None


def test_files_of_before_have_none_of_these_facts():
    assert over_time(Run({"optimizer": "SGD"}, ())) == []
    assert all(isinstance(found, Finding) for found in over_time(Run({}, ())))
