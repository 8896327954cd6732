"""What happens to numbers on the writer's thread."""

import warnings

import numpy as np
import torch
from torch import Tensor, nn

from watching.loops import Left, train
from watching.training import Attach, Watched


def test_a_descent_that_overflows_is_recorded_without_a_warning(watched: Watched) -> None:
    """<g, dw> is inf where neither gradient nor weights are: its share of the whole would be inf / inf."""

    def loop(attach: Attach) -> Left:
        model = nn.Linear(2, 1, bias=False)

        def compute(model: nn.Module) -> Tensor:
            return model(torch.full((1, 2), 1e17)).sum() * 100

        return train(attach, model, torch.optim.SGD(model.parameters(), lr=100.0), compute, steps=2)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, run = watched(loop, every=1)
    assert run.parameter_steps.tolist() == [0, 1]
    assert np.isnan(run.parameter_columns["progress"]).all()
    assert (run.parameter_columns["grad_norm"] > 1e19).all()
