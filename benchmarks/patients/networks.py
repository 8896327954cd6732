"""Networks of patients, each with places for faults."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from patients.ward import started


def cnn(
    depth: int = 2,
    act: Callable[[], nn.Module] = nn.ReLU,
    norm: bool = False,
    start: Callable[[nn.Module], object] | None = None,
    end: Callable[[], nn.Module] | None = None,
) -> Callable[[], nn.Module]:
    """Convolutions of eight channels, pooled once, and a linear head."""

    def make() -> nn.Module:
        layers: list[nn.Module] = []
        for i in range(depth):
            layers.append(nn.Conv2d(8 if i else 1, 8, 3, padding=1))
            layers += [nn.BatchNorm2d(8)] if norm else []
            layers += [act(), *([nn.MaxPool2d(2)] if i == 0 else [])]
        net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 10), *([end()] if end else []))
        return started(net, start)

    return make


class Sequence(nn.Module):
    """A recurrent network whose last state is classified."""

    def __init__(self, kind: type[nn.RNNBase], given: int, classes: int, hidden: int = 24) -> None:
        super().__init__()
        self.rnn, self.head = kind(given, hidden, batch_first=True), nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])


def orthogonal(net: Sequence) -> Sequence:
    """Make its recurrent weights orthogonal, gate by gate."""
    for gate in net.rnn.weight_hh_l0.data.split(net.rnn.hidden_size):
        nn.init.orthogonal_(gate)
    return net


def remembering(net: Sequence, bias: float = 3.0) -> Sequence:
    """Open the gate that keeps its state."""
    gate = slice(net.rnn.hidden_size, 2 * net.rnn.hidden_size)
    net.rnn.bias_ih_l0.data[gate], net.rnn.bias_hh_l0.data[gate] = bias, 0.0
    return net


class Transformer(nn.Module):
    """Rows of an image as tokens, through torch's encoder."""

    def __init__(self, depth: int = 2, first: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        self.given, self.place = nn.Linear(8, 16), nn.Parameter(torch.randn(8, 16) * 0.1)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout, batch_first=True, norm_first=first)
        norm = nn.LayerNorm(16) if first else None
        self.stack, self.head = nn.TransformerEncoder(layer, depth, norm, enable_nested_tensor=False), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stack(self.given(x) + self.place).mean(1))


class Functional(nn.Module):
    """A stack whose activations are functions."""

    def __init__(self, depth: int, act: Callable[[Tensor], Tensor], given: int = 64, classes: int = 10) -> None:
        super().__init__()
        widths = [given, *[32] * depth]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.head, self.act = nn.Linear(32, classes), act

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = self.act(layer(x))
        return self.head(x)


class Listed(nn.Module):
    """Layers in a plain list, which no optimizer finds."""

    def __init__(self, kept: Callable[[list[nn.Module]], object] = list) -> None:
        super().__init__()
        self.hidden, self.head = kept([nn.Linear(64, 4), nn.Linear(4, 32)]), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return self.head(x)


class Cut(nn.Module):
    """Features behind which the gradient may be cut."""

    def __init__(self, cut: bool) -> None:
        super().__init__()
        self.first, self.second, self.head, self.cut = nn.Linear(64, 4), nn.Linear(4, 32), nn.Linear(32, 10), cut

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        return self.head(torch.relu(self.second(x.detach() if self.cut else x)))


class Graph(nn.Module):
    """Convolutions over a graph: neighbours' features are summed, or averaged with the right adjacency."""

    def __init__(
        self, adjacency: Tensor, given: int, depth: int = 2, act: Callable[[Tensor], Tensor] = torch.relu
    ) -> None:
        super().__init__()
        widths = [given, *[16] * depth]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.head, self.act = nn.Linear(16, 4), act
        self.register_buffer("adjacency", adjacency)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = self.act(self.adjacency @ layer(x))
        return self.head(x)


class Adversaries(nn.Module):
    """A generator of points in the plane and its judge."""

    def __init__(self, end: Callable[[], nn.Module] = nn.Identity, slope: float = 0.2) -> None:
        super().__init__()
        self.made = nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 2))
        self.judge = nn.Sequential(nn.Linear(2, 24), nn.LeakyReLU(slope), nn.Linear(24, 1), end())

    def forward(self, noise: Tensor) -> Tensor:
        return self.made(noise)


def adversarial(net: Adversaries, batch: Tensor) -> Tensor:
    """Both players' losses in one: the judge doesn't see whose gradient it passes on to the generator."""
    made = net.made(torch.randn(len(batch), 4))
    ones, zeros = torch.ones(len(batch), 1), torch.zeros(len(batch), 1)
    cross = functional.binary_cross_entropy_with_logits
    judged = cross(net.judge(batch), ones) + cross(net.judge(made.detach()), zeros)
    frozen = {name: p.detach() for name, p in net.judge.named_parameters()}
    fooled = torch.func.functional_call(net.judge, frozen, (made,))
    return judged + cross(fooled, ones)


def likeness(net: Adversaries, target: Tensor) -> float:
    """Minus the distance of mean and deviation of what is generated from the target's."""
    made = net(torch.randn(1000, 4))
    return -float((made.mean(0) - target.mean(0)).norm() + (made.std(0) - target.std(0)).norm())
