"""What happens to numbers on the writer's thread."""

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from watching.loops import Left, train
from watching.training import Attach, Watched


@pytest.mark.parametrize(("dtype", "size", "progress"), [(torch.float32, 1e17, 1.0), (torch.float64, 1e160, np.nan)])
def test_a_descent_that_overflows_is_recorded_without_a_warning(
    watched: Watched, dtype: torch.dtype, size: float, progress: float
) -> None:
    """<g, dw> may be inf where neither gradient nor weights are: its share of the whole would be inf / inf.

    On the host it isn't where only float32 can't hold it.
    """

    def loop(attach: Attach) -> Left:
        model = nn.Linear(2, 1, bias=False, dtype=dtype)

        def compute(model: nn.Module) -> Tensor:
            return model(torch.full((1, 2), size, dtype=dtype)).sum() * 100

        return train(attach, model, torch.optim.SGD(model.parameters(), lr=100.0), compute, steps=2)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, run = watched(loop, every=1)
    assert run.parameter_steps.tolist() == [0, 1]
    np.testing.assert_array_equal(run.parameter_columns["progress"], [[progress], [progress]])
    assert (run.parameter_columns["grad_norm"] > 1e19).all()
