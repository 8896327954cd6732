"""The networks of the study, each built from plain settings: kind, depth, activation, start, norm, residual, seed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)

CRITICAL = {"relu": 2**0.5, "gelu": 2**0.5, "tanh": 1.0, "sigmoid": 1.0}
"""Gain at which a layer keeps the scale: sqrt(n_in) times the weights' standard deviation (He 2015; Glorot 2010)."""

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid,
}  # fmt: skip
WIDTH, CHANNELS, TOKENS = 32, 8, 28


@dataclass(frozen=True)
class Recipe:
    """The parts that a network is made of.

    Attributes:
        kind: mlp, cnn, transformer, rnn, lstm, gru, or around: an mlp with a way around its layers.
        depth: layers before the head; blocks of a transformer; 1 for a recurrent network.
        activation: a key of ``ACTIVATIONS``.
        start: "default" (PyTorch's), or the gain in units of the critical one, as "0.5"; for recurrent networks the
            radius of orthogonal recurrent weights, or "open" and "shut" for the forget gate. "off2" is the critical
            start with biases of -2, so that most units are off.
        norm: none, layer or batch; for transformers pre, post or none.
        residual: whether each layer is added to its input.
        steps: length of the sequences.
    """

    kind: str
    depth: int = 1
    activation: str = "relu"
    start: str = "default"
    norm: str = "none"
    residual: bool = False
    steps: int = 0

    def build(self, inputs: int, classes: int) -> nn.Module:
        """Draw the network's weights from torch's generator."""
        builders = {"mlp": _mlp, "around": _around, "cnn": _cnn, "transformer": _transformer}
        return builders[self.kind](self, inputs, classes) if self.kind in builders else Recurrent(self, inputs, classes)


class ResidualBranch(nn.Module):
    """A layer added to its input where ``residual``, and put in its place otherwise."""

    def __init__(self, layers: Sequence[nn.Module], residual: bool):
        super().__init__()
        self.branch, self.residual = nn.Sequential(*layers), residual

    def forward(self, x: Tensor) -> Tensor:
        """[batch, ...] -> the same shape."""
        return x + self.branch(x) if self.residual else self.branch(x)


class Recurrent(nn.Module):
    """A recurrent layer under a head on its last output."""

    def __init__(self, recipe: Recipe, inputs: int, classes: int):
        super().__init__()
        cells = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
        self.rnn = cells[recipe.kind](inputs, WIDTH, batch_first=True)
        self.head = nn.Linear(WIDTH, classes)
        if recipe.start in GATES:
            _set_gate(self.rnn, GATES[recipe.start])
        elif recipe.start != "default":
            nn.init.orthogonal_(self.rnn.weight_hh_l0, float(recipe.start))
            nn.init.zeros_(self.rnn.bias_hh_l0)
            nn.init.zeros_(self.rnn.bias_ih_l0)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, steps, inputs] -> [batch, classes]."""
        return self.head(self.rnn(x)[0][:, -1])


GATES = {"open": 4.0, "shut": -1.0}
"""Bias of the gate that keeps the state: an LSTM's forget gate, a GRU's update gate."""


class Attention(nn.Module):
    """Self-attention of two heads."""

    def __init__(self, width: int):
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, steps, width] -> the same shape."""
        q, k, v = (each.unflatten(-1, (2, -1)).transpose(1, 2) for each in self.qkv(x).chunk(3, -1))
        y = functional.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(1, 2).flatten(-2))


class Block(nn.Module):
    """A part of a transformer: its branch, residual or not, with the norm before it, behind it, or without."""

    def __init__(self, branch: nn.Module, norm: str, residual: bool):
        super().__init__()
        self.branch, self.place, self.residual = branch, norm, residual
        self.norm = nn.Identity() if norm == "none" else nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, steps, width] -> the same shape."""
        y = self.branch(self.norm(x) if self.place == "pre" else x)
        y = x + y if self.residual else y
        return self.norm(y) if self.place == "post" else y


class Transformer(nn.Module):
    """Token embeddings, blocks, the mean over positions, a head."""

    def __init__(self, recipe: Recipe, classes: int):
        super().__init__()
        self.embed, self.place = nn.Embedding(TOKENS, WIDTH), nn.Parameter(0.02 * torch.randn(recipe.steps, WIDTH))
        branches = [branch for _ in range(recipe.depth) for branch in (Attention(WIDTH), _feed_forward(recipe))]
        self.blocks = nn.Sequential(*(Block(branch, recipe.norm, recipe.residual) for branch in branches))
        self.norm = nn.Identity() if recipe.norm == "none" else nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, classes)
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                _scale(module, recipe.start, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, steps] of tokens -> [batch, classes]."""
        return self.head(self.norm(self.blocks(self.embed(x) + self.place)).mean(1))


def _transformer(recipe: Recipe, inputs: int, classes: int) -> nn.Module:
    del inputs
    return Transformer(recipe, classes)


def _feed_forward(recipe: Recipe) -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), ACTIVATIONS[recipe.activation](), nn.Linear(2 * WIDTH, WIDTH))


def _mlp(recipe: Recipe, inputs: int, classes: int) -> nn.Module:
    layers: list[nn.Module] = []
    for n_in in [inputs] + [WIDTH] * (recipe.depth - 1):
        linear = _scale(nn.Linear(n_in, WIDTH), recipe.start, CRITICAL[recipe.activation])
        norms: dict[str, list[nn.Module]] = {
            "none": [],
            "layer": [nn.LayerNorm(WIDTH)],
            "batch": [nn.BatchNorm1d(WIDTH)],
        }
        layers.append(_branch(recipe, linear, norms[recipe.norm], n_in == WIDTH))
    return nn.Sequential(*layers, nn.Linear(WIDTH, classes))


class Around(nn.Module):
    """A deep branch and a way around it, both before the head: the bottleneck of a U-Net."""

    def __init__(self, stem: nn.Module, branch: nn.Module, classes: int):
        super().__init__()
        self.stem, self.branch, self.head = stem, branch, nn.Linear(2 * WIDTH, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs] -> [batch, classes]."""
        x = self.stem(x)
        return self.head(torch.cat([x, self.branch(x)], 1))


def _around(recipe: Recipe, inputs: int, classes: int) -> nn.Module:
    layers = list(_mlp(recipe, WIDTH, classes).children())[:-1]
    return Around(nn.Sequential(nn.Linear(inputs, WIDTH), nn.Tanh()), nn.Sequential(*layers), classes)


def _cnn(recipe: Recipe, inputs: int, classes: int) -> nn.Module:
    """3x3 convolutions, average pooling to 2x2, a head."""
    layers: list[nn.Module] = []
    for channels in [inputs] + [CHANNELS] * (recipe.depth - 1):
        conv = _scale(nn.Conv2d(channels, CHANNELS, 3, padding=1), recipe.start, CRITICAL[recipe.activation])
        norms: dict[str, list[nn.Module]] = {
            "none": [],
            "layer": [nn.GroupNorm(1, CHANNELS)],
            "batch": [nn.BatchNorm2d(CHANNELS)],
        }
        layers.append(_branch(recipe, conv, norms[recipe.norm], channels == CHANNELS))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * CHANNELS, classes))


def _branch(recipe: Recipe, layer: nn.Module, norm: list[nn.Module], fits: bool) -> nn.Module:
    """Norm behind the layer in a plain network, before it in a residual one (where its input has the right width)."""
    activation = ACTIVATIONS[recipe.activation]()
    if not (recipe.residual and fits):
        return nn.Sequential(layer, *norm, activation)
    return ResidualBranch([*norm, layer, activation], True)


def _scale(layer: Layer, start: str, critical: float) -> Layer:
    if start != "default":
        gain, bias = (1.0, -float(start[3:])) if start.startswith("off") else (float(start), 0.0)
        nn.init.normal_(layer.weight, std=gain * critical * layer.weight[0].numel() ** -0.5)
        if layer.bias is not None:
            nn.init.constant_(layer.bias, bias)
    return layer


def _set_gate(rnn: nn.RNNBase, bias: float) -> None:
    with torch.no_grad():
        for name, value in (("bias_hh_l0", 0.0), ("bias_ih_l0", bias)):
            rnn.get_parameter(name)[WIDTH : 2 * WIDTH] = value  # an LSTM's forget and a GRU's update gate stand second
