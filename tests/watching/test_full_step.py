"""What a Run says is what happened: numbers against those that a loop of our own computes."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import undertow
from watching import loops
from watching.loops import Left, sgd, train
from watching.training import Attach, Watched, batch, net


def test_norms_updates_and_progress(watched: Watched) -> None:
    """Small parameters are read whole: the update is exact."""
    true: dict[str, list[list[float]]] = {name: [] for name in ("grad_norm", "update_norm", "weight_norm", "progress")}
    before: list[Tensor] = []

    def read(model: nn.Module) -> None:
        before[:] = [p.detach().clone() for p in model.parameters()]
        true["grad_norm"].append([float(p.grad.double().norm()) for p in model.parameters()])
        true["weight_norm"].append([float(p.detach().double().norm()) for p in model.parameters()])

    def compare(model: nn.Module, _: int) -> None:
        steps = [p.detach().double() - b.double() for p, b in zip(model.parameters(), before, strict=True)]
        true["update_norm"].append([float(step.norm()) for step in steps])
        inner = [-float((p.grad.double() * s).sum()) for p, s in zip(model.parameters(), steps, strict=True)]
        true["progress"].append([each / sum(inner) if sum(inner) > 0 else np.nan for each in inner])

    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.1)
        return train(attach, model, optimizer, before_step=read, after_step=compare)

    left, run = watched(loop, every=1)
    for name, rows in true.items():
        np.testing.assert_allclose(run.parameter_columns[name], rows, rtol=2e-4, err_msg=name)
    np.testing.assert_allclose(run.scalars["grad_norm"], np.linalg.norm(true["grad_norm"], axis=1), rtol=1e-5)
    np.testing.assert_allclose(run.scalars["loss"], left["losses"], rtol=1e-6)
    assert run.scalars["backwards"].tolist() == list(range(1, 8))


def test_the_tape_is_that_of_examine(watched: Watched) -> None:
    """The first step of training, against an examination of the same model, batch and optimizer."""

    def loop(attach: Attach, steps: int = 1) -> Left:
        model = net(activation=nn.Sigmoid)
        return train(attach, model, sgd(model), steps=steps)

    _, run = watched(loop, every=1)
    torch.manual_seed(0)
    model = net(activation=nn.Sigmoid)
    x, y = batch()
    report = undertow.examine(model, lambda: nn.functional.cross_entropy(model(x), y), sgd(model))
    assert run.sites == report.run.sites
    assert run.edges == report.run.edges
    for name, column in report.run.columns.items():
        np.testing.assert_allclose(run.columns[name], column, rtol=2e-3 if name == "progress" else 1e-4, err_msg=name)


def test_groups_and_frozen_layers(watched: Watched) -> None:
    _, run = watched(loops.parameter_groups, every=1)
    assert run.parameter_columns["lr"][0].tolist()[::2] == pytest.approx(
        [0.1, 0.05, 0.025, 0.0125][: len(run.parameters) // 2]
    ) or (np.unique(run.parameter_columns["lr"][0]).size == 4)
    _, run = watched(loops.frozen_then_not, every=1)
    norm = run.parameter_columns["grad_norm"]
    first, second = run.parameters.index("0.weight"), run.parameters.index("2.weight")
    assert np.isnan(norm[:3, first]).all()
    assert np.isfinite(norm[3:, first]).all()
    assert np.isfinite(norm[:3, second]).all()
    assert np.isnan(norm[3:, second]).all()
    _, run = watched(loops.schedule, every=1)
    assert run.scalars["lr"].tolist() == pytest.approx([0.01 * (n + 1) for n in range(7)])


def test_every_optimizer_of_a_gan_is_seen(watched: Watched) -> None:
    """Backward passes between any two steps get their turn: the critic's own graph, and the generator's through it."""
    _, run = watched(loops.gan, every=1)
    assert len(run.header["graphs"]) == 2
    assert np.isfinite(run.parameter_columns["update_norm"][-1]).all()
    assert {name.split(".")[0] for name in run.parameters} == {"generator", "critic"}
    assert max(run.scalars["step"]) == 6


def test_a_closure_is_taped_where_it_first_computes(watched: Watched) -> None:
    left, run = watched(loops.lbfgs, every=1)
    np.testing.assert_allclose(run.scalars["loss"], left["losses"], rtol=1e-6)  # of its first evaluation
    assert np.isfinite(run.parameter_columns["update_norm"]).all()
    assert (run.parameter_columns["update_norm"] > 0).all()
    assert len(run) == 4
