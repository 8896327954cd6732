"""Healthy networks of our own: each is seen to train, and no rule may call it ill."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Adam, AdamW

from zoo import tasks
from zoo.case import Case, Subject, seeded
from zoo.parts import Attention, Recurrent, Residual, Transformer, cnn, mlp, scaled
from zoo.tasks import CLASSES, classify

HE = 2**0.5
BOTH = ("start", "trained")
adam = partial(Adam, lr=2e-3)


def of(make: Callable[[], nn.Module], task: Callable[[], tasks.Batches], optimizer: Callable[..., object] = adam):
    """A build from its three parts."""

    def build(seed: int) -> Subject:
        seeded(seed)
        model = make()
        return Subject(model, classify(model, task()), optimizer(model.parameters()))

    return build


def residual_mlp(depth: int, factor: object = 1.0, zero: bool = False, norm=nn.LayerNorm, width: int = 64) -> nn.Module:
    blocks = []
    for _ in range(depth):
        branch = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        if zero:
            nn.init.zeros_(branch[-1].weight)
            nn.init.zeros_(branch[-1].bias)
        blocks.append(Residual(branch, norm(width), factor.clone() if isinstance(factor, Tensor) else factor))
    return nn.Sequential(nn.Linear(64, width), *blocks, nn.LayerNorm(width), nn.Linear(width, CLASSES))


def residual_cnn(depth: int, zero: bool = False, width: int = 16, norm=nn.BatchNorm2d) -> nn.Module:
    blocks = []
    for _ in range(depth):
        last = norm(width)
        if zero:
            nn.init.zeros_(last.weight)
        conv = partial(nn.Conv2d, width, width, 3, padding=1, bias=False)
        branch = nn.Sequential(conv(), norm(width), nn.ReLU(), conv(), last)
        blocks += [Residual(branch), nn.ReLU()]
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES)
    )


class Dense(nn.Module):
    """DenseNet-like: every layer sees all before it."""

    def __init__(self, layers: int = 6, growth: int = 8):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(3 + i * growth), nn.ReLU(), nn.Conv2d(3 + i * growth, growth, 3, padding=1))
            for i in range(layers)
        )
        self.head = nn.Linear(3 + layers * growth, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return self.head(x.mean((2, 3)))


class UNet(nn.Module):
    """Two levels down, two up, skips between."""

    def __init__(self, act: type[nn.Module] = nn.ReLU):
        super().__init__()
        block = lambda i, o: nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), act())  # noqa: E731  # short
        self.down1, self.down2, self.middle = block(3, 8), block(8, 16), nn.Sequential(block(16, 16), block(16, 16))
        self.up2, self.up1, self.out = block(32, 8), block(16, 8), nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down1(x)
        b = self.down2(functional.max_pool2d(a, 2))
        c = self.middle(functional.max_pool2d(b, 2))
        b = self.up2(torch.cat([functional.interpolate(c, scale_factor=2), b], 1))
        return self.out(self.up1(torch.cat([functional.interpolate(b, scale_factor=2), a], 1)))


def reconstructing(make: Callable[[], nn.Module], task: Callable[[], tasks.Batches], noise: float = 0.0):
    """A build that learns to give its input back."""

    def build(seed: int) -> Subject:
        seeded(seed)
        model, batches = make(), task()

        def compute_loss() -> Tensor:
            x = batches()[0]
            return functional.mse_loss(model(x + noise * torch.randn_like(x)), x)

        return Subject(model, compute_loss, adam(model.parameters()))

    return build


class Mixture(nn.Module):
    """Every expert for every row, weighted; and the two best alone if ``sparse``."""

    def __init__(self, sparse: bool = False, width: int = 32):
        super().__init__()
        self.stem, self.gate = nn.Linear(64, width), nn.Linear(width, 4)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)) for _ in range(4)
        )
        self.norm, self.head, self.sparse = nn.LayerNorm(width), nn.Linear(width, CLASSES), sparse

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        gate = self.gate(x).softmax(-1)
        if self.sparse:
            best = gate.topk(2).indices
            gate = gate * torch.zeros_like(gate).scatter(1, best, 1.0)
        mixed = torch.stack([e(x) for e in self.experts], 1)
        return self.head(self.norm(x + (gate[..., None] * mixed).sum(1)))


class Tied(nn.Module):
    """A language model whose head is its embedding."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.embed = nn.Embedding(32, width)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.blocks = nn.Sequential(*[Residual(Attention(width, causal=True), nn.LayerNorm(width)) for _ in range(3)])
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.blocks(self.embed(x))) @ self.embed.weight.T


def language(make: Callable[[], nn.Module]):
    def build(seed: int) -> Subject:
        seeded(seed)
        model, batches = make(), tasks.tokens()

        def compute_loss() -> Tensor:
            x = batches()[0]
            return functional.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())

        return Subject(model, compute_loss, adam(model.parameters()))

    return build


class Translator(nn.Module):
    """nn.Transformer, which must give back what it reads."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.embed = nn.Embedding(32, width)
        self.net = nn.Transformer(width, 2, 2, 2, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(width, 32)

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        e = self.embed(x)
        return self.head(self.net(e, e, tgt_mask=mask, tgt_is_causal=True))


def discriminator(seed: int) -> Subject:
    """Tells pictures from noise, as in a GAN."""
    seeded(seed)
    conv = partial(nn.Conv2d, kernel_size=4, stride=2, padding=1)
    act = partial(nn.LeakyReLU, 0.2)
    model = nn.Sequential(
        conv(3, 8), act(), conv(8, 16), nn.BatchNorm2d(16), act(), conv(16, 16), act(), nn.Flatten(), nn.Linear(64, 1)
    )
    batches = tasks.images()

    def compute_loss() -> Tensor:
        real = batches()[0]
        fake = torch.randn_like(real).cumsum(-1) * 0.3
        scores = model(torch.cat([real, fake]))
        truth = torch.cat([torch.ones(len(real), 1), torch.zeros(len(real), 1)])
        return functional.binary_cross_entropy_with_logits(scores, truth)

    return Subject(model, compute_loss, adam(model.parameters()))


def gan(seed: int) -> Subject:
    """A generator under a discriminator that stands still."""
    seeded(seed)
    generator = mlp(nn.ReLU, 3, gain=HE)[:-1].append(nn.Linear(64, 64))
    judge = mlp(nn.ReLU, 2, gain=HE).requires_grad_(False)
    model = nn.Sequential(generator, judge)
    x = torch.randn(64, 64)
    return Subject(model, lambda: functional.softplus(-model(x).mean(1)).mean(), adam(generator.parameters()))


def converged(seed: int) -> Subject:
    """A small regression, learned to the end."""
    seeded(seed)
    model, x = (
        nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 2)),
        torch.randn(128, 16),
    )
    y = 0.3 * x[:, :2]
    return Subject(model, lambda: functional.mse_loss(model(x), y), adam(model.parameters()))


def zero_head(model: nn.Module) -> nn.Module:
    head = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return model


def orthogonal(act: type[nn.Module], depth: int, gain: float) -> nn.Module:
    model = mlp(act, depth)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.orthogonal_(layer.weight, gain)
            nn.init.zeros_(layer.bias)
    return model


def selu() -> nn.Module:
    return mlp(nn.SELU, 12, gain=1.0)


def open_gates(model: Recurrent) -> Recurrent:
    """Forget biases of 1, as Jozefowicz et al. advise."""
    nn.init.ones_(model.rnn.bias_hh_l0[32:64].data)
    return model


def spectral(depth: int) -> nn.Module:
    parametrize = nn.utils.parametrizations.weight_norm
    return nn.Sequential(
        *[m for _ in range(depth) for m in (parametrize(scaled(nn.Linear(64, 64), HE)), nn.ReLU())],
        nn.Linear(64, CLASSES),
    )


def sinusoid() -> nn.Module:
    """SIREN, with its own initialisation."""

    class Sine(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sin(x)

    return mlp(Sine, 4, gain=2**0.5)


def multi_task(seed: int) -> Subject:
    """Two heads, two losses."""
    seeded(seed)
    trunk, a, b = mlp(nn.ReLU, 3, gain=HE)[:-1], nn.Linear(64, CLASSES), nn.Linear(64, 64)
    model, batches = nn.ModuleList([trunk, a, b]), tasks.vectors()

    def compute_loss() -> Tensor:
        x, y = batches()
        z = trunk(x)
        return functional.cross_entropy(a(z), y) + 0.1 * functional.mse_loss(b(z), x)

    return Subject(model, compute_loss, adam(model.parameters()))


def fine_tuned(seed: int) -> Subject:
    """A frozen trunk under a new head."""
    seeded(seed)
    trunk = mlp(nn.ReLU, 4, gain=HE)[:-1].requires_grad_(False)
    model = nn.Sequential(trunk, nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, CLASSES))
    return Subject(model, classify(model, tasks.vectors()), adam(p for p in model.parameters() if p.requires_grad))


class LowRank(nn.Module):
    """LoRA: a frozen matrix and a trained product beside it that starts at zero."""

    def __init__(self, width: int = 64, rank: int = 4):
        super().__init__()
        self.base = scaled(nn.Linear(width, width), HE).requires_grad_(False)
        self.down, self.up = nn.Linear(width, rank, bias=False), nn.Linear(rank, width, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x))


def lora() -> nn.Module:
    return nn.Sequential(*[m for _ in range(4) for m in (LowRank(), nn.ReLU())], nn.Linear(64, CLASSES))


class Mixer(nn.Module):
    """MLP-Mixer."""

    def __init__(self, depth: int = 3, width: int = 24):
        super().__init__()
        self.patch, self.head = nn.Conv2d(3, width, 4, 4), nn.Linear(width, CLASSES)
        feed = lambda n: nn.Sequential(nn.Linear(n, 2 * n), nn.GELU(), nn.Linear(2 * n, n))  # noqa: E731  # short
        self.across = nn.ModuleList(feed(16) for _ in range(depth))
        self.along = nn.ModuleList(Residual(feed(width), nn.LayerNorm(width)) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).mT
        for across, along in zip(self.across, self.along, strict=True):
            x = along(x + across(x.mT).mT)
        return self.head(x.mean(1))


sgd = partial(SGD, lr=0.05)
momentum = partial(SGD, lr=0.02, momentum=0.9)

TABLE = [
    ("E: ReLU 20x64, He", "mlp", of(lambda: mlp(nn.ReLU, 20, gain=HE), tasks.vectors, partial(Adam, lr=5e-4))),
    ("ReLU 3x64, torch default", "mlp", of(lambda: mlp(nn.ReLU, 3), tasks.vectors)),
    ("ReLU 10x64, He, SGD", "mlp", of(lambda: mlp(nn.ReLU, 10, gain=HE), tasks.vectors, partial(SGD, lr=0.05))),
    ("tanh 5x64, Glorot", "mlp", of(lambda: mlp(nn.Tanh, 5, gain=1.0), tasks.vectors)),
    ("tanh 20x64, orthogonal", "mlp", of(lambda: orthogonal(nn.Tanh, 20, 1.05), tasks.vectors, partial(Adam, lr=5e-4))),
    ("GELU 8x64, gain 1.5", "smooth-mlp", of(lambda: mlp(nn.GELU, 8, gain=1.5), tasks.vectors)),
    ("SiLU 6x64, gain 1.7", "smooth-mlp", of(lambda: mlp(nn.SiLU, 6, gain=1.7), tasks.vectors)),
    ("SELU 12x64, LeCun", "smooth-mlp", of(selu, tasks.vectors)),
    ("ELU 8x64, gain 1.2", "smooth-mlp", of(lambda: mlp(nn.ELU, 8, gain=1.2), tasks.vectors)),
    ("sine 4x64", "smooth-mlp", of(sinusoid, tasks.vectors)),
    ("sigmoid 1x64", "mlp", of(lambda: mlp(nn.Sigmoid, 1), tasks.vectors, partial(Adam, lr=1e-2))),
    ("ReLU 12x64, BatchNorm", "normed-mlp", of(lambda: mlp(nn.ReLU, 12, gain=HE, norm=nn.BatchNorm1d), tasks.vectors)),
    ("ReLU 20x64, BatchNorm", "normed-mlp", of(lambda: mlp(nn.ReLU, 20, norm=nn.BatchNorm1d), tasks.vectors)),
    ("ReLU 12x64, LayerNorm", "normed-mlp", of(lambda: mlp(nn.ReLU, 12, norm=nn.LayerNorm), tasks.vectors)),
    ("sigmoid 4x64, BatchNorm", "normed-mlp", of(lambda: mlp(nn.Sigmoid, 4, norm=nn.BatchNorm1d), tasks.vectors)),
    ("tanh 10x64, BatchNorm", "normed-mlp", of(lambda: mlp(nn.Tanh, 10, norm=nn.BatchNorm1d), tasks.vectors)),
    ("ReLU 6x64, weight norm", "normed-mlp", of(lambda: spectral(6), tasks.vectors)),
    ("residual 12, pre-norm", "residual-mlp", of(lambda: residual_mlp(12), tasks.vectors)),
    ("residual 12, zero-initialised", "residual-mlp", of(lambda: residual_mlp(12, zero=True), tasks.vectors)),
    ("residual 12, LayerScale 1e-6", "residual-mlp", of(lambda: residual_mlp(12, torch.full((64,), 1e-6)), tasks.vectors)),
    ("residual 12, ReZero", "residual-mlp", of(lambda: residual_mlp(12, torch.zeros(1)), tasks.vectors)),
    ("residual 30, 1/sqrt(depth)", "residual-mlp", of(lambda: residual_mlp(30, 30**-0.5), tasks.vectors)),
    ("residual 8, RMSNorm", "residual-mlp", of(lambda: residual_mlp(8, norm=nn.RMSNorm), tasks.vectors)),
    ("zero head, ReLU 5x64", "mlp", of(lambda: zero_head(mlp(nn.ReLU, 5, gain=HE)), tasks.vectors)),
    ("conv 4, He", "cnn", of(lambda: cnn(nn.ReLU, 4, gain=HE), tasks.images)),
    ("conv 10, He, fixup-free", "cnn", of(lambda: cnn(nn.ReLU, 10, gain=HE), tasks.images, partial(Adam, lr=1e-3))),
    ("conv 8, BatchNorm", "cnn", of(lambda: cnn(nn.ReLU, 8, norm=nn.BatchNorm2d), tasks.images)),
    ("conv 8, GroupNorm", "cnn", of(lambda: cnn(nn.ReLU, 8, norm=partial(nn.GroupNorm, 4)), tasks.images)),
    ("conv 16, BatchNorm", "cnn", of(lambda: cnn(nn.ReLU, 16, norm=nn.BatchNorm2d), tasks.images)),
    ("conv 3, tanh, SGD with momentum", "cnn", of(lambda: cnn(nn.Tanh, 3, gain=1.0), tasks.images, momentum)),
    ("residual conv 8", "residual-cnn", of(lambda: residual_cnn(8), tasks.images)),
    ("residual conv 8, zero-initialised", "residual-cnn", of(lambda: residual_cnn(8, zero=True), tasks.images)),
    ("residual conv 27 (ResNet-56)", "residual-cnn", of(lambda: residual_cnn(27, width=8), tasks.images)),
    ("DenseNet-like", "branched-cnn", of(Dense, tasks.images)),
    ("U-Net", "branched-cnn", reconstructing(UNet, tasks.images)),
    ("U-Net, denoising", "branched-cnn", reconstructing(UNet, tasks.images, noise=0.5)),
    ("autoencoder 64-32-8-32-64", "autoencoder", reconstructing(lambda: nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 64)), tasks.vectors)),
    ("GAN discriminator", "autoencoder", discriminator),
    ("GAN generator", "autoencoder", gan),
    ("two heads", "autoencoder", multi_task),
    ("mixture of experts", "mixture", of(Mixture, tasks.vectors)),
    ("mixture of experts, two of four", "mixture", of(partial(Mixture, sparse=True), tasks.vectors)),
    ("LSTM, last step", "gated-rnn", of(lambda: open_gates(Recurrent(nn.LSTM)), tasks.series)),
    ("LSTM, every step", "gated-rnn", of(lambda: Recurrent(nn.LSTM, every=True), tasks.series)),
    ("GRU", "gated-rnn", of(lambda: Recurrent(nn.GRU), tasks.series)),
    ("LSTM, two layers", "gated-rnn", of(lambda: Recurrent(nn.LSTM, num_layers=2, every=True), tasks.series)),
    ("GRU, both directions off, 3 layers", "gated-rnn", of(lambda: Recurrent(nn.GRU, num_layers=3, every=True), tasks.series)),
    ("tanh RNN, orthogonal", "rnn", of(lambda: Recurrent(nn.RNN, 1.0), partial(tasks.series, scale=0.2))),
    ("ReLU RNN, identity", "rnn", of(lambda: Recurrent(nn.RNN, 1.0, nonlinearity="relu"), partial(tasks.series, scale=0.2), partial(Adam, lr=5e-4))),
    ("tanh RNN, every step", "rnn", of(lambda: Recurrent(nn.RNN, 1.0, every=True), partial(tasks.series, scale=0.3))),
    ("pre-norm transformer", "transformer", of(Transformer, tasks.tokens)),
    ("pre-norm transformer, 10 blocks", "transformer", of(partial(Transformer, depth=10), tasks.tokens)),
    ("post-norm transformer", "transformer", of(partial(Transformer, style="post", depth=3), tasks.tokens)),
    ("transformer, zero head", "transformer", of(lambda: zero_head(Transformer()), tasks.tokens)),
    ("transformer, AdamW", "transformer", of(Transformer, tasks.tokens, partial(AdamW, lr=2e-3, weight_decay=0.1))),
    ("tied embeddings", "transformer", language(Tied)),
    ("nn.Transformer, encoder and decoder", "transformer", language(Translator)),
    ("MLP-Mixer", "mixture", of(Mixer, tasks.images)),
    ("fine-tuned head", "adapted", fine_tuned),
    ("LoRA", "adapted", of(lora, tasks.vectors)),
]  # fmt: skip

SLOW = {"autoencoder": 200, "adapted": 200, "cnn": 120}
CASES = [Case(name, family, build, steps=SLOW.get(family, 60), judged=BOTH) for name, family, build in TABLE]
CASES += [Case("converged regression", "mlp", converged, steps=1500, judged=BOTH)]
