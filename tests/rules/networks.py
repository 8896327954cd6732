"""Small networks with one fault each, and healthy ones that look like them; what rules of single steps are tested on.

A case is ``(model, compute_loss, optimizer)``, what `undertow.examine` takes.
"""

import torch
from torch import nn
from torch.nn import functional

from undertow.examination import examine


def chain(activation, depth, width=32, gain=1.0, seed=0, norm=None):
    """depth layers with n Var W = gain^2, and a head."""
    torch.manual_seed(seed)
    layers = []
    for _ in range(depth):
        linear = nn.Linear(width, width)
        nn.init.normal_(linear.weight, std=gain * width**-0.5)
        nn.init.zeros_(linear.bias)
        layers += [linear, *([norm(width)] if norm else []), activation()]
    return nn.Sequential(*layers, nn.Linear(width, 4))


def loss_of(model, rows=64, width=32, scale=1.0):
    generator = torch.Generator().manual_seed(5)
    x = scale * torch.randn(rows, width, generator=generator)
    y = torch.randint(0, 4, (rows,), generator=generator)
    return lambda: functional.cross_entropy(model(x), y)


def simple(model, **options):
    return model, loss_of(model, **options), None


def vanishing():
    return simple(chain(nn.Sigmoid, 6))


def he_relu():
    return simple(chain(nn.ReLU, 20, width=64, gain=2**0.5), width=64)


def twice_he():
    return simple(chain(nn.ReLU, 20, width=64, gain=8**0.5), width=64)


def batch_normed():
    return simple(chain(nn.ReLU, 12, norm=nn.BatchNorm1d, gain=2**0.5))


def log_of_zero():
    model = chain(nn.Tanh, 3)
    x = torch.randn(8, 32)
    return model, lambda: (model(x) * 0).log().sum(), None


def log_of_a_half():
    model = chain(nn.Tanh, 3)
    x = torch.randn(8, 32)
    return model, lambda: (model(x).square() + 0.5).log().sum(), None


def minus_infinity_mask():
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True)
    mask = nn.Transformer.generate_square_subsequent_mask(6)
    x = torch.randn(4, 6, 16)
    return model, lambda: model(x, src_mask=mask, is_causal=True).square().mean(), None


class Around(nn.Module):
    """A deep branch and a way around it, as in a U-Net."""

    def __init__(self, activation):
        super().__init__()
        self.stem, self.branch = nn.Linear(32, 32), chain(activation, 8)[:-1]
        self.head = nn.Linear(64, 4)

    def forward(self, x):
        x = self.stem(x)
        return self.head(torch.cat([x, self.branch(x)], 1))


class Zeroed(nn.Module):
    """Residual blocks whose branches end in zeros (or in a tiny factor), as good networks start."""

    def __init__(self, factor):
        super().__init__()
        self.stem = nn.Linear(32, 32)
        self.blocks = nn.ModuleList(chain(nn.GELU, 4)[:-1] for _ in range(4))
        self.scale = nn.Parameter(torch.full((4, 32), factor))
        self.head = nn.Linear(32, 4)

    def forward(self, x):
        x = self.stem(x)
        for block, scale in zip(self.blocks, self.scale, strict=True):
            x = x + scale * block(x)
        return self.head(x)


class Recurrent(nn.Module):
    def __init__(self, gain):
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.head = nn.RNN(8, 32, batch_first=True), nn.Linear(32, 4)
        nn.init.orthogonal_(self.rnn.weight_hh_l0, gain)
        nn.init.normal_(self.rnn.weight_ih_l0, std=0.02)

    def forward(self, x):
        return self.head(self.rnn(x)[0]).mean(1)


def recurrent(gain):
    model = Recurrent(gain)
    x = torch.randn(16, 20, 8)
    return model, lambda: model(x).square().mean(), None


def dead_relu():
    model = chain(nn.ReLU, 3)
    nn.init.constant_(model[2].bias, -20.0)
    return simple(model)


def constant_weights():
    model = chain(nn.Tanh, 3)
    nn.init.constant_(model[2].weight, 0.1)
    return simple(model)


def zero_head():
    model = chain(nn.Tanh, 4)
    nn.init.zeros_(model[-1].weight)
    return simple(model)


def with_optimizer(make):
    model = chain(nn.Tanh, 3)
    return model, loss_of(model), make(model.parameters())


def in_half(scale):
    model = chain(nn.ReLU, 3, gain=2**0.5).half()
    x = torch.randn(64, 32).half()
    return model, lambda: functional.cross_entropy(model(x), torch.zeros(64, dtype=torch.long)) * scale, None


def tiny_loss(epsilon):
    model = chain(nn.Tanh, 3)
    plain = loss_of(model)
    return model, lambda: 1e-6 * plain(), torch.optim.Adam(model.parameters(), eps=epsilon)


def detached():
    model = chain(nn.Tanh, 3)
    x = torch.randn(8, 32)
    return model, lambda: model[2:](model[:2](x).detach()).square().mean(), None


def frozen_on_purpose():
    model = chain(nn.Tanh, 3)
    model[0].requires_grad_(False)
    return simple(model)


def least_squares(solved):
    torch.manual_seed(0)
    x, y = torch.randn(200, 5), torch.randn(200, 8)
    model = nn.Linear(5, 8)
    if solved:
        with torch.no_grad():
            solution = torch.linalg.lstsq(torch.cat([x, torch.ones(200, 1)], 1), y).solution
            model.weight.copy_(solution[:5].T)
            model.bias.copy_(solution[5])
    return model, lambda: functional.mse_loss(model(x), y), None


def codes(case):
    """The codes of what `examine` finds."""
    return {finding.code for finding in examine(*case).findings}
