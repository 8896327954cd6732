"""UT705: outputs that their last operation keeps from the targets."""

import torch
from torch import nn
from torch.nn import functional

from rules.fitting import (  # noqa: F401
    Examples,
    regressed,
    test_fires,
    test_stays_silent,
)

EXAMPLES = Examples()
fires, silent = EXAMPLES.fires, EXAMPLES.silent


def reaching(after, targets, loss=functional.mse_loss):
    return regressed(lambda o, y: loss(o, targets(y)), shape=(12, 1), after=after)


for after, targets in (
    (torch.relu, lambda y: y),
    (torch.sigmoid, lambda y: 5 + y),
    (nn.Sigmoid(), lambda y: y),
    (torch.tanh, lambda y: 3 * y),
    (lambda z: z.clamp(0, 1), lambda y: 2 * y),
    (nn.Hardtanh(), lambda y: 10 * y),
    (nn.ReLU6(), lambda y: 20 + y),
    (functional.softplus, lambda y: y),
    (torch.exp, lambda y: y - 1),
    (functional.elu, lambda y: 4 * y),
    (torch.square, lambda y: y),
    (lambda z: torch.cat([z, -z], 1).softmax(1)[:, :1], lambda y: 3 * y),
    (lambda z: torch.relu(z).squeeze(1).unsqueeze(1), lambda y: y - 2),
):
    fires("UT705")(lambda after=after, targets=targets: reaching(after, targets))

fires("UT705")(lambda: reaching(nn.BatchNorm1d(1, affine=False), lambda y: 20 + y))
silent("UT705")(lambda: reaching(nn.BatchNorm1d(1, affine=False), lambda y: y))
silent("UT705")(lambda: reaching(nn.BatchNorm1d(1), lambda y: 20 + y))
fires("UT705")(lambda: reaching(torch.relu, lambda y: y, functional.l1_loss))
fires("UT705")(lambda: reaching(torch.tanh, lambda y: 9 * y, functional.huber_loss))
fires("UT705")(lambda: reaching(torch.sigmoid, lambda y: 9 * y, lambda o, y: ((y - o) ** 2).mean()))

for after, targets in (
    (torch.relu, lambda y: y.abs()),
    (torch.sigmoid, lambda y: (y > 0).float()),
    (torch.tanh, lambda y: y.sign()),
    (lambda z: 5 * torch.sigmoid(z), lambda y: y.abs()),
    (lambda z: torch.sigmoid(z) - 0.5, lambda y: y),
    (lambda z: z, lambda y: 100 * y),
    (functional.leaky_relu, lambda y: y),
):
    silent("UT705")(lambda after=after, targets=targets: reaching(after, targets))


class States(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        torch.manual_seed(0)
        self.rnn = kind(6, 1 if "proj_size" not in options else 3, batch_first=True, **options)

    def forward(self, x):
        return self.rnn(x)[0][:, -1]


def stated(scale, kind, **options):
    model, g = States(kind, **options), torch.Generator().manual_seed(1)
    x, y = torch.randn(12, 5, 6, generator=g), scale * torch.randn(12, 1, generator=g).clamp(-3, 3)
    return model, lambda: functional.mse_loss(model(x), y), torch.optim.Adam(model.parameters())


for kind in (nn.LSTM, nn.GRU, nn.RNN):
    fires("UT705")(lambda kind=kind: stated(5, kind))
    silent("UT705")(lambda kind=kind: stated(0.3, kind))
silent("UT705")(lambda: stated(5, nn.LSTM, proj_size=1))

CASES = EXAMPLES.by_code
