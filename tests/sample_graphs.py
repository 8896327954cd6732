"""Small networks of every kind of graph, in float64: name -> () -> (model, compute_loss)."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from undertow.tape import Tape


class Scale(torch.autograd.Function):
    @staticmethod
    def forward(_ctx, x):
        return 3 * x

    @staticmethod
    def backward(_ctx, g):
        return 3 * g


class Residual(nn.Module):
    def __init__(self, branch, norm=None):
        super().__init__()
        self.branch, self.norm = branch, norm or nn.Identity()

    def forward(self, x):
        return x + self.branch(self.norm(x))


class Dense(nn.Module):
    """DenseNet-like: every layer sees all before it."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6 + 4 * i, 4) for i in range(4))
        self.head = nn.Linear(22, 3)

    def forward(self, x):
        for layer in self.layers:
            x = torch.cat([x, torch.relu(layer(x))], 1)
        return self.head(x)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.middle = nn.Conv2d(8, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, x):
        a = functional.silu(self.stem(x))
        b = torch.sigmoid(self.middle(functional.silu(self.down(a))))
        return self.head(torch.cat([a, self.up(b)], 1))


class Mixture(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.gate = nn.Linear(5, 5), nn.Linear(5, 3)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.Linear(8, 5)) for _ in range(3))

    def forward(self, x):
        x = self.stem(x)
        weight, chosen = self.gate(x).softmax(-1).topk(2)
        out = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            rows, slot = (chosen == number).nonzero(as_tuple=True)
            out = out.index_add(0, rows, expert(x[rows]) * weight[rows, slot, None])
        return out


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.rnn = kind(3, 4, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


class EncoderDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(11, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
        self.decoder = nn.TransformerDecoderLayer(8, 2, 16, 0.0, batch_first=True, norm_first=True)

    def forward(self, x):
        there = self.encoder(self.words(x))
        here = self.decoder(self.words(x.flip(1)), there)
        return here @ self.words.weight.t()  # tied


class Attention(nn.Module):
    def __init__(self, need_weights):
        super().__init__()
        self.need_weights = need_weights
        self.stem, self.mha = nn.Linear(4, 8), nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        h = self.stem(x)
        return self.mha(h, h, h, need_weights=self.need_weights)[0]


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(torch.tanh(self.layer(x)))


class Functional(nn.Module):
    """Functional, in place, custom, complex, and powers of one tensor."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 6)

    def forward(self, x):
        h = self.first(x)
        h = functional.relu(h, inplace=True) + 0.1
        h = Scale.apply(h) * h
        h = self.second(h).mul_(0.5).sigmoid_()
        h = torch.fft.fft(h).abs()
        h = torch.where(h > 0.5, h, h**2)
        h[:, 0] = h[:, 1] * 2
        return h


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.reentrant = reentrant
        self.stem = nn.Linear(4, 4)
        self.body = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Sigmoid(), nn.Linear(4, 4))
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        h = checkpoint(self.body, self.stem(x), use_reentrant=self.reentrant)
        return self.head(h)


def chain(act, widths=(6, 5, 4, 3)):
    layers = [nn.Sequential(nn.Linear(a, b), act()) for a, b in itertools.pairwise(widths)]
    return nn.Sequential(*layers)


def conv_net():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        Residual(nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.GroupNorm(2, 4)), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 2),
    )  # fmt: skip


def pre_norm():
    return nn.Sequential(
        nn.Linear(5, 8), *(Residual(chain(nn.GELU, (8, 16, 8)), nn.LayerNorm(8)) for _ in range(3)), nn.Linear(8, 2)
    )


def frozen():
    net = chain(nn.Tanh)
    net[0].requires_grad_(False)
    net[1][0].weight.requires_grad_(False)
    return net


def weight_normed():
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.utils.parametrizations.weight_norm(nn.Linear(5, 3)))


NETS = {
    "sigmoid chain": (lambda: chain(nn.Sigmoid), (7, 6)),
    "tanh chain": (lambda: chain(nn.Tanh), (7, 6)),
    "relu chain": (lambda: chain(nn.ReLU), (7, 6)),
    "leaky chain": (lambda: chain(nn.LeakyReLU), (7, 6)),
    "selu chain": (lambda: chain(nn.SELU), (7, 6)),
    "positions": (lambda: chain(nn.Softplus), (3, 5, 6)),
    "pre-norm": (pre_norm, (7, 5)),
    "conv": (conv_net, (3, 2, 9, 9)),
    "dense": (Dense, (7, 6)),
    "u-net": (UNet, (2, 2, 6, 6)),
    "mixture": (Mixture, (9, 5)),
    "rnn": (lambda: Recurrent(nn.RNN), (3, 5, 3)),
    "lstm": (lambda: Recurrent(nn.LSTM), (3, 5, 3)),
    "gru": (lambda: Recurrent(nn.GRU), (3, 5, 3)),
    "encoder-decoder": (EncoderDecoder, None),
    "attention": (lambda: Attention(False), (2, 5, 4)),
    "attention with weights": (lambda: Attention(True), (2, 5, 4)),
    "shared": (Shared, (6, 4)),
    "functional": (Functional, (6, 4)),
    "checkpoint": (lambda: Checkpointed(False), (6, 4)),
    "reentrant checkpoint": (lambda: Checkpointed(True), (6, 4)),
    "frozen": (frozen, (7, 6)),
    "weight norm": (weight_normed, (6, 4)),
}


def build(name, seed=0, dtype=torch.float64):
    """(model, compute_loss) of one of `NETS`."""
    torch.manual_seed(seed)
    make, shape = NETS[name]
    model = make().to(dtype)
    x = torch.randint(0, 11, (2, 5)) if shape is None else torch.randn(shape, dtype=dtype)
    target = torch.randn_like(model(x))
    return model, lambda: functional.mse_loss(model(x), target)


def run_of(model, compute_loss, **options):
    """The Run of one examined backward pass."""
    with Tape(model, **options) as tape:
        loss = compute_loss()
        tape.attach(loss)
        loss.backward()
        return tape.run()


@pytest.fixture(params=NETS)
def net(request):
    return build(request.param)


@pytest.fixture
def nets():
    return build
