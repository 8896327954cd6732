"""Networks of unseen patients, as others write them."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Convolved(nn.Module):
    """A small LeNet; it may end with a softmax."""

    def __init__(self, squashed: bool) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 12, 3)
        self.fc1, self.fc2, self.squashed = nn.Linear(48, 32), nn.Linear(32, 10), squashed

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = self.fc2(functional.relu(self.fc1(functional.relu(self.conv2(x)).flatten(1))))
        return functional.softmax(x, dim=-1) if self.squashed else x


class Attention(nn.Module):
    """Self-attention by hand."""

    def __init__(self, width: int, heads: int, scaled: bool, deviation: float) -> None:
        super().__init__()
        self.qkv, self.out, self.heads, self.scaled = (
            nn.Linear(width, 3 * width),
            nn.Linear(width, width),
            heads,
            scaled,
        )
        if deviation:
            nn.init.normal_(self.qkv.weight, std=deviation)

    def forward(self, x: Tensor) -> Tensor:
        many, length, width = x.shape
        q, k, v = self.qkv(x).reshape(many, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2)
        if self.scaled:
            scores = scores / math.sqrt(width // self.heads)
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(many, length, width))


class Block(nn.Module):
    """Attention and a network for each token, both behind a norm."""

    def __init__(self, width: int, heads: int, scaled: bool, deviation: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads, scaled, deviation)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Rows(nn.Module):
    """Rows of a digit as tokens, through two blocks."""

    def __init__(self, scaled: bool = True, deviation: float = 0.0) -> None:
        super().__init__()
        self.embed, self.place = nn.Linear(8, 24), nn.Parameter(torch.randn(1, 8, 24) * 0.2)
        self.blocks = nn.ModuleList([Block(24, 2, scaled, deviation) for _ in range(2)])
        self.norm, self.head = nn.LayerNorm(24), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x) + self.place
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


class GraphConvolution(nn.Module):
    """Features, averaged over neighbours, times a matrix."""

    def __init__(self, given: int, made: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(given, made)), nn.Parameter(torch.zeros(made))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Tensor, graph: Tensor) -> Tensor:
        return graph @ x @ self.weight + self.bias


class Graph(nn.Module):
    """Graph convolutions with ReLUs between them."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        hidden = [GraphConvolution(16, 16) for _ in range(depth - 2)]
        self.layers = nn.ModuleList([GraphConvolution(6, 16), *hidden, GraphConvolution(16, 3)])

    def forward(self, x: Tensor, graph: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = functional.relu(layer(x, graph))
        return self.layers[-1](x, graph)


class Bottle(nn.Module):
    """An autoencoder with an end of one's own."""

    def __init__(self, end: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 12))
        self.decoder = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 64), end())

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


class Regressor(nn.Module):
    """A number for each example, as a column or not."""

    def __init__(self, flat: bool) -> None:
        super().__init__()
        self.l1, self.l2, self.l3, self.flat = nn.Linear(2, 64), nn.Linear(64, 64), nn.Linear(64, 1), flat

    def forward(self, x: Tensor) -> Tensor:
        x = self.l3(torch.tanh(self.l2(torch.tanh(self.l1(x)))))
        return x.squeeze(-1) if self.flat else x


class InADict(nn.Module):
    """Hidden layers in a dict of some kind."""

    def __init__(self, kind: Callable[[dict[str, nn.Module]], Any]) -> None:
        super().__init__()
        self.layers, self.top = kind({"in": nn.Linear(64, 5), "mid": nn.Linear(5, 24)}), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.top(functional.elu(self.layers["mid"](functional.elu(self.layers["in"](x)))))


class BatchNormed(nn.Module):
    """Two hidden layers with BatchNorm."""

    def __init__(self, momentum: float = 0.1) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(64, 48), nn.Linear(48, 48), nn.Linear(48, 10)
        self.norm1, self.norm2 = (nn.BatchNorm1d(48, momentum=momentum) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.c(functional.relu(self.norm2(self.b(functional.relu(self.norm1(self.a(x)))))))


class Dropping(nn.Module):
    """Dropout by functions."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.a, self.b, self.c, self.p = nn.Linear(64, 48), nn.Linear(48, 48), nn.Linear(48, 10), p

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.a, self.b):
            x = functional.dropout(functional.relu(layer(x)), self.p, self.training)
        return self.c(x)
