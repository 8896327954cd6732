"""Norms of gradients, before and behind whoever changes them."""

import numpy as np
import pytest
import torch
from torch import nn

from undertow.watching.step_facts import norms, send_named
from watching import loops
from watching.loops import Left, sgd, train
from watching.training import Attach, Watched, events, loss_of, net, total


def test_clipping_is_recorded_before_and_after(watched: Watched) -> None:
    seen: list[tuple[float, float]] = []

    def loop(attach: Attach) -> Left:
        model = net()

        def clip(model: nn.Module) -> None:
            before = float(nn.utils.clip_grad_norm_(model.parameters(), 0.05))
            seen.append((before, total([p.grad for p in model.parameters()])))

        return train(attach, model, sgd(model), before_step=clip)

    for every in (1, 100):  # taped, and merely noted
        seen.clear()
        _, run = watched(loop, every=every, overhead=1.0)
        at = run.scalars["step"].astype(int)
        np.testing.assert_allclose(run.scalars["grad_norm_unclipped"], np.array(seen)[at, 0], rtol=1e-5)
        np.testing.assert_allclose(run.scalars["grad_norm"], np.array(seen)[at, 1], rtol=1e-5)
        assert (run.scalars["grad_norm"] < 0.051).all()


def test_clipping_that_nobody_hears_of_is_known_on_taped_steps(watched: Watched) -> None:
    _, run = watched(loops.clipping_by_value, every=2, overhead=1.0)
    taped = np.isin(run.scalars["step"], run.steps["step"])
    assert (run.scalars["grad_norm_unclipped"][taped] > 1.2 * run.scalars["grad_norm"][taped]).all()
    assert np.isnan(run.scalars["grad_norm_unclipped"][~taped]).all()


@pytest.mark.parametrize("size", [1e-30, 1e25])
def test_gradients_that_float32_cannot_square_have_their_norms_nevertheless(size: float, watched: Watched) -> None:
    """As soon as the first look's numbers have arrived; and until then nobody says that they aren't finite."""
    true: list[float] = []

    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        watcher = attach(model, optimizer)
        for _ in range(5):
            optimizer.zero_grad()
            (size * loss_of(model)).backward()
            true.append(total([p.grad for p in model.parameters() if p.grad is not None]))
            optimizer.step()
            watcher.flush()
        return model, []

    _, run = watched(loop, every=1)
    np.testing.assert_allclose(run.scalars["grad_norm"][2:], true[2:], rtol=1e-5)
    first = next(site.index for site in reversed(run.sites) if site.parameters)
    assert np.isfinite(np.log(run.columns["learning_speed"][2:, first])).all()
    assert run.scalars["nonfinite"].tolist()[2:] == [0, 0, 0]
    assert not events(run, "nonfinite")


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64, torch.complex64])
def test_norms_on_the_host_are_right_at_once_in_every_range(size: float, dtype: torch.dtype) -> None:
    gradients = [torch.full((3, 4), size, dtype=dtype).T, torch.full((7,), size, dtype=dtype).to_sparse()]
    found = norms(gradients)
    assert found == pytest.approx([float(size * n**0.5) for n in (12, 7)], rel=5e-3)  # bfloat16 has three digits
    assert norms([torch.zeros(5, dtype=dtype)]) == [0.0]


def test_numbers_that_the_host_knows_keep_their_places_among_those_on_their_way() -> None:
    sent = send_named({"norms": [1.0, torch.tensor(2.0), 3.0], "none": [], "loss": [torch.tensor([4.0])]})
    assert sent() == {"norms": [1.0, 2.0, 3.0], "loss": [4.0]}
