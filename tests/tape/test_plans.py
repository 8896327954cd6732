"""What one pass finds out about a graph serves the passes that follow, and never lies about another graph."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from undertow.examination import examine
from undertow.measure import Meter
from undertow.tape import Plans, Tape
from undertow.tape.plans import PATIENCE


class Choosing(nn.Module):
    """Takes one of two branches of the same shape, as a mixture of experts may."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.head = nn.Linear(4, 1)
        self.which = "first"

    def forward(self, x):
        return self.head(torch.tanh(getattr(self, self.which)(x)))


def a_pass(plans, model, x):
    with Tape(plans, Meter()) as tape:
        loss = model(x).square().mean()
        attached = tape.attach(loss)
        loss.backward()
        return (tape.run() if attached else None), tape


def hooks(model):
    return [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]


def test_a_known_graph_is_read_without_hooks_on_modules_and_gives_the_same_run():
    model, x = Choosing(), torch.randn(6, 4)
    plans = Plans(model)
    first, _ = a_pass(plans, model, x)
    for _ in range(PATIENCE):
        second, _ = a_pass(plans, model, x)
    with Tape(plans, Meter()) as tape:
        assert sum(hooks(model)) == 0
        loss = model(x).square().mean()
        assert tape.attach(loss)
        loss.backward()
        third = tape.run()
    fresh, _ = a_pass(Plans(model), model, x)
    assert first == second == third == fresh


def test_another_batch_size_is_the_same_graph():
    model = Choosing()
    plans = Plans(model)
    for rows in (6, *[3] * PATIENCE):
        run, _ = a_pass(plans, model, torch.randn(rows, 4))
    assert run is not None
    assert plans.windows() is None


def test_another_branch_is_not_taken_for_the_one_before():
    model, x = Choosing(), torch.randn(6, 4)
    plans = Plans(model)
    for _ in range(PATIENCE + 1):
        a_pass(plans, model, x)
    model.which = "second"
    unseen, tape = a_pass(plans, model, x)
    assert unseen is None
    assert tape.sites == ()
    seen, _ = a_pass(plans, model, x)
    assert [site.module for site in seen.sites if site.parameters] == ["head", "second"]
    model.which = "first"
    again, _ = a_pass(plans, model, x)
    assert [site.module for site in again.sites if site.parameters] == ["head", "first"]


def test_graphs_that_take_turns_are_all_read():
    model, x = Choosing(), torch.randn(6, 4)
    plans = Plans(model)
    for turn in range(4 * PATIENCE):
        model.which = "second" if turn % 3 == 2 else "first"
        run, _ = a_pass(plans, model, x)
        assert [site.module for site in run.sites if site.parameters] == ["head", model.which]


def test_a_layer_that_is_put_in_later_is_found():
    model, x = Choosing(), torch.randn(6, 4)
    plans = Plans(model)
    for _ in range(PATIENCE + 1):
        a_pass(plans, model, x)
    model.first = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 4))
    runs = [a_pass(plans, model, x)[0] for _ in range(3)]
    assert runs[0] is None
    assert [site.module for site in runs[2].sites if site.parameters] == ["head", "first.1", "first.0"]


def test_examine_follows_a_model_that_chooses_anew_each_time():
    model, x = Choosing(), torch.randn(6, 4)
    turns = []

    def compute_loss():
        turns.append(1)
        model.which = "first" if len(turns) < 3 else "second"
        return model(x).square().mean()

    report = examine(model, compute_loss, repeats=4)
    assert report.run.header["repeats"] == 4
    assert report.run.header["repeats_kept"] == 2


def test_copies_made_meanwhile_are_left_alone():
    model, x = Choosing(), torch.randn(6, 4)

    def compute_loss():
        import copy

        twin = copy.deepcopy(model)
        return model(x).square().mean() + twin(x).detach().mean()

    report = examine(model, compute_loss)
    assert [site.module for site in report.run.sites if site.parameters] == ["head", "first"]


@pytest.mark.parametrize("wrapped", [False, True])
def test_findings_tell_the_users_line(wrapped):
    layers = [nn.Sequential(nn.Linear(20, 20), nn.Sigmoid()) for _ in range(8)]
    net, x = nn.Sequential(*layers), torch.randn(50, 20)

    def compute_loss():
        out = net(x)  # this line
        return out.square().mean()

    model = nn.ModuleDict({"net": net}) if wrapped else net
    report = examine(model, compute_loss)
    line = compute_loss.__code__.co_firstlineno + 1
    vanishing = next(finding for finding in report.findings if finding.code == "UT101")
    # Where the whole model is torch's own containers, the line that calls it tells nothing of a layer.
    assert vanishing.source == (f"{__file__}:{line}" if wrapped else "")
    by_op = {site.op: site.source.rpartition(":")[2] for site in report.run.sites}
    assert by_op["pow"] == by_op["mean"] == str(line + 1)
    assert (f":{line}" in str(report)) is wrapped


def test_a_layers_line_is_that_of_its_call_in_forward():
    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(20, 20) for _ in range(8))

        def forward(self, x):
            for layer in self.layers:
                x = torch.sigmoid(layer(x))  # this line
            return x

    net, x = nn.Sequential(Deep()), torch.randn(50, 20)
    report = examine(net, lambda: net(x).square().mean())
    line = Deep.forward.__code__.co_firstlineno + 2
    assert {site.source for site in report.run.sites if site.module} == {f"{__file__}:{line}"}


def test_the_gradient_summed_for_a_bias_is_the_learning_speed():
    torch.manual_seed(0)
    with_bias, without = nn.Linear(5, 3), nn.Linear(5, 3, bias=False)
    x = torch.randn(7, 5)
    with torch.no_grad():
        without.weight.copy_(with_bias.weight)
    speeds = []
    for layer in (with_bias, without):
        net = nn.Sequential(layer)
        report = examine(net, lambda net=net: (net(x) ** 2).sum())
        speeds.append(report.run.column("learning_speed")[-1])
        expected = 2 * (x @ layer.weight.T + (layer.bias if layer.bias is not None else 0)).sum(0).norm()
        assert np.isclose(speeds[-1], expected.item(), rtol=1e-5)


def test_a_scaled_bias_is_not_taken_for_the_sum():
    w, b = nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(4))
    model = nn.ParameterDict({"w": w, "b": b})
    x = torch.randn(7, 3)
    run = examine(model, lambda: torch.addmm(b, x, w, beta=3.0).square().sum()).run
    received = 2 * torch.addmm(b, x, w, beta=3.0)
    site = next(site.index for site in run.sites if site.op == "addmm")
    assert np.isclose(run.column("learning_speed")[site], received.sum(0).norm().item(), rtol=1e-5)


class Named(nn.Module):
    """Names its parameters itself, as a model of another framework does: no module of it holds them."""

    def __init__(self) -> None:
        super().__init__()
        self._layers = {"first": Held(3, 4), "out": Held(4, 1)}

    def named_modules(self, *_: object, **__: object) -> Iterator[tuple[str, nn.Module]]:
        yield "", self
        yield from self._layers.items()

    def named_parameters(self, *_: object, **__: object) -> Iterator[tuple[str, nn.Parameter]]:
        for path, layer in self._layers.items():
            yield f"{path}.kernel", layer.held[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._layers["out"](torch.tanh(self._layers["first"](x)))


class Held(nn.Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.held = [nn.Parameter(torch.randn(width, out))]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.held[0]


def test_a_model_may_name_parameters_that_its_modules_dont_hold() -> None:
    model = Named()
    with Tape(model) as tape:
        loss = model(torch.ones(5, 3)).square().mean()
        tape.attach(loss)
        assert tape.other_leaves == []
        loss.backward()
    learning = [(site.module, site.parameters) for site in tape.sites if site.parameters]
    assert learning == [("out", ("out.kernel",)), ("first", ("first.kernel",))]


def test_tensors_of_others_come_in_one_order_however_a_graph_is_met():
    model, mine, yours = nn.Linear(3, 3), torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    plans, seen = Plans(model), []
    for _ in range(4):  # discovered, discovered again, followed, followed
        with Tape(plans, Meter()) as tape:
            assert tape.attach((yours * torch.tanh(mine * model(torch.ones(2, 3)) + yours)).sum())
            seen.append([id(leaf) for leaf in tape.other_leaves])
    assert sorted(seen[0]) == sorted((id(mine), id(yours)))
    assert all(each == seen[0] for each in seen)
