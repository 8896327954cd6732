"""UT407: optimizers that miss what gradient reaches, in several guises, and ones that leave it out on purpose."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from rules.loops import classifier, findings, record
from undertow.examination import examine
from undertow.record import Severity
from undertow.testing import check_rule


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh())
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.body(x))


def net(seed=0):
    torch.manual_seed(seed)
    return Net()


def adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-3)


def made_before_the_model():
    optimizer = adam(net().parameters())
    return net(), optimizer


def of_a_copy():
    model = net()
    return model, adam(copy.deepcopy(model).parameters())


def before_the_head_was_replaced():
    model = net()
    optimizer = adam(model.parameters())
    model.head = nn.Linear(16, 4)
    return model, optimizer


def without_the_middle():
    model = net()
    return model, adam(p for name, p in model.named_parameters() if not name.startswith("body.2"))


def without_a_parameter_of_its_own():
    model = net()
    model.body.append(nn.PReLU(16))
    return model, adam(p for name, p in model.named_parameters() if not name.startswith("body.4"))


def only_frozen():
    model = net()
    model.body.requires_grad_(False)
    return model, adam(model.body.parameters())


FAULTY = {
    made_before_the_model: (Severity.ERROR, "another model"),
    of_a_copy: (Severity.ERROR, "another model"),
    only_frozen: (Severity.ERROR, "all of them frozen"),
    before_the_head_was_replaced: (Severity.WARNING, "head.weight, head.bias"),
    without_the_middle: (Severity.WARNING, "body.2.weight, body.2.bias"),
    without_a_parameter_of_its_own: (Severity.WARNING, "body.4.weight is in no optimizer"),
}


def complete():
    model = net()
    return model, adam(model.parameters())


def frozen_backbone():
    model = net()
    model.body.requires_grad_(False)
    return model, adam(model.head.parameters())


def frozen_backbone_held_all_the_same():
    model = net()
    model.body.requires_grad_(False)
    return model, adam(model.parameters())


def two_optimizers():
    model = net()
    return model, [adam(model.body.parameters()), torch.optim.SGD(model.head.parameters(), lr=0.1)]


HEALTHY = (complete, frozen_backbone, frozen_backbone_held_all_the_same, two_optimizers)


def loss_of(model):
    generator = torch.Generator().manual_seed(3)
    x, y = torch.randn(64, 8, generator=generator), torch.randint(0, 4, (64,), generator=generator)
    return lambda: functional.cross_entropy(model(x), y)


def case(build):
    """What `undertow.examine` takes."""
    model, optimizer = build()
    return model, loss_of(model), optimizer


CASES = {"UT407": (lambda: case(made_before_the_model), lambda: case(complete))}


@pytest.mark.parametrize("code", CASES)
def test_keeps_the_contract_of_rules(code):
    check_rule(code, *CASES[code])


def told(model, optimizer):
    report = examine(model, loss_of(model), optimizer)
    return {found.code: found for found in report.findings}.get("UT407")


@pytest.mark.parametrize("build", FAULTY, ids=lambda build: build.__name__)
def test_examine_tells_what_no_step_changes(build):
    severity, words = FAULTY[build]
    found = told(*build())
    assert found.severity is severity
    assert words in found.message


@pytest.mark.parametrize("build", HEALTHY, ids=lambda build: build.__name__)
def test_examine_is_silent_where_all_is_held(build):
    assert told(*build()) is None


def gan():
    torch.manual_seed(0)
    model = nn.ModuleDict({
        "G": nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2)),
        "D": nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1)),
    })  # fmt: skip
    noise = torch.randn(32, 4)
    return model, lambda: functional.softplus(-model["D"](model["G"](noise))).mean()


def test_the_other_half_of_a_gan_is_a_note_with_one_optimizer_and_nothing_with_both():
    model, loss = gan()
    of = {name: adam(half.parameters()) for name, half in model.items()}
    (found,) = (f for f in examine(model, loss, of["G"]).findings if f.code == "UT407")
    assert found.severity is Severity.NOTE
    assert "UT407" not in {f.code for f in examine(model, loss, list(of.values())).findings}


def test_examine_refuses_what_is_no_optimizer():
    model = net()
    with pytest.raises(TypeError, match="optimizer is a float, not a torch"):
        examine(model, loss_of(model), 0.1)


def steps(model, loss, step_by, count=60):
    for step in range(count):
        model.zero_grad()
        value = loss(step)
        value.backward()
        yield value
        step_by()


def watched(folder, held, step_by=None):
    """Train the classifier by an optimizer that holds what ``held`` says of it."""
    model, loss = classifier()
    optimizer = torch.optim.SGD(held(model), lr=0.05)
    step_by = step_by(model, optimizer) if step_by else optimizer.step
    return record(folder, model, optimizer, steps(model, loss, step_by))


def test_a_watched_optimizer_of_another_model_is_told(tmp_path):
    run = watched(tmp_path, lambda _: nn.Linear(3, 3).parameters())
    found = findings(run)["UT407"]
    assert (found.severity, found.from_start) == (Severity.ERROR, True)
    assert {"missing": 6.0, "reached": 0.0, "foreign": 2.0, "frozen": 0.0}.items() <= found.evidence.items()
    assert found.evidence["share"] == pytest.approx(1.0)
    assert len(run.scalars["loss"][~torch.tensor(run.scalars["loss"]).isnan()]) >= 5


def test_a_watched_layer_that_nobody_steps_is_told(tmp_path):
    found = findings(watched(tmp_path, lambda model: [*model[0].parameters(), *model[4].parameters()]))["UT407"]
    assert found.severity is Severity.WARNING
    assert found.where == "2.weight, 2.bias"


def test_watched_parameters_that_an_optimizer_we_were_not_shown_steps_are_none(tmp_path):
    """Its other half is stepped by somebody: it moves."""

    def step_both(model, optimizer):
        other = torch.optim.Adam(model[4].parameters(), lr=1e-3)

        def step():
            optimizer.step()
            other.step()

        return step

    assert "UT407" not in findings(watched(tmp_path, lambda model: model[:4].parameters(), step_by=step_both))


def test_watched_master_copies_of_the_weights_are_their_optimizers(tmp_path):
    """The optimizer holds copies in another precision, which are written back after each step."""

    def by_masters(model, optimizer):
        masters = [p for group in optimizer.param_groups for p in group["params"]]

        def step():
            for master, p in zip(masters, model.parameters(), strict=True):
                master.grad = p.grad.double()
            optimizer.step()
            for master, p in zip(masters, model.parameters(), strict=True):
                p.data.copy_(master.data)

        return step

    masters = lambda model: [nn.Parameter(p.detach().double()) for p in model.parameters()]  # noqa: E731
    assert "UT407" not in findings(watched(tmp_path, masters, step_by=by_masters))


def test_watched_layers_that_are_unfrozen_later_are_told_only_while_they_stand_still(tmp_path):
    model, loss = classifier()
    optimizer = torch.optim.SGD(model[4].parameters(), lr=0.05)

    def loop():
        for step in range(200):
            if step == 40:
                optimizer.add_param_group({"params": model[:4].parameters()})
            model.zero_grad()
            value = loss(step)
            value.backward()
            yield value
            optimizer.step()

    assert "UT407" not in findings(record(tmp_path, model, optimizer, loop()))
