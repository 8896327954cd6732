"""Optimizers that are handed a closure: gradients are read where it ends, clipped and all."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from undertow.rules import over_time
from watching.loops import Left, train
from watching.training import Attach, Watched, loss_of, net, total


def closing(model: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[], Tensor]:
    """Return a closure as optimizers want it, and nothing more."""

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss

    return closure


@pytest.mark.parametrize("every", [1, 100])
@pytest.mark.parametrize("keyword", [True, False])
def test_clipping_inside_a_closure_is_seen(every: int, keyword: bool, watched: Watched) -> None:
    seen: list[tuple[float, float, float]] = []

    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        attach(model, optimizer)

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = loss_of(model)
            loss.backward()
            norm = float(nn.utils.clip_grad_norm_(model.parameters(), 0.01))
            seen.append((loss.item(), norm, total([p.grad for p in model.parameters() if p.grad is not None])))
            return loss

        for _ in range(12):
            if keyword:
                optimizer.step(closure=closure)
            else:
                optimizer.step(closure)
        return model, []

    _, run = watched(loop, every=every, overhead=1.0)
    at = run.scalars["step"].astype(int)
    for name, column in zip(("loss", "grad_norm_unclipped", "grad_norm"), np.array(seen).T, strict=True):
        np.testing.assert_allclose(run.scalars[name], column[at], rtol=1e-5)


def test_a_closure_without_a_backward_pass_is_no_step_of_nothing(watched: Watched) -> None:
    """The pass was made before, and the closure only returns the loss: weights move, and are seen to."""

    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        attach(model, optimizer)
        for _ in range(6):
            optimizer.zero_grad()
            loss = loss_of(model)
            loss.backward()
            optimizer.step(lambda loss=loss: float(loss.detach()))
        return model, []

    _, run = watched(loop, every=1)
    norms, lr = run.parameter_columns["grad_norm"], 0.1
    np.testing.assert_allclose(run.parameter_columns["update_norm"], lr * norms, rtol=1e-3)
    assert "UT401" not in {found.code for found in over_time(run)}


class SkipsEverySecond(torch.optim.SGD):
    """Never calls its closure at every second step, and leaves the weights as they are."""

    count = 0

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        self.count += 1
        return super().step(closure) if self.count % 2 else None


def test_a_closure_that_is_never_called_leaves_nan(watched: Watched) -> None:
    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = SkipsEverySecond(model.parameters(), lr=0.1)
        attach(model, optimizer)

        for _ in range(6):
            optimizer.step(closing(model, optimizer))
        return model, []

    _, run = watched(loop, every=1)
    assert np.isnan(run.scalars["grad_norm"][1::2]).all()
    assert (run.scalars["grad_norm"][::2] > 0).all()
    assert "UT401" not in {found.code for found in over_time(run)}


def test_a_step_that_calls_its_bases_is_one_step(watched: Watched) -> None:
    """Torch runs the hooks of both, where somebody has made an optimizer of the base's class before."""
    torch.optim.SGD(net().parameters(), lr=0.1)

    class Mine(torch.optim.SGD):
        def step(self, closure: Callable[[], Any] | None = None) -> Any:
            return super().step(closure)

    def loop(attach: Attach) -> Left:
        model = net()
        return train(attach, model, Mine(model.parameters(), lr=0.1), steps=5)

    for every in (1, 3):
        left, run = watched(loop, every=every, overhead=1.0)
        at = run.scalars["step"].astype(int)
        assert at.max() == 4
        np.testing.assert_allclose(run.scalars["loss"], np.array(left["losses"])[at], rtol=1e-5)
        assert (run.parameter_columns["update_norm"][:, -2:] > 0).all()


class SharpnessAware(torch.optim.SGD):
    """Perturbs the weights, has the closure called with those, and steps from where it was (SAM)."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        assert closure is not None
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["old"] = p.detach().clone()
                p.data.add_(0.2)
        with torch.enable_grad():
            loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                p.data.copy_(self.state[p]["old"])
                p.data.add_(p.grad, alpha=-group["lr"])
        return loss


def test_an_update_is_from_where_the_step_began(watched: Watched) -> None:
    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = SharpnessAware(model.parameters(), lr=0.1)
        attach(model, optimizer)

        for _ in range(5):
            optimizer.step(closing(model, optimizer))
        return model, []

    _, run = watched(loop, every=1)
    # At the first step nobody knows yet which parameters the gradient will reach.
    np.testing.assert_allclose(
        run.parameter_columns["update_norm"][1:], 0.1 * run.parameter_columns["grad_norm"][1:], rtol=1e-2
    )
