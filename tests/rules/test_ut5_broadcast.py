"""UT504: outputs and targets that meet as a matrix, and pairwise losses that are meant to."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from rules.fitting import (  # noqa: F401
    Examples,
    adam,
    batch,
    mlp,
    regressed,
    test_fires,
    test_fires_in_a_watched_run,
    test_stays_silent,
    test_stays_silent_in_a_watched_run,
)

pytestmark = pytest.mark.filterwarnings("ignore:Using a target size")  # torch's own hint, at some losses

EXAMPLES = Examples()
fires, silent = EXAMPLES.fires, EXAMPLES.silent


for function in (functional.mse_loss, functional.l1_loss, functional.smooth_l1_loss, functional.huber_loss):
    fires("UT504")(lambda function=function: regressed(function))


@fires("UT504")
def squared_by_hand():
    return regressed(lambda o, y: ((o - y) ** 2).mean())


@fires("UT504")
def squared_the_other_way():
    return regressed(lambda o, y: (y - o).square().sum())


@fires("UT504")
def absolute_by_hand():
    return regressed(lambda o, y: (o - y).abs().mean())


@fires("UT504")
def log_cosh():
    return regressed(lambda o, y: (o - y).cosh().log().mean())


@fires("UT504")
def squeezed_output():
    return regressed(functional.mse_loss, shape=(12, 1), after=lambda z: z.squeeze(1))


@fires("UT504")
def images_without_channel():
    torch.manual_seed(0)
    model = nn.Conv2d(1, 1, 3, padding=1)
    x, y = torch.randn(4, 1, 6, 6), torch.randn(4, 6, 6)
    return model, lambda: functional.mse_loss(model(x), y), adam(model)


@fires("UT504")
def sequences_without_channel():
    torch.manual_seed(0)
    model = nn.Conv1d(2, 1, 3, padding=1)
    x, y = torch.randn(4, 2, 6), torch.randn(4, 6)
    return model, lambda: (model(x) - y).pow(2).mean(), adam(model)


@fires("UT504")
def entropy_by_hand():
    def loss(o, y):
        p, t = o.sigmoid(), (y > 0).float()
        return -(t * p.log() + (1 - t) * (1 - p).log()).mean()

    return regressed(loss)


@fires("UT504")
def values_with_gradient():
    model, (x, _) = mlp(n_out=2), batch()
    return model, lambda: functional.mse_loss(model(x)[:, :1], 0.5 * model(-x)[:, 1]), adam(model)


@silent("UT504")
def same_shapes():
    return regressed(functional.mse_loss, shape=(12, 1))


@silent("UT504")
def one_target_for_all():
    return regressed(functional.mse_loss, shape=(), n_out=1)


@silent("UT504")
def a_target_for_each_column():
    return regressed(lambda o, y: ((o - y) ** 2).mean(), shape=(4,), n_out=4)


@silent("UT504")
def pairwise_ranking():
    return regressed(lambda o, y: functional.softplus(-(o - o.T) * (y[:, None] - y[None])).mean())


@silent("UT504")
def squared_distances():
    return regressed(lambda o, y: ((o[:, None] - o[None]).square().sum(-1) - y[:, None]).mean(), n_out=3)


@silent("UT504")
def prototypes():
    points = torch.randn(5, 3)
    return regressed(lambda o, _: (o[:, None] - points[None]).square().sum(-1).min(1).values.mean(), n_out=3)


@silent("UT504")
def proportional_hazards():
    def loss(o, y):
        risk = (o.exp().T * (y[:, None] <= y[None])).sum(1)
        return (risk.log() - o[:, 0]).mean()

    return regressed(loss)


@silent("UT504")
def position_and_bias():
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 1))
    x, y, at = torch.randn(6, 5, 6), torch.randn(6, 5, 1), torch.randn(5, 6)
    return model, lambda: functional.mse_loss(model(x + at), y), adam(model)


CASES = EXAMPLES.by_code

EXAMPLES.unwatched = {entropy_by_hand}  # only an examination knows the shapes of targets
