"""What is known of a training's data."""

import torch

from undertow.remedies.misplaced import target_of


def test_weights_of_examples_are_no_targets():
    x, y = torch.ones(4, 2), torch.arange(4.0)
    assert target_of((x, y, torch.ones(4))) is y
    assert target_of((x, y, torch.tensor([True, True, False, True]))) is y
    assert target_of((x, torch.zeros(4))) is not None
    assert target_of((x, torch.ones(3))) is None
