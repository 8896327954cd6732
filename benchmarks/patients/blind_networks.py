"""Networks of blind patients: convolutions, attention, recurrence, two players and graphs, as others write them."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Normed(nn.Module):
    """Two convolutions with a batch norm each."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.fc = nn.Linear(16 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 2)
        x = functional.max_pool2d(torch.relu(self.bn2(self.conv2(x))), 2)
        return self.fc(x.flatten(1))


def keras_like(act: Callable[[], nn.Module]) -> nn.Module:
    """A Sequential of convolutions, pools and dense layers with one activation everywhere."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), act(), nn.AvgPool2d(2), nn.Conv2d(8, 16, 3, padding=1), act(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(64, 48), act(), nn.Linear(48, 48), act(), nn.Linear(48, 10),
    )  # fmt: skip


class Transferred(nn.Module):
    """Features of few channels, and a classifier."""

    def __init__(self, frozen: bool) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 6, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.classifier = nn.Linear(6, 10)
        if frozen:
            for parameter in self.features.parameters():
                parameter.requires_grad = False

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


class Deep(nn.Module):
    """Ten convolutions in a row; the start is one for all."""

    def __init__(self, start: Callable[[Tensor], object]) -> None:
        super().__init__()
        sizes = [1, *[12] * 10]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(sizes))
        self.fc = nn.Linear(12 * 4, 10)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                start(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        for place, conv in enumerate(self.convs):
            x = functional.relu(conv(x))
            if place in (3, 6):
                x = functional.max_pool2d(x, 2)
        return self.fc(x.flatten(1))


class Dropped(nn.Module):
    """A small network for images with dropout of channels, that ends with log-probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 10, 3), nn.Conv2d(10, 20, 3)
        self.drop = nn.Dropout2d(0.2)
        self.fc1, self.fc2 = nn.Linear(80, 40), nn.Linear(40, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.conv1(x))
        x = functional.relu(functional.max_pool2d(self.drop(self.conv2(x)), 2))
        return functional.log_softmax(self.fc2(functional.relu(self.fc1(x.flatten(1)))), dim=1)


class SelfAttention(nn.Module):
    """Attention with three projections; the softmax goes along an axis that may be another than the keys'."""

    def __init__(self, width: int, heads: int, axis: int = -1) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.unify, self.heads, self.axis = nn.Linear(width, width), heads, axis

    def forward(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = (f(x).view(b, t, self.heads, -1).transpose(1, 2) for f in (self.query, self.key, self.value))
        weights = functional.softmax(q @ k.transpose(2, 3) / math.sqrt(d // self.heads), dim=self.axis)
        return self.unify((weights @ v).transpose(1, 2).reshape(b, t, d))


class OwnBlock(nn.Module):
    """Attention and feed-forward, the norm behind each sum or in front of each branch."""

    def __init__(self, width: int, heads: int, pre: bool, axis: int = -1) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads, axis)
        self.norm1, self.norm2, self.pre = nn.LayerNorm(width), nn.LayerNorm(width), pre
        self.ff = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        if self.pre:
            x = x + self.attention(self.norm1(x))
            return x + self.ff(self.norm2(x))
        x = self.norm1(x + self.attention(x))
        return self.norm2(x + self.ff(x))


class Stacked(nn.Module):
    """Rows of an image through blocks of one's own."""

    def __init__(self, depth: int, pre: bool, axis: int = -1) -> None:
        super().__init__()
        self.embed, self.place = nn.Linear(8, 32), nn.Parameter(0.1 * torch.randn(8, 32))
        self.blocks = nn.Sequential(*[OwnBlock(32, 4, pre, axis) for _ in range(depth)])
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.embed(x) + self.place).mean(dim=1))


class Tokens(nn.Module):
    """Tokens through torch's own encoder: with or without places, with masks right or turned round."""

    def __init__(
        self, classes: int, *, deviation: float = 1.0, places: bool = True, turned: bool | None = None, length: int = 12
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(24, 32)
        nn.init.normal_(self.embedding.weight, std=deviation)
        self.places = nn.Embedding(length, 32) if places else None
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=turned is None)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head, self.turned = nn.Linear(32, classes), turned

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        if self.places is not None:
            x = x + self.places(torch.arange(tokens.shape[1], device=tokens.device))
        if self.turned is None:
            return self.head(self.encoder(x).mean(1))
        real = tokens != 0
        mask = real if self.turned else ~real
        return self.head(self.encoder(x, src_key_padding_mask=mask)[:, 0])


class Recurrent(nn.Module):
    """A plain recurrence with ReLU; its weights are drawn wide."""

    def __init__(self, deviation: float | None) -> None:
        super().__init__()
        self.rnn, self.out = nn.RNN(3, 32, nonlinearity="relu", batch_first=True), nn.Linear(32, 3)
        if deviation:
            nn.init.normal_(self.rnn.weight_hh_l0, std=deviation)
        else:
            nn.init.eye_(self.rnn.weight_hh_l0)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0][:, -1])


class Forecast(nn.Module):
    """The next number of a series."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.linear = nn.LSTM(1, 24, batch_first=True), nn.Linear(24, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.lstm(x)[0][:, -1])


class Variational(nn.Module):
    """A variational autoencoder."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.mu, self.logvar = nn.Linear(64, 48), nn.Linear(48, 8), nn.Linear(48, 8)
        self.fc3, self.fc4 = nn.Linear(8, 48), nn.Linear(48, 64)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = functional.relu(self.fc1(x))
        mu, logvar = self.mu(hidden), self.logvar(hidden)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp() if self.training else mu
        return self.fc4(functional.relu(self.fc3(z))), mu, logvar


class Players(nn.Module):
    """A generator and a discriminator, which may end with a sigmoid."""

    def __init__(self, squashed: bool) -> None:
        super().__init__()
        end = [nn.Sigmoid()] if squashed else []
        self.generator = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
        self.discriminator = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1), *end)

    def forward(self, z: Tensor) -> Tensor:
        return self.generator(z)


class Summing(nn.Module):
    """Layers that add up neighbours, or take their mean."""

    def __init__(self, depth: int, mean: bool) -> None:
        super().__init__()
        sizes = [6, *[16] * (depth - 1), 3]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.mean = mean

    def forward(self, x: Tensor, adjacency: Any) -> Tensor:
        if self.mean:
            adjacency = adjacency / adjacency.sum(1, keepdim=True)
        for layer in self.layers[:-1]:
            x = torch.relu(layer(adjacency @ x))
        return self.layers[-1](adjacency @ x)
