"""What a step's losses were divided by, whoever divides them: the loss noted is the step's mean."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from watching.loops import Left, sgd
from watching.training import Attach, Watched, loss_of, net


def divided(loss: Tensor, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Return one loss as people hand it to autograd where a step has four passes of four examples."""
    added = nn.functional.cross_entropy(model(x), y, reduction="sum")
    return {
        "by /": loss / 4,
        "by *": loss * 0.25,
        "by nobody": loss,
        "by a wrapper's 1, too": loss / 4 / 1,
        "by *, scaled and by a wrapper's 1": torch.tensor(1.0) * (loss * 0.25 / 1),
        "and copied": (loss / 4).double(),
        "a mean by hand": added / 4,
        "a mean by hand, divided": added / 4 / 4,
        "by all examples of the step": added / 16,
        "by all values of the step": (model(x) * y[:, None]).sum() / 16,
        "a part of it": 0.1 * loss,
        "in two roots": loss / 4,
    }


HANDED = [*divided(torch.ones(()), nn.Linear(1, 1), torch.ones(1, 1), torch.zeros(1, dtype=torch.int64))]


@pytest.mark.parametrize("how", HANDED)
def test_under_accumulation_the_loss_is_the_steps_mean(how: str, watched: Watched) -> None:
    """Whoever divides losses, in one place or in two; also at the end of the data, where a step has fewer passes."""
    kept: list[float] = []

    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = sgd(model)
        attach(model, optimizer)
        for passes in [4] * 4 + [2] * ("all" not in how):
            optimizer.zero_grad()
            losses = []
            for _ in range(passes):
                x, y = torch.randn(4, 8), torch.randint(3, (4,))
                loss = nn.functional.cross_entropy(model(x), y)
                handed = divided(loss, model, x, y)[how]
                losses.append({"by all values of the step": 4 * handed, "a part of it": handed}.get(how, loss).item())
                torch.autograd.backward([handed / 2, handed / 2] if how == "in two roots" else handed)
            kept.append(float(np.mean(losses)))
            optimizer.step()
        return model, []

    every = 3 if how == "by /" else 1  # which has light steps, too
    _, run = watched(loop, every=every, overhead=1.0)
    at = run.scalars["step"].astype(int)
    np.testing.assert_allclose(run.scalars["loss"], np.array(kept)[at], rtol=1e-5)


@pytest.mark.parametrize("parts", [True, False])
def test_who_knows_says_whether_the_losses_of_a_step_add_up(parts: bool, watched: Watched) -> None:
    """Divided by a tensor, multiplied once more and scaled: nothing tells by what a trainer has divided its losses."""
    kept: list[float] = []

    def loop(attach: Attach) -> Left:
        model = net()
        optimizer = sgd(model)
        attach(model, optimizer, loss_parts=parts)
        for _ in range(4):
            optimizer.zero_grad()
            for _ in range(4):
                loss = loss_of(model) / torch.tensor(4.0) * 1 / 1
                kept.append(loss.item())
                loss.backward()
            optimizer.step()
        return model, []

    _, run = watched(loop, every=1)
    expected = np.reshape(kept, (4, 4)).sum(1) if parts else np.reshape(kept, (4, 4)).mean(1)
    np.testing.assert_allclose(run.scalars["loss"], expected, rtol=1e-5)
