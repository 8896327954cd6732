"""UT503, UT504 and UT507: losses that are given the wrong thing, and healthy ones like them."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from rules.fitting import (
    Attends,
    Examples,
    adam,
    alarms,
    batch,
    classified,
    mlp,
    regressed,
    watched_alarms,
)

pytestmark = pytest.mark.filterwarnings("ignore:Using a target size")  # torch's own hint, at some losses

EXAMPLES = Examples()
fires, silent = EXAMPLES.fires, EXAMPLES.silent


@fires("UT503")
def softmax_cross_entropy():
    return classified(nn.Softmax(-1), nn.CrossEntropyLoss())


@fires("UT503")
def softmax_smoothed_cross_entropy():
    return classified(lambda z: z.softmax(1), nn.CrossEntropyLoss(label_smoothing=0.1, reduction="sum"))


@fires("UT503")
def softmax_functional_nll():
    return classified(lambda z: z.softmax(1), lambda p, y: functional.nll_loss(functional.log_softmax(p, 1), y))


@fires("UT503")
def sigmoid_cross_entropy():
    return classified(torch.sigmoid, nn.CrossEntropyLoss())


@fires("UT503")
def sigmoid_bce_with_logits():
    return classified(torch.sigmoid, nn.BCEWithLogitsLoss(), labels=lambda y: functional.one_hot(y, 4).float())


@fires("UT503")
def sigmoid_twice_bce():
    return classified(
        torch.sigmoid,
        lambda p, y: functional.binary_cross_entropy(torch.sigmoid(p), y),
        labels=lambda y: functional.one_hot(y, 4).float(),
    )


@fires("UT503")
def softmax_categorical():
    return classified(
        nn.Softmax(-1), lambda p, y: -torch.distributions.Categorical(logits=p, validate_args=False).log_prob(y).mean()
    )


@fires("UT503")
def softmax_soft_targets():
    return classified(nn.Softmax(-1), nn.CrossEntropyLoss(), labels=lambda y: functional.one_hot(y, 4) * 0.9 + 0.025)


@fires("UT503")
def softmax_segmentation():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1), nn.Softmax2d())
    x, y = torch.randn(4, 1, 8, 8), torch.randint(0, 3, (4, 8, 8))
    return model, lambda: functional.cross_entropy(model(x), y), adam(model)


@fires("UT503")
def softmax_of_one_unit_bce():
    return classified(
        nn.Softmax(1), lambda p, y: functional.binary_cross_entropy(p[:, 0], y), n_out=1, labels=lambda y: y.float()
    )


@fires("UT503")
def log_softmax_of_one_unit():
    return classified(lambda z: z, nn.CrossEntropyLoss(), n_out=1, labels=lambda y: y * 0)


@fires("UT503")
def softmax_nll():
    return classified(nn.Softmax(-1), nn.NLLLoss())


@fires("UT503")
def bare_output_nll():
    return classified(lambda z: z, nn.NLLLoss())


@fires("UT503")
def relu_cross_entropy():
    return classified(torch.relu, nn.CrossEntropyLoss())


@silent("UT503")
def log_softmax_nll():
    return classified(nn.LogSoftmax(-1), nn.NLLLoss())


@silent("UT503")
def averaged_maps():
    torch.manual_seed(0)
    body = nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    model, x, y = nn.Sequential(*body), torch.randn(8, 1, 6, 6), torch.randint(0, 4, (8,))
    return model, lambda: functional.cross_entropy(model(x), y), adam(model)


@silent("UT503")
def plain_cross_entropy():
    return classified(lambda z: z, nn.CrossEntropyLoss())


@silent("UT503")
def log_softmax_twice():
    return classified(nn.LogSoftmax(-1), nn.CrossEntropyLoss())


@silent("UT503")
def log_of_softmax():
    return classified(nn.Softmax(-1), lambda p, y: functional.nll_loss(p.log(), y))


@silent("UT503")
def distillation():
    teacher = mlp()
    x, _ = batch()
    soft = teacher(x).softmax(-1).detach()
    return classified(lambda z: z.log_softmax(-1), lambda p, _: functional.kl_div(p, soft, reduction="batchmean"))


@silent("UT503")
def scaled_probabilities():
    return classified(lambda z: 30 * torch.tanh(z / 30), nn.CrossEntropyLoss())


@silent("UT503")
@silent("UT109")
@silent("UT506")
def attention_by_hand():
    model, x = Attends(), torch.randn(8, 5, 6)
    y = torch.randint(0, 6, (8,))
    return model, lambda: functional.cross_entropy(model(x), y), adam(model)


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


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.a, self.b = nn.Sequential(nn.Linear(6, 16), nn.Tanh()), nn.Linear(16, 4), nn.Linear(16, 3)

    def forward(self, x):
        h = self.body(x)
        return self.a(h), self.b(h)


def two(combine):
    model, (x, y) = Two(), batch()
    t = torch.randn(12, 3, generator=torch.Generator().manual_seed(4))

    def loss():
        a, b = model(x)
        return combine(SimpleNamespace(c=functional.cross_entropy(a, y), m=functional.mse_loss(b, t), b=b, t=t))

    return model, loss, adam(model)


fires("UT507")(lambda: two(lambda s: s.c + 1e4 * s.m))
fires("UT507")(lambda: two(lambda s: functional.mse_loss(s.b * 100, s.t * 1e4) + s.c))
fires("UT507")(lambda: two(lambda s: sum([s.c, (s.b - 1e4 * s.t).square().sum()])))
fires("UT507")(lambda: two(lambda s: torch.stack([s.c, 1e5 * s.m]).sum()))
fires("UT507")(lambda: two(lambda s: 0.5 * (s.c + 1e4 * s.m)))
fires("UT507")(lambda: two(lambda s: 1e-6 * (s.c + 1e4 * s.m)))
fires("UT507")(lambda: two(lambda s: (s.c + 1e4 * s.m) / 8))
silent("UT507")(lambda: two(lambda s: s.c + s.m))
silent("UT507")(lambda: two(lambda s: 1e-6 * (s.c + 10 * s.m)))
silent("UT507")(lambda: two(lambda s: s.c + 1e-4 * s.m))
silent("UT507")(lambda: two(lambda s: s.c + 10 * s.m))
silent("UT507")(lambda: two(lambda s: s.c + 0 * s.m))


def penalised(norm, weight, optimizer=adam):
    model, (x, y) = mlp(), batch()
    penalty = lambda: sum(p.norm(norm) ** norm for p in model.parameters())  # noqa: E731
    return model, lambda: functional.cross_entropy(model(x), y) + weight * penalty(), optimizer(model)


fires("UT507")(lambda: penalised(1, 30.0))
fires("UT507")(lambda: penalised(2, 300.0))
silent("UT507")(lambda: penalised(1, 1e-4))
silent("UT507")(lambda: penalised(2, 1e-2))


@silent("UT507")
def weight_penalty():
    model, (x, y) = mlp(), batch()
    penalty = lambda: sum(p.square().sum() for p in model.parameters())  # noqa: E731  # short
    return model, lambda: functional.cross_entropy(model(x), y) + 1e-5 * penalty(), adam(model)


class Variational(nn.Module):
    def __init__(self, latent=4):
        super().__init__()
        torch.manual_seed(0)
        self.encode, self.decode, self.latent = mlp(64, 2 * latent, width=32), mlp(latent, 64, width=32), latent

    def forward(self, x):
        mean, log_var = self.encode(x).chunk(2, 1)
        z = mean + torch.randn_like(mean) * (log_var / 2).exp()
        return self.decode(z), mean, log_var


def variational(per_element):
    model, x = Variational(), torch.rand(64, 64, generator=torch.Generator().manual_seed(5))

    def loss():
        out, mean, log_var = model(x)
        kl = -0.5 * (1 + log_var - mean**2 - log_var.exp())
        if per_element == "reconstruction":
            return functional.mse_loss(out, x) + kl.sum()
        reconstruction = functional.mse_loss(out, x, reduction="sum")
        return reconstruction + kl.mean() if per_element == "divergence" else (reconstruction + kl.sum()) / len(x)

    return model, loss, adam(model)


silent("UT507")(lambda: variational("neither"))
fires("UT507")(lambda: variational("reconstruction"))
fires("UT507")(lambda: variational("divergence"))

CASES = EXAMPLES.by_code


@pytest.mark.parametrize(("code", "build"), EXAMPLES.all(0))
def test_fires(code, build):
    assert code in alarms(build)


@pytest.mark.parametrize(("code", "build"), EXAMPLES.all(1))
def test_stays_silent(code, build):
    assert code not in alarms(build)


WATCHED = [(code, build) for code, build in EXAMPLES.all(0)[::4] if build is not entropy_by_hand]
"""Shapes of targets examinations know alone."""


@pytest.mark.parametrize(("code", "build"), WATCHED)
def test_fires_in_a_watched_run(code, build):
    assert code in watched_alarms(build)


@pytest.mark.parametrize(("code", "build"), EXAMPLES.all(1)[::4])
def test_stays_silent_in_a_watched_run(code, build):
    assert code not in watched_alarms(build)
