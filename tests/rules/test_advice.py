"""Advice: every finding that is more than a note says what to do in its model, and the lines it gives do it."""

import ast
import importlib
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from rules import (
    test_ut2_attention,
    test_ut2_likeness,
    test_ut4_decay,
    test_ut4_membership,
    test_ut4_step_size,
    test_ut5_examples,
    test_ut5_loss,
    test_ut5_terms,
)
from rules.fitting import mlp, regressed, sequences
from rules.networks import chain, detached, in_half, log_of_zero
from rules.test_ut7_scale import fitted, uneven
from undertow.examination import examine
from undertow.record import Severity
from undertow.rules import RULES

pytestmark = pytest.mark.filterwarnings("ignore:Using a target size")  # torch's own hint, at some losses

MOST = 8
"""Examples of one code that are tried: further ones differ in the data alone."""


def _examples():
    for path in sorted(Path(__file__).parent.glob("test_ut*.py")):
        cases = getattr(importlib.import_module(f"rules.{path.stem}"), "CASES", {})
        for code, (fires, _) in cases.items():
            for number, build in enumerate((fires if isinstance(fires, list) else [fires])[:MOST]):
                yield pytest.param(code, build, id=f"{code}-{number}")


def _more():
    """Further guises of a fault, which want other advice."""
    for name, (build, _) in test_ut4_step_size.SMALL.items():
        yield pytest.param("UT408", build, id=f"UT408 {name}")
    for build in test_ut4_membership.FAULTY:
        yield pytest.param("UT407", lambda build=build: test_ut4_membership.case(build), id=f"UT407 {build.__name__}")
    for name, build in test_ut2_attention.SATURATED.items():
        yield pytest.param("UT203", build, id=f"UT203 {name}")
    for name, build in test_ut2_likeness.ALIKE.items():
        yield pytest.param("UT205", build, id=f"UT205 {name}")
    for name, make in test_ut4_decay.TOO_MUCH.items():
        yield pytest.param("UT409", lambda make=make: test_ut4_decay.case(make), id=f"UT409 {name}")


EXAMPLES = [*_examples(), *_more()]


def found_in(code, model, compute_loss, optimizer):
    return next((each for each in examine(model, compute_loss, optimizer).findings if each.code == code), None)


def run(finding, **names):
    """Run a finding's lines as a user would paste them, and return the names they leave."""
    exec(finding.snippet, names)  # noqa: S102  # it is what the test is about
    return names


def names_something_of(finding):
    """Whether a number or a part of the finding's place is in the advice."""
    parts = set(re.split(r"[\s,.>()-]+", finding.where.lower())) - {"", "the", "loss", "model", "of", "and", "more"}
    words = set(re.findall(r"\w+", finding.advice.lower()))
    return bool(re.search(r"\d", finding.advice)) or bool(parts & words)


def says_something_of_its_own(finding):
    assert finding.advice.strip(), finding
    assert finding.advice[0].isupper()
    assert finding.advice[-1] in ".)"
    assert finding.advice not in RULES[finding.code].explanation
    assert "undertow" not in finding.snippet
    tree = ast.parse(finding.snippet)
    assert not any(isinstance(node, ast.Constant) and node.value is ... for node in ast.walk(tree)), finding.snippet
    for word in ("addmm", " mm ", "baddbmm", "convolution_backward", "native_"):
        assert word not in f"{finding.message} {finding.advice} {finding.where}"


@pytest.mark.parametrize(("code", "build"), EXAMPLES)
def test_every_finding_says_what_to_do(code, build):
    torch.manual_seed(0)
    findings = examine(*build()).findings
    assert code in {each.code for each in findings}
    for finding in findings:
        if finding.severity is not Severity.NOTE or finding.code == code:
            says_something_of_its_own(finding)
    assert all(names_something_of(each) for each in findings if each.severity is not Severity.NOTE), findings


SIZE = {
    "UT101": "total", "UT102": "total", "UT106": "total", "UT107": "horizon", "UT104": "share", "UT105": "share",
    "UT401": "median", "UT402": "layers", "UT404": "layers", "UT408": "reach", "UT409": "pull", "UT407": "missing",
    "UT201": "saturated", "UT202": "dead", "UT203": "logit_gap", "UT301": "expected", "UT501": "parameters",
}  # fmt: skip
"""The number that says how bad a finding is."""

SMALL_IS_BAD = frozenset({"UT107", "UT104", "UT105", "UT408"})


def shrunk(code, before, after):
    """Whether a finding is gone, weighs less, or has a better number."""
    if after is None or after.severity.rank < before.severity.rank:
        return True
    if code not in SIZE:
        return False
    old, new = abs(before.evidence[SIZE[code]]), abs(after.evidence[SIZE[code]])
    return new > old if code in SMALL_IS_BAD else new < old


IN_PLACE = frozenset([
    "UT101", "UT102", "UT104", "UT105", "UT106", "UT107", "UT109", "UT201", "UT202", "UT203", "UT205", "UT301", "UT302",
    "UT401", "UT402", "UT407", "UT408", "UT409", "UT410", "UT502", "UT503", "UT505", "UT506", "UT602", "UT703", "UT705",
])  # fmt: skip
"""Codes whose lines change ``model`` or ``optimizer`` themselves, at least where modules and not calls are at fault."""


def changes_the_objects(finding):
    """Whether the lines act on the model or the optimizer, and none of them stands for a line of the user's."""
    of_the_loop = finding.snippet.startswith(("# ", "inputs = "))
    return bool(finding.snippet) and "# in " not in finding.snippet and not of_the_loop


def test_an_optimizer_of_the_users_own_is_made_again_as_it_is():
    class Own(torch.optim.SGD):
        pass

    model = mlp()
    optimizer = Own(mlp().parameters(), lr=0.1)
    x = torch.randn(12, 6)
    found = found_in("UT407", model, lambda: model(x).square().mean(), optimizer)
    left = run(found, model=model, optimizer=optimizer)["optimizer"]
    assert isinstance(left, Own)
    assert found_in("UT407", model, lambda: model(x).square().mean(), left) is None


def test_an_optimizer_that_holds_nothing_is_made_again_of_its_own_kind():
    found = found_in("UT407", *test_ut4_membership.case(test_ut4_membership.of_a_copy))
    assert "torch.optim.Adam(model.parameters(), lr=0.001)" in found.snippet


@pytest.mark.parametrize(("code", "build"), [each for each in EXAMPLES if each.values[0] in IN_PLACE])
def test_the_lines_do_what_they_say(code, build):
    torch.manual_seed(0)
    model, compute_loss, optimizer = build()
    before = found_in(code, model, compute_loss, optimizer)
    if not changes_the_objects(before):
        assert before.snippet.count("#"), "the lines neither change the model nor say where they belong"
        return
    left = run(before, model=model, optimizer=optimizer, torch=torch, nn=nn)
    assert shrunk(code, before, found_in(code, left["model"], compute_loss, left["optimizer"]))


def still(code, model, compute_loss, optimizer=None):
    """Whether a finding, more than a note, is made."""
    found = found_in(code, model, compute_loss, optimizer)
    return found is not None and found.severity is not Severity.NOTE


FIXED_IN_THE_LOSS = [
    test_ut5_loss.softmax_smoothed_cross_entropy,
    test_ut5_loss.sigmoid_cross_entropy,
    test_ut5_loss.sigmoid_bce_with_logits,
    test_ut5_loss.bare_output_nll,
]


@pytest.mark.parametrize("build", FIXED_IN_THE_LOSS, ids=lambda build: build.__name__)
def test_the_line_for_the_loss_takes_logits(build):
    model, compute_loss, optimizer = build()
    found = found_in("UT503", model, compute_loss, optimizer)
    x, y = torch.randn(12, 6), torch.randint(0, 4, (12,))
    targets = functional.one_hot(y, 4).float() if "binary" in found.snippet else y

    def mended():
        return run(found, output=model.net(x), logits=model.net(x), targets=targets)["loss"]

    assert not still("UT503", model, mended)


@pytest.mark.parametrize("shapes", [((12,), lambda z: z), ((12, 1), lambda z: z.squeeze(1))], ids=["row", "column"])
def test_the_line_for_the_target_gives_it_the_outputs_shape(shapes):
    shape, after = shapes
    found = found_in("UT504", *regressed(functional.mse_loss, shape=shape, after=after))

    def mended(output, target):
        return functional.mse_loss(output, run(found, output=output, targets=target)["targets"])

    assert not still("UT504", *regressed(mended, shape=shape, after=after))


def test_the_line_for_two_terms_balances_them():
    found = found_in("UT507", *test_ut5_terms.two(lambda s: s.c + 1e4 * s.m))
    mended = test_ut5_terms.two(lambda s: run(found, small=s.c, large=1e4 * s.m)["loss"])
    assert not still("UT507", *mended)


def test_the_line_for_axes_keeps_examples_apart():
    found = found_in("UT506", *test_ut5_examples.brought(lambda x: x.reshape(5, 12, 6)))
    assert not still("UT506", *test_ut5_examples.brought(lambda x: run(found, x=x)["x"]))


def test_the_line_for_a_softmax_keeps_examples_apart():
    class Mended(test_ut5_examples.WrongSoftmax):
        def forward(self, x):
            scores = self.q(x) @ self.k(x).transpose(-1, -2)
            return self.head(run(found, x=scores)["x"] @ self.v(x)).mean(1)

    found = found_in("UT506", *sequences(test_ut5_examples.WrongSoftmax(), labels=(12,)))
    assert not still("UT506", *sequences(Mended(), labels=(12,)))


def test_the_line_for_what_is_detached_lets_the_gradient_through():
    found = found_in("UT501", *detached())
    model, x = chain(nn.Tanh, 3), torch.randn(8, 32)
    assert not still("UT501", model, lambda: model[1:](run(found, model=model, x=x)["h"]).square().mean())


def test_the_lines_for_what_nothing_uses_freeze_it():
    model = nn.ModuleDict({"used": nn.Linear(4, 4), "pooler": nn.Linear(4, 4)})
    x = torch.randn(8, 4)
    found = found_in("UT501", model, lambda: model["used"](x).square().mean(), None)
    run(found, model=model)
    assert found_in("UT501", model, lambda: model["used"](x).square().mean(), None) is None


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


def test_inputs_that_saturate_the_first_layer_are_standardised():
    model, x, y = chain(nn.Tanh, 3), 100 * torch.randn(64, 32), torch.randint(0, 4, (64,))
    found = found_in("UT201", model, lambda: functional.cross_entropy(model(x), y), None)
    left = run(found, inputs=x)["inputs"]
    assert not still("UT201", model, lambda: functional.cross_entropy(model(left), y))


def test_weights_that_saturate_are_started_smaller():
    model = chain(nn.Tanh, 3, gain=20.0)
    x, y = torch.randn(64, 32), torch.randint(0, 4, (64,))
    found = found_in("UT201", model, lambda: functional.cross_entropy(model(x), y), None)
    run(found, model=model)
    assert not still("UT201", model, lambda: functional.cross_entropy(model(x), y))


def test_branches_that_add_up_are_calmed_and_their_weights_not_drawn_larger():
    class Sums(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 32)) for _ in range(24)
            )
            self.head = nn.Linear(32, 4)
            for block in self.blocks:
                nn.init.kaiming_normal_(block[0].weight)
                nn.init.kaiming_normal_(block[2].weight)

        def forward(self, x):
            for block in self.blocks:
                x = x + block(x)
            return self.head(x)

    model, x = Sums(), torch.randn(64, 32)
    found = found_in("UT102", model, lambda: model(x).square().mean(), None)
    assert "model.blocks[23][2]" in found.snippet
    run(found, model=model)
    assert not still("UT102", model, lambda: model(x).square().mean())


def test_the_line_for_a_log_keeps_it_finite():
    found = found_in("UT103", *log_of_zero())
    model, x = chain(nn.Tanh, 3), torch.randn(8, 32)
    assert not still("UT103", model, lambda: run(found, x=model(x) * 0)["x"].sum())


@pytest.mark.parametrize("step", [torch.round, torch.sign, torch.floor])
def test_the_line_for_a_step_lets_the_gradient_through(step):
    found = found_in("UT109", *regressed(functional.mse_loss, shape=(12, 1), after=step))
    mended = regressed(functional.mse_loss, shape=(12, 1), after=lambda z: run(found, x=z)["x"])
    assert not still("UT109", *mended)


def test_the_line_for_half_precision_keeps_weights_in_float32():
    model, compute_loss, _ = in_half(1e-6)
    found = found_in("UT404", model, compute_loss, None)
    run(found, model=model)

    def mended():
        with torch.autocast("cpu", dtype=torch.float16):
            return compute_loss() * 2.0**16  # a GradScaler's at its start

    assert not still("UT404", model, mended)


@pytest.mark.parametrize("depth", [(12, nn.Sigmoid), (12, nn.Tanh), (12, nn.ReLU), (12, nn.GELU), (8, nn.Hardsigmoid)])
def test_nobody_is_told_to_use_what_is_there(depth):
    """Small weights in deep networks of every kind: the cure is the weights' start, or another activation."""
    layers, activation = depth
    model = chain(activation, layers, gain=0.4)
    x, y = torch.randn(64, 32), torch.randint(0, 4, (64,))
    found = found_in("UT101", model, lambda: functional.cross_entropy(model(x), y), None)
    assert f"nn.{activation.__name__}()" not in found.snippet
    assert f"Put {activation.__name__}" not in found.advice
    run(found, model=model)
    after = found_in("UT101", model, lambda: functional.cross_entropy(model(x), y), None)
    assert shrunk("UT101", found, after)


class Functional(nn.Module):
    """A deep network whose activation is a call, not a module."""

    def __init__(self, activation):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(32, 32) for _ in range(8))
        self.activation = activation

    def forward(self, x):
        for layer in self.layers:
            x = self.activation(x=layer(x))
        return x


def test_a_call_in_forward_is_exchanged_there():
    model, x = Functional(lambda x: torch.sigmoid(x)), torch.randn(64, 32)
    found = found_in("UT101", model, lambda: model(x).square().mean(), None)
    assert "in forward (test_advice.py" in found.snippet
    mended = Functional(lambda x: run(found, model=model, x=x)["x"])
    assert shrunk("UT101", found, found_in("UT101", mended, lambda: mended(x).square().mean(), None))


def test_weights_that_are_no_layers_are_drawn_as_parameters():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.steps = nn.ParameterList(nn.Parameter(0.05 * torch.randn(32, 32)) for _ in range(12))
            self.out = nn.Parameter(torch.randn(32, 4) / 6)

        def forward(self, x):
            for weight in self.steps:
                x = torch.tanh(x @ weight)
            return x @ self.out

    torch.manual_seed(0)
    model, x = Bare(), torch.randn(64, 32)
    found = found_in("UT101", model, lambda: model(x).square().mean(), None)
    assert "matrix product with steps" in found.message
    run(found, model=model)
    assert not still("UT101", model, lambda: model(x).square().mean())


def test_layers_are_named_as_a_user_would_write_them():
    torch.manual_seed(0)
    net = nn.ModuleDict({"stem": nn.Linear(6, 8), "blocks": nn.ModuleList([mlp(8, 8), mlp(8, 8)]), "head": mlp(8, 4)})
    nn.init.constant_(net["blocks"][1][0].weight, 0.5)
    x = torch.randn(12, 6)

    def compute_loss():
        return net["head"](net["blocks"][1](net["blocks"][0](net["stem"](x)))).square().mean()

    found = found_in("UT302", net, compute_loss, None)
    assert "model.blocks[1][0].weight" in found.snippet
    run(found, model=net)
    assert found_in("UT302", net, compute_loss, None) is None


@pytest.mark.parametrize("activation", [nn.GELU, nn.SiLU, nn.ReLU, nn.Tanh])
def test_findings_of_one_start_advise_the_same(activation):
    """One says that weights start too small; another must not say that they are in order."""
    torch.manual_seed(0)
    net = nn.Sequential(*(layer for _ in range(16) for layer in (nn.Linear(24, 24), activation())), nn.Linear(24, 3))
    x, y = torch.randn(32, 24), torch.randint(3, (32,))
    told = {each.code: each.advice for each in examine(net, lambda: functional.cross_entropy(net(x), y)).findings}
    first = {advice.partition(" for n inputs")[0] for code, advice in told.items() if code in ("UT101", "UT301")}
    assert "UT301" in told
    assert len(first) == 1
