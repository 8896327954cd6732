"""A loss that ended in inf or nan, told from one that came back."""

import numpy as np
import pytest

from undertow.render.loss_end import LossEnd


@pytest.mark.parametrize(
    ("loss", "nonfinite", "skipped", "lost"),
    [
        ([2.0, np.nan], [0, 0], [0, 0], False),  # nobody noted a loss there
        ([2.0, np.nan], [0, 1], [0, 0], True),
        ([2.0, np.inf], [0, 0], [0, 0], True),
        ([2.0, np.nan], [0, 1], [0, 1], False),  # a loss scaler's ordinary work
        ([np.nan, 2.0], [1, 0], [0, 0], False),  # it came back
    ],
)
def test_what_is_called_diverged(loss, nonfinite, skipped, lost):
    end = LossEnd()
    end.add({name: np.array(values, float) for name, values in
             {"step": [0, 1], "loss": loss, "nonfinite": nonfinite, "skipped": skipped}.items()})  # fmt: skip
    assert end.lost is lost
    assert bool(end.sentence) is lost
