"""UT507: losses one of whose terms drowns another, and sums that are well balanced."""

from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional

from rules.fitting import (  # noqa: F401
    Examples,
    adam,
    batch,
    mlp,
    test_fires,
    test_fires_in_a_watched_run,
    test_stays_silent,
    test_stays_silent_in_a_watched_run,
)

EXAMPLES = Examples()
fires, silent = EXAMPLES.fires, EXAMPLES.silent


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
fires("UT507")(lambda: penalised(1, 0.3))
fires("UT507")(lambda: penalised(2, 1.0, optimizer=lambda model: torch.optim.SGD(model.parameters(), 0.05)))
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
