"""Faults that people reported of trainings they could not get to work, written anew, each beside its mended twin.

The number behind a name is the report's, on GitHub. Every fault was seen broken: the loss stands still, isn't finite, or
a part of the network doesn't move; every twin was seen to train.
"""

from collections.abc import Callable
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam

from rules.reported import REPORTED
from zoo.case import Case, Subject, seeded
from zoo.tasks import CLASSES

ROWS, WIDTH = 64, 16


class Pair(NamedTuple):
    """A report.

    Attributes:
        name: what was wrong, and where that was told.
        codes: rules that should speak of it.
        build: broken or not -> a network with its task and optimizer.
        steps: until the twin's loss must have fallen.
    """

    name: str
    codes: tuple[str, ...]
    build: Callable[[bool], Subject]
    steps: int = 150


def vectors(classes: int = CLASSES) -> tuple[Tensor, Tensor]:
    """Labels by a linear teacher, [rows, width] and [rows]."""
    x = torch.randn(ROWS, WIDTH)
    return x, (x @ torch.randn(WIDTH, classes)).argmax(1)


def values(scale: float = 1.0, shift: float = 0.0) -> tuple[Tensor, Tensor]:
    """Numbers by a linear teacher, [rows, width] and [rows, 1]."""
    x = torch.randn(ROWS, WIDTH)
    return x, scale * (x @ torch.randn(WIDTH, 1)) / WIDTH**0.5 + shift


def perceptron(outputs: int = CLASSES, *last: nn.Module, hidden: int = 32) -> nn.Sequential:
    """Two linear layers."""
    return nn.Sequential(nn.Linear(WIDTH, hidden), nn.ReLU(), nn.Linear(hidden, outputs), *last)


def subject(model: nn.Module, loss: Callable[[], Tensor], lr: float = 5e-3, parameters: object = None) -> Subject:
    """Adam on all parameters, or on those given."""
    return Subject(model, loss, Adam(model.parameters() if parameters is None else parameters, lr=lr))


def classified(model: nn.Module, change: Callable[[Tensor], Tensor] = lambda z: z) -> Subject:
    x, y = vectors()
    return subject(model, lambda: functional.cross_entropy(change(model(x)), y))


def softmax_twice(broken: bool) -> Subject:
    return classified(perceptron(CLASSES, *([nn.Softmax(1)] if broken else [])))


def softmax_in_the_loss(broken: bool) -> Subject:
    return classified(perceptron(), (lambda z: functional.softmax(z, 1)) if broken else (lambda z: z))


def sigmoid_twice(broken: bool) -> Subject:
    x, y = vectors(2)
    net = perceptron(1, *([nn.Sigmoid()] if broken else []))
    return subject(net, lambda: functional.binary_cross_entropy_with_logits(net(x)[:, 0], y.float()))


def sigmoid_twice_in_a_picture(broken: bool) -> Subject:
    x = torch.randn(8, 1, 8, 8)
    y = (functional.avg_pool2d(x, 3, 1, 1) > 0).float()
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))
    return subject(
        net, lambda: functional.binary_cross_entropy_with_logits(net(x).sigmoid() if broken else net(x), y), 2e-2
    )


def relu_before_the_logits(broken: bool) -> Subject:
    x = torch.randn(8, 1, 8, 8)
    y = (functional.avg_pool2d(x, 3, 1, 1) > 0.3).float()
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1), *([nn.ReLU()] if broken else []))
    nn.init.constant_(net[2].bias, -0.7)
    return subject(net, lambda: functional.binary_cross_entropy_with_logits(net(x), y), 2e-2)


class Listed(nn.Module):
    """Hidden layers in a list, or in one that registers them; linear layers, convolutions, cells or a dictionary."""

    def __init__(self, kind: str, broken: bool):
        super().__init__()
        makers = {"linear": lambda: nn.Linear(WIDTH, WIDTH), "conv": lambda: nn.Conv1d(1, 1, 3, padding=1),
                  "cell": lambda: nn.LSTMCell(WIDTH, WIDTH)}  # fmt: skip
        layers = [makers[kind]() for _ in range(2)]
        self.kind, self.hidden = kind, layers if broken else nn.ModuleList(layers)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.hidden:
            if self.kind == "cell":
                x = layer(x)[0]
            else:
                x = torch.tanh(layer(x[:, None])[:, 0] if self.kind == "conv" else layer(x))
        return self.head(x)


def listed(kind: str) -> Callable[[bool], Subject]:
    return lambda broken: classified(Listed(kind, broken))


class Kept(nn.Module):
    """A matrix in a dictionary."""

    def __init__(self, broken: bool):
        super().__init__()
        found = {"w": nn.Parameter(torch.randn(WIDTH, WIDTH) / 4)}
        self.kept = found if broken else nn.ParameterDict(found)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(x @ self.kept["w"]))


def kept_in_a_dictionary(broken: bool) -> Subject:
    return classified(Kept(broken))


def broadcast(loss: Callable[[Tensor, Tensor], Tensor], squeeze: bool) -> Callable[[bool], Subject]:
    """[rows, 1] against [rows]: the output squeezed, or the target."""

    def build(broken: bool) -> Subject:
        x, y = values()
        net = perceptron(1)
        shape = (lambda z: z.squeeze(1)) if broken and squeeze else (lambda z: z)
        target = y.squeeze(1) if broken and not squeeze else y
        return subject(net, lambda: loss(shape(net(x)), target))

    return build


def broadcast_pictures(broken: bool) -> Subject:
    x = torch.randn(6, 1, 8, 8)
    y = functional.avg_pool2d(x, 3, 1, 1)[:, 0]
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))
    return subject(net, lambda: functional.smooth_l1_loss(net(x), y if broken else y[:, None]), 2e-2)


def root_of_zero(broken: bool) -> Subject:
    """Distances to oneself, among those of all pairs."""
    x, y = vectors()
    net = perceptron(8)

    def loss() -> Tensor:
        z = net(x)
        squares = (z[:, None] - z[None]).square().sum(2)
        distance = squares.sqrt() if broken else (squares + 1e-6).sqrt()
        alike = (y[:, None] == y[None]).float()
        return (alike * distance + (1 - alike) * functional.relu(1 - distance)).mean()

    return subject(net, loss)


def entropy_of_certainty(broken: bool) -> Subject:
    """p log p where p may be 0."""
    x, y = vectors()
    net = perceptron()

    def loss() -> Tensor:
        z = net(x)
        p = functional.relu(functional.softmax(z, 1) - 0.2)
        entropy = (p * p.log()).sum(1) if broken else (p * (p + 1e-6).log()).sum(1)
        return functional.cross_entropy(z, y) + 1e-2 * entropy.mean()

    return subject(net, loss)


class Masked(nn.Module):
    """Attention over tokens of which a mask hides some; in one row all."""

    def __init__(self, broken: bool):
        super().__init__()
        self.into, self.qkv, self.head = nn.Linear(4, WIDTH), nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, CLASSES)
        self.hidden = torch.zeros(ROWS, 1, 4, dtype=torch.bool)
        self.hidden[3] = True
        self.fill = float("-inf") if broken else -1e4

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(torch.tanh(self.into(x.view(ROWS, 4, 4)))).chunk(3, -1)
        scores = (q @ k.transpose(1, 2) / 4).masked_fill(self.hidden, self.fill)
        return self.head((scores.softmax(-1) @ v).mean(1))


def hidden_altogether(broken: bool) -> Subject:
    return classified(Masked(broken))


def replaced_head(broken: bool) -> Subject:
    """The optimizer was made before the last layer was replaced."""
    x, y = vectors()
    net = perceptron(10)
    before = list(net.parameters())
    net[2] = nn.Linear(32, CLASSES)
    return subject(net, lambda: functional.cross_entropy(net(x), y), parameters=before if broken else None)


def forgotten_head(broken: bool) -> Subject:
    """A classifier of its own, beside the network that the optimizer was given."""
    x, y = vectors()
    net, head = perceptron(8), nn.Linear(8, CLASSES)
    both = nn.ModuleDict({"net": net, "head": head})
    given = net.parameters() if broken else None
    return subject(both, lambda: functional.cross_entropy(head(torch.tanh(net(x))), y), parameters=given)


def layers_made_anew(broken: bool) -> Subject:
    """Hidden layers were made smaller, by pruning, after the optimizer had been made."""
    x, y = vectors()
    net = nn.Sequential(nn.Linear(WIDTH, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, CLASSES))
    before = list(net.parameters())
    net[0], net[2], net[4] = nn.Linear(WIDTH, 24), nn.Linear(24, 24), nn.Linear(24, CLASSES)
    return subject(net, lambda: functional.cross_entropy(net(x), y), parameters=before if broken else None)


def softmax_over_one(broken: bool) -> Subject:
    x, y = vectors(2)
    net = perceptron(1)

    def loss() -> Tensor:
        z = net(x)
        p = functional.softmax(z, 1) if broken else z.sigmoid()
        return functional.mse_loss(p[:, 0], y.float())

    return subject(net, loss, 1e-2)


def softmax_over_one_for_bce(broken: bool) -> Subject:
    x, y = vectors(2)
    net = perceptron(1)

    def loss() -> Tensor:
        p = functional.softmax(net(x), -1) if broken else net(x).sigmoid()
        return functional.binary_cross_entropy(p[:, 0].clamp(1e-4, 1 - 1e-4), y.float())

    return subject(net, loss, 1e-2)


def chosen_between(broken: bool) -> Subject:
    """What the first network says is chosen by argmax, and a second one goes on from there."""
    x, y = vectors()
    model = nn.ModuleDict({"first": perceptron(8), "table": nn.Embedding(8, 8), "second": nn.Linear(8, CLASSES)})

    def loss() -> Tensor:
        z = model["first"](x)
        h = model["table"](z.argmax(1)) if broken else z.softmax(1) @ model["table"].weight
        return functional.cross_entropy(model["second"](h), y)

    return subject(model, loss, 1e-2)


def new_tensor_between(broken: bool) -> Subject:
    """Made a tensor anew on the way, which autograd doesn't follow."""
    x, y = vectors()
    model = nn.ModuleDict({"front": perceptron(8), "back": nn.Linear(8, CLASSES)})

    def loss() -> Tensor:
        h = model["front"](x)
        h = torch.tensor(h.tolist()) if broken else h
        return functional.cross_entropy(model["back"](torch.tanh(h)), y)

    return subject(model, loss)


def rounded_between(broken: bool) -> Subject:
    """Quantised without a way around for the gradient."""
    x, y = vectors()
    model = nn.ModuleDict({"front": perceptron(8), "back": nn.Linear(8, CLASSES)})

    def loss() -> Tensor:
        h = model["front"](x)
        q = h.round()
        return functional.cross_entropy(model["back"](q if broken else h + (q - h).detach()), y)

    return subject(model, loss, 1e-2)


def relu_at_the_output(broken: bool) -> Subject:
    """Counts, of which the first network says none at all."""
    x, y = values(shift=3.0)
    net = perceptron(1, nn.ReLU() if broken else nn.Softplus())
    nn.init.constant_(net[2].bias, -4.0)
    return subject(net, lambda: functional.mse_loss(net(x), y), 2e-2)


def tanh_at_the_output(broken: bool) -> Subject:
    """Targets of 0 to 800 under a tanh."""
    x, y = values(200.0, 400.0)
    net = perceptron(1, nn.Tanh())
    target = y if broken else y / 800 - 0.5
    return subject(net, lambda: functional.mse_loss(net(x), target), 1e-2)


class Recall(nn.Module):
    """Which symbol stood at the first step of a long sequence, by an LSTM's last output."""

    def __init__(self, cell: type[nn.RNNBase], broken: bool):
        super().__init__()
        self.rnn, self.head = cell(4, 24, batch_first=True), nn.Linear(24, CLASSES)
        if not broken:
            with torch.no_grad():
                self.rnn.bias_ih_l0[24:48] = 5.0

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])


def recalled(cell: type[nn.RNNBase]) -> Callable[[bool], Subject]:
    def build(broken: bool) -> Subject:
        y = torch.randint(CLASSES, (32,))
        x = 0.3 * torch.randn(32, 60, 4)
        x[:, 0] = 2 * functional.one_hot(y, CLASSES)
        net = Recall(cell, broken)
        return subject(net, lambda: functional.cross_entropy(net(x), y))

    return build


def unscaled_pixels(broken: bool) -> Subject:
    """Inputs of 0 to 255 where 0 to 1 was meant."""
    x, y = vectors()
    pixels = 255 * x.sigmoid()
    net = nn.Sequential(nn.Linear(WIDTH, 32), nn.Tanh(), nn.Linear(32, CLASSES))
    given = pixels if broken else pixels / 255 - 0.5
    return subject(net, lambda: functional.cross_entropy(net(given), y), 1e-2)


def all_alike(broken: bool) -> Subject:
    """Hidden weights that begin with one constant."""
    net = perceptron()
    if broken:
        for layer in (net[0], net[2]):
            nn.init.constant_(layer.weight, 0.1)
            nn.init.zeros_(layer.bias)
    return classified(net)


def zero_on_both_sides(broken: bool) -> Subject:
    """A gate of two layers that both begin with zero: neither gets gradient."""
    x, y = vectors()
    model = nn.ModuleDict({"body": perceptron(8), "down": nn.Linear(WIDTH, 8, bias=False),
                           "up": nn.Linear(8, 8, bias=False), "head": nn.Linear(8, CLASSES)})  # fmt: skip
    nn.init.zeros_(model["up"].weight)
    if broken:
        nn.init.zeros_(model["down"].weight)

    def loss() -> Tensor:
        return functional.cross_entropy(model["head"](model["body"](x) + model["up"](torch.relu(model["down"](x)))), y)

    return subject(model, loss)


def deep_sigmoids(broken: bool) -> Subject:
    act = nn.Sigmoid if broken else nn.ReLU
    layers: list[nn.Module] = []
    for _ in range(6):
        layers += [nn.Linear(WIDTH, WIDTH), act()]
    net = nn.Sequential(*layers, nn.Linear(WIDTH, CLASSES))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
    return classified(net)


PAIRS = [
    Pair("softmax before cross-entropy (MatchingNetworks 5)", ("UT503",), softmax_twice),
    Pair("softmax within the loss (Transformer-GCN-QA 32)", ("UT503",), softmax_in_the_loss),
    Pair("sigmoid before BCE with logits (daisyRec 15)", ("UT503",), sigmoid_twice),
    Pair("sigmoid before BCE, pictures (UNet3plus_pth 23)", ("UT503",), sigmoid_twice_in_a_picture),
    Pair("ReLU before the logits (Surface-Defect-Detection 3)", ("UT705", "UT109", "UT202"), relu_before_the_logits),
    Pair("layers in a list (pytorch 715)", ("UT502",), listed("linear")),
    Pair("convolutions in a list (pytorch 1053)", ("UT502",), listed("conv")),
    Pair("cells in a list (pytorch-meta-optimizer 11)", ("UT502",), listed("cell")),
    Pair("parameters in a dictionary (pytorch 632)", ("UT502",), kept_in_a_dictionary),
    Pair("target of [n, 1], output of [n] (FARM 229)", ("UT504",), broadcast(functional.mse_loss, True)),
    Pair("target of [n], output of [n, 1] (hpa-scc 38)", ("UT504",), broadcast(functional.mse_loss, False)),
    Pair("a picture without its channel (CoNet 3)", ("UT504",), broadcast_pictures),
    Pair("root of a distance of zero (pytorch 6394)", ("UT103",), root_of_zero),
    Pair("p log p of zero (pytorch 6394, log)", ("UT103",), entropy_of_certainty),
    Pair("attention with all masked (pytorch 24816)", ("UT103",), hidden_altogether),
    Pair("optimizer made before the head (FairMOT 99)", ("UT407",), replaced_head),
    Pair("classifier not handed over (FairMOT 125)", ("UT407",), forgotten_head),
    Pair("layers made anew (nni 4521)", ("UT407",), layers_made_anew),
    Pair("softmax over one unit (vllm 18313)", ("UT109", "UT503"), softmax_over_one),
    Pair("softmax over one unit, BCE (nolearn 178)", ("UT109", "UT503"), softmax_over_one_for_bce),
    Pair("argmax between two networks (pytorch 1339)", ("UT501",), chosen_between),
    Pair("a new tensor between (Deep_Hierarchical_Classification 6)", ("UT501",), new_tensor_between),
    Pair("ReLU at the output says nothing (population_estimation 68)", ("UT705", "UT109", "UT202"), relu_at_the_output),
    Pair("tanh under targets of 0 to 800 (ganhacks 75)", ("UT705", "UT706"), tanh_at_the_output),
    Pair("LSTM of 60 steps that must remember (pytorch 20102)", ("UT107",), recalled(nn.LSTM), 200),
    Pair("pixels of 0 to 255 (stable-baselines 328)", ("UT706", "UT201"), unscaled_pixels),
    Pair("all hidden weights alike (NaNmnist 2)", ("UT302",), all_alike),
    Pair("zero on both sides (LAVT-RIS 25)", ("UT109",), zero_on_both_sides),
    Pair("deep sigmoids (TensorFlow-Examples 146)", ("UT101",), deep_sigmoids, 200),
    Pair("rounded on the way (ARM3D 1)", ("UT109", "UT501"), rounded_between),
]  # fmt: skip


AS_TOLD = (
    "detection with boxes in pixels",
    "sequence to sequence over a detached state",
    "words and positions exchanged by reshape",
    "variational autoencoder with a summed divergence",
    "table of raw numbers beside categories",
    "ctc of probabilities",
    "distillation of probabilities",
    "softmax over the batch",
    "loss of the wrong sign",
    "low rank factors behind reentrant checkpoints",
    "dropout of everything",
    "output minus its own mean",
    "overflow of half precision divided away",
    "graph averaged sixteen times",
)
"""Of the trainings that the tests of rules have, those of kinds that are not above."""


def told(name: str) -> Pair:
    code, make = REPORTED[name]

    def build(broken: bool) -> Subject:
        model, loss, optimizer = make(broken)
        steps = count()
        return Subject(model, lambda: loss(next(steps)), optimizer)

    return Pair(name, (code,), build)


PAIRS += map(told, AS_TOLD)


def case_of(pair: Pair, broken: bool) -> Case:
    """Return a report as an animal of the zoo, broken or mended."""

    def build(seed: int) -> Subject:
        seeded(seed)
        return pair.build(broken)

    name = pair.name if broken else f"mended: {pair.name}"
    codes = pair.codes if broken else ()
    return Case(name, "reported", build, codes, steps=pair.steps)


CASES = [case_of(pair, broken) for pair in PAIRS for broken in (True, False)]
