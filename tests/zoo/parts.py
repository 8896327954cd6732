"""The plain building blocks of the zoo's own networks."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.tasks import CLASSES

Module = Callable[[], nn.Module]


def scaled(layer: nn.Module, gain: float | None) -> nn.Module:
    """Weights with n_in Var W = gain^2 and biases of zero; as torch makes them if there is no gain."""
    if gain is not None:
        fan_in = layer.weight[0].numel()
        nn.init.normal_(layer.weight, std=gain * fan_in**-0.5)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return layer


def mlp(
    act: Module, depth: int, width: int = 64, gain: float | None = None, norm: Callable[[int], nn.Module] | None = None
) -> nn.Sequential:
    """``depth`` layers and a head."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [scaled(nn.Linear(width, width), gain), *([norm(width)] if norm else []), act()]
    return nn.Sequential(*layers, nn.Linear(width, CLASSES))


def book(sizes: list[int]) -> nn.Sequential:
    """Sigmoid layers with the book's weights: variance 1/n_in, biases of variance 1."""
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(sizes):
        linear = nn.Linear(n_in, n_out)
        nn.init.normal_(linear.weight, std=n_in**-0.5)
        nn.init.normal_(linear.bias)
        layers += [linear, nn.Sigmoid()]
    return nn.Sequential(*layers)


def cnn(
    act: Module, depth: int, width: int = 16, gain: float | None = None, norm: Callable[[int], nn.Module] | None = None
) -> nn.Sequential:
    """3x3 convolutions, average pooling, a head."""
    layers: list[nn.Module] = []
    for channels in [3] + [width] * (depth - 1):
        layers += [scaled(nn.Conv2d(channels, width, 3, padding=1), gain), *([norm(width)] if norm else []), act()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, CLASSES))


class Residual(nn.Module):
    """x + factor * branch(norm(x)), or with the norm behind."""

    def __init__(self, branch: nn.Module, norm: nn.Module | None = None, factor: object = 1.0, post: bool = False):
        super().__init__()
        self.branch, self.norm, self.factor, self.post = branch, norm or nn.Identity(), factor, post
        if isinstance(factor, Tensor):
            self.factor = nn.Parameter(factor)

    def forward(self, x: Tensor) -> Tensor:
        if self.post:
            return self.norm(x + self.factor * self.branch(x))
        return x + self.factor * self.branch(self.norm(x))


class Attention(nn.Module):
    """Self-attention, written out."""

    def __init__(self, width: int, heads: int = 2, causal: bool = False):
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads, self.causal = heads, causal

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(y.transpose(1, 2).flatten(-2))


class Transformer(nn.Module):
    """Token embeddings, blocks of attention and feed-forward, a class for the sequence.

    ``style`` is one of pre, post, bare (residual without norm) and chain (neither).
    """

    def __init__(
        self, depth: int = 4, width: int = 32, style: str = "pre", act: Module = nn.GELU, gain: float | None = None
    ):
        super().__init__()
        self.embed, self.place = nn.Embedding(32, width), nn.Parameter(0.02 * torch.randn(16, width))
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            feed = nn.Sequential(
                scaled(nn.Linear(width, 2 * width), gain), act(), scaled(nn.Linear(2 * width, width), gain)
            )
            self.blocks.append(
                nn.Sequential(self._wrap(Attention(width), width, style), self._wrap(feed, width, style))
            )
        self.norm = nn.LayerNorm(width) if style in ("pre", "post") else nn.Identity()
        self.head = nn.Linear(width, CLASSES)

    @staticmethod
    def _wrap(branch: nn.Module, width: int, style: str) -> nn.Module:
        if style == "chain":
            return branch
        return Residual(branch, nn.LayerNorm(width) if style != "bare" else None, post=style == "post")

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x) + self.place
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


class Recurrent(nn.Module):
    """A recurrent layer under a head on its last output, or on all of them."""

    def __init__(self, cell: type[nn.RNNBase], radius: float | None = None, every: bool = False, **options: object):
        super().__init__()
        self.rnn, self.every = cell(8, 32, batch_first=True, **options), every
        self.head = nn.Linear(32, CLASSES)
        if radius is not None:
            nn.init.orthogonal_(self.rnn.weight_hh_l0, radius)
            nn.init.zeros_(self.rnn.bias_hh_l0)
            nn.init.zeros_(self.rnn.bias_ih_l0)

    def forward(self, x: Tensor) -> Tensor:
        out = self.rnn(x)[0]
        return self.head(out).mean(1) if self.every else self.head(out[:, -1])


class Around(nn.Module):
    """A deep branch and a way around it: the bottleneck of a U-Net."""

    def __init__(self, stem: nn.Module, branch: nn.Module, head: nn.Module):
        super().__init__()
        self.stem, self.branch, self.head = stem, branch, head

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(torch.cat([x, self.branch(x)], 1))
