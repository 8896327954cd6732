"""Passes that are not finite: they are examined all the same, and the operation to blame is named."""

import torch
from torch import nn
from torch.nn import functional

from undertow.examination import examine


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))


def blamed(compute_loss, model):
    found = [f for f in examine(model, compute_loss).findings if f.code == "UT103"]
    assert len(found) == 1
    return found[0]


def test_a_softmax_by_hand_that_overflows():
    """All shares are nan: the way to the front must still be found."""
    model, x = net(), torch.randn(16, 8)

    def compute_loss():
        e = (1e4 * model(x)).exp()
        return functional.nll_loss(e / e.sum(1, keepdim=True), torch.zeros(16, dtype=torch.long))

    assert "exp" in blamed(compute_loss, model).message


def test_nan_that_a_mask_let_through_is_the_softmaxs():
    model, x = net(), torch.randn(16, 8)
    hidden = torch.ones(16, 4, dtype=torch.bool)

    def compute_loss():
        return model(x).masked_fill(hidden, float("-inf")).softmax(1).mean()

    assert "softmax" in blamed(compute_loss, model).message


def test_where_is_not_blamed_for_what_sqrt_brings():
    model, x = net(), torch.randn(16, 8)

    def compute_loss():
        z = torch.relu(model(x))
        return torch.where(z > 0, z.sqrt(), z).mean()

    assert blamed(compute_loss, model).where == "sqrt"
