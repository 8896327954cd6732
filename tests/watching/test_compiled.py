"""Compiled models: the optimizer's side by default, which compiles nothing and changes no bit; the tape on request."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import undertow
from watching.loops import Left, sgd, train
from watching.training import Attach, Watched, assert_same, loss_of, net, no_watcher, trained

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*:DeprecationWarning", "ignore:.*:FutureWarning", "ignore:The .grad:UserWarning"
)


class Layers(nn.Sequential):
    """With a way forward of its own: torch's own `Sequential.forward` isn't compiled where a model is in place."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = layer(x)
        return x


def whole(model: nn.Sequential) -> nn.Module:
    return torch.compile(model, backend="aot_eager")


def in_place(model: nn.Sequential) -> nn.Module:
    model.compile(backend="aot_eager")
    return model


def a_part(model: nn.Sequential) -> nn.Module:
    model[1] = torch.compile(model[1], backend="aot_eager")
    return model


@pytest.fixture(autouse=True)
def fresh() -> None:
    torch._dynamo.reset()


def graphs() -> int:
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.mark.parametrize("how", [whole, in_place, a_part])
def test_the_optimizers_side_of_a_compiled_model(how: Callable[[nn.Sequential], nn.Module], watched: Watched) -> None:
    def loop(attach: Attach) -> Left:
        model = how(Layers(nn.Linear(8, 12), nn.Sequential(nn.Linear(12, 12), nn.Tanh()), nn.Linear(12, 3)))
        return train(attach, model, sgd(model))

    before = graphs()
    plain = trained(loop, no_watcher)
    needed = graphs() - before
    assert needed == 1
    torch._dynamo.reset()
    left, run = watched(loop, every=1)
    assert_same(left, plain)
    assert graphs() - before == 2 * needed  # no graph was compiled because of us
    assert run.header["compiled"]
    assert len(run) == 0
    assert len(run.parameter_steps) == 7
    assert np.isfinite(run.parameter_columns["update_norm"]).all()
    assert np.isfinite(run.scalars["loss"]).all()


@pytest.mark.parametrize("how", [whole, in_place])
def test_the_full_tape_on_request_is_that_of_the_model_itself(
    how: Callable[[nn.Sequential], nn.Module], watched: Watched
) -> None:
    def loop(attach: Attach, how: Callable[[nn.Sequential], nn.Module] = how) -> Left:
        model = how(Layers(*net()))
        return train(attach, model, sgd(model))

    before = graphs()
    _, run = watched(loop, every=3, full_tape=True)
    assert graphs() - before <= 1
    left, eager = watched(lambda attach: loop(attach, lambda model: model), every=3)
    assert run.steps["step"].tolist() == [0, 3, 6]
    assert [site.name for site in run.sites] == [site.name for site in eager.sites]
    np.testing.assert_allclose(run.columns["grad_output"], eager.columns["grad_output"], rtol=1e-4)
    assert left["losses"]


def test_a_compiled_function_that_calls_the_model_stays_one_graph(watched: Watched) -> None:
    """Nobody told us that it is compiled; hooks of ours on the model must not become part of it, or end training."""

    def loop(attach: Attach) -> Left:
        model = Layers(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 3))
        optimizer = sgd(model)
        attach(model, optimizer)

        @torch.compile(backend="aot_eager", fullgraph=True)
        def compute_loss(x: Tensor) -> Tensor:
            return model(x).square().mean()

        losses = []
        for _ in range(7):
            optimizer.zero_grad()
            loss = compute_loss(torch.randn(16, 8))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return model, losses

    plain = trained(loop, no_watcher)
    torch._dynamo.reset()
    left, run = watched(loop, every=1)
    assert_same(left, plain)
    assert not [event for event in run.events if event.kind == "trouble"]
    assert np.isfinite(run.scalars["loss"]).all()


def test_a_compiled_optimizer_step_has_nothing_of_ours_in_it(watched: Watched) -> None:
    """As many graphs, of as many calls, with a watcher as without; at observed steps and between them."""

    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.01))
        attach(model, optimizer)
        step = torch.compile(optimizer.step, backend="eager")
        losses = []
        for _ in range(8):
            optimizer.zero_grad()
            loss = loss_of(model)
            loss.backward()
            step()
            losses.append(loss.item())
        return model, losses

    def counted() -> dict[str, int]:
        found = dict(torch._dynamo.utils.counters["stats"])
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        return found

    counted()
    plain = trained(loop, no_watcher)
    expected = counted()
    for every in (1, 3):
        left, run = watched(loop, every=every)
        assert counted() == expected
        assert run.scalars["step"].max() >= 6
        assert_same(left, plain)


def test_what_is_compiled_after_an_examination_is_compiled() -> None:
    """An examination runs compiled models eagerly, and then lets torch compile again."""
    compiled: list[int] = []

    def backend(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
        compiled.append(len(compiled))
        return graph.forward

    model = nn.Linear(4, 1)
    undertow.examine(model, lambda: model(torch.ones(3, 4)).square().mean())
    torch.compile(nn.Linear(4, 1), backend=backend)(torch.ones(3, 4))
    assert compiled == [0]
