"""Wrong arguments are refused, before anything has been done, with a message that says what was wrong."""

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

from undertow.lab import Ensemble, Momentum, Nesterov
from undertow.lab.readings import share_of_progress, split

X, Y = torch.rand(5, 4), torch.tensor([0, 1, 1, 0, 1])
CHOICES = "sigmoid, tanh, relu, leaky_relu, softsign, gelu, silu, elu, selu, softplus, erf, linear"

ENSEMBLES: list[tuple[dict, str]] = [
    ({"sizes": []}, "sizes []: give the inputs, any hidden layers, and the outputs"),
    ({"sizes": [4]}, "sizes [4]"),
    ({"sizes": [4, 0, 2]}, "sizes [4, 0, 2]"),
    ({"sizes": [4, -3, 2]}, "sizes [4, -3, 2]"),
    ({"members": 0}, "members = 0: an ensemble has at least one"),
    ({"members": -1}, "members = -1"),
    ({"seed": -1}, "seed = -1"),
    ({"first_member": -2}, "first_member = -2"),
    ({"dtype": torch.int64}, "torch.int64: weights are real numbers"),
    ({"activation": "swish"}, f"no activation named 'swish'; there are: {CHOICES}"),
    ({"activation": ["swish"]}, "no activation named 'swish'"),
    ({"activation": ["tanh", "relu"]}, "2 activations for 1 hidden layers: give one name, or one for each"),
    ({"activation": []}, "0 activations for 1 hidden layers"),
    ({"cost": "hinge"}, "no cost named 'hinge'; there are: cross-entropy, quadratic, log-likelihood"),
    ({"initializer": "xavier"}, "no initializer named 'xavier'; there are: default, large, standard, glorot_normal"),
    ({"output": "tanh"}, "cross-entropy cost is made for sigmoid outputs, not tanh: leave output= away"),
    ({"output": "sigmoid", "cost": "log-likelihood"}, "made for softmax outputs, not sigmoid"),
    ({"output": "swish", "cost": "quadratic"}, "no activation named 'swish'"),
    # BP2's elementwise φ' is wrong for a softmax; only the log-likelihood's BP1 has it cancelled
    ({"output": "softmax", "cost": "quadratic"}, 'only for the output of cost="log-likelihood"'),
    ({"activation": "softmax"}, 'only for the output of cost="log-likelihood"'),
    ({"activation": ["softmax"], "cost": "log-likelihood"}, 'only for the output of cost="log-likelihood"'),
]

DATA: list[tuple[object, object, str]] = [
    (X[:, :3], Y, "inputs of shape [5, 3]: this network takes [examples, 4]"),
    (X[0], Y[:1], "inputs of shape [4]: this network takes [examples, 4]"),
    (X[:0], Y[:0], "inputs of shape [0, 4]: this network takes [examples, 4], at least one example"),
    (X[None], Y, "inputs of shape [1, 5, 4]"),
    (X, Y[:3], "5 inputs but 3 targets: every example needs one of each"),
    (X, Y[:1], "5 inputs but 1 targets"),
    (X[:1], Y, "1 inputs but 5 targets"),
    (X, Y[:0], "5 inputs but 0 targets"),
    (X, Y + 1, "class labels 1 to 2: the network has 2 outputs, 0 to 1"),
    (X, -Y, "class labels -1 to 0"),
    (X, Y.float(), "targets of shape [5], torch.float32: give class labels [examples] as integers"),
    (X, np.array([0.0, 1.0, 1.0, 0.0, 1.0]), "targets of shape [5], torch.float64"),
    (X, torch.tensor(1), "targets of shape [], torch.int64"),
]
DATA_WITH_TARGETS: list[tuple[object, object, str]] = [
    (X, torch.rand(5, 3), "targets of shape [5, 3], torch.float32: give class labels [examples] as integers"),
    (X, torch.rand(4, 2), "5 inputs but 4 targets"),
    (X, torch.rand(1, 2), "5 inputs but 1 targets"),
]

TRAININGS: list[tuple[dict, str]] = [
    ({"eta": math.nan}, "eta = nan, lmbda = 0.0: both are finite"),
    ({"eta": math.inf}, "eta = inf"),
    ({"lmbda": math.nan}, "lmbda = nan"),
    ({"lmbda": math.inf}, "lmbda = inf"),
    ({"lmbda": math.inf, "eta": 0.0}, "lmbda = inf"),
    ({"lmbda": -1.0}, "lmbda = -1.0: both are finite, and lmbda is not negative"),
    ({"eta": 0.5, "lmbda": 10.0}, "eta * lmbda / n = 1: weight decay of 1 or more a step turns every weight round"),
    ({"eta": 0.5, "lmbda": 20.0}, "eta * lmbda / n = 2: weight decay of 1 or more"),
    ({"eta": 0.5, "lmbda": 20.0}, "with 5 examples, lmbda must be under 10"),
    ({"epochs": -1}, "epochs = -1"),
    ({"batch_size": 0}, "batch_size = 0: train at least one example at a time"),
    ({"batch_size": -3}, "batch_size = -3"),
    ({"clip": 0.0}, "clip = 0.0: the largest norm allowed is positive; leave clip away"),
    ({"clip": -1.0}, "clip = -1.0"),
    ({"clip": math.nan}, "clip = nan"),
    ({"optimizer": "adam"}, "no optimizer named 'adam'; there are: sgd, momentum, nesterov"),
    ({"frozen": [2]}, "frozen = [2]: this network's layers are numbered 0 to 1"),
    ({"frozen": [-1]}, "frozen = [-1]"),
    ({"evaluate": {"all": (X, Y[:3])}}, "5 inputs but 3 targets"),
    ({"evaluate": {"good": (X, Y), "bad": (X[:, :3], Y)}}, "inputs of shape [5, 3]"),
]


def wanted(cases: list[tuple]) -> list[tuple]:
    """The same cases, the fragment of the message as a pattern that matches it to the letter."""
    return [(*case[:-1], re.escape(case[-1])) for case in cases]


def ensemble(**options: object) -> Ensemble:
    return Ensemble(**{"sizes": [4, 3, 2], "members": 2} | options)


@pytest.mark.parametrize(("options", "message"), wanted(ENSEMBLES))
def test_an_ensemble_that_cannot_be(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ensemble(**options)


@pytest.mark.parametrize("sizes", [[4.0, 2.0], [4, 2.5], ["4", "2"]])
def test_sizes_are_whole_numbers(sizes: list) -> None:
    with pytest.raises(TypeError):
        ensemble(sizes=sizes)


ASKED: dict[str, Callable] = {
    "learning_speed": Ensemble.learning_speed,
    "loss": Ensemble.loss,
    "train": lambda nets, x, y: nets.train((x, y), 1, 2, 0.1),
    "split": split,
    "share_of_progress": share_of_progress,
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize(("x", "y", "message"), wanted(DATA + DATA_WITH_TARGETS))
def test_data_that_do_not_fit(ask: Callable, x: object, y: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ask(ensemble(), x, y)


@pytest.mark.parametrize(("x", "y", "message"), wanted([*DATA, (X, torch.eye(2)[Y], "targets of shape [5, 2]")]))
def test_labels_that_accuracy_cannot_count(x: object, y: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ensemble().accuracy(x, y)


@pytest.mark.parametrize(("options", "message"), wanted(TRAININGS))
def test_a_training_that_cannot_be(options: dict, message: str) -> None:
    nets = ensemble()
    before = [layer.copy() for layer in nets.layers]
    with pytest.raises(ValueError, match=message):
        nets.train((X, Y), **{"epochs": 1, "batch_size": 2, "eta": 0.1} | options)
    assert nets.epochs_trained == 0
    for layer, old in zip(nets.layers, before, strict=True):
        assert torch.equal(layer.w, old.w)


@pytest.mark.parametrize("mu", [1.0, 1.5, -0.1, math.nan])
@pytest.mark.parametrize("optimizer", [Momentum, Nesterov])
def test_a_momentum_coefficient_that_cannot_be(optimizer: Callable, mu: float) -> None:
    with pytest.raises(ValueError, match=re.escape(f"mu = {mu}: a momentum coefficient lies in [0, 1)")):
        optimizer(mu)


@pytest.mark.parametrize("i", [-1, 2, 100])
def test_a_member_that_there_is_not(i: int) -> None:
    with pytest.raises(IndexError, match=f"no member {i}: this ensemble has members 0 to 1"):
        ensemble().member(i)


def test_what_is_only_just_right_is_accepted() -> None:
    """The edges of the tables above, from inside."""
    nets = ensemble(sizes=[4, 2], members=1)
    nets.train((X, Y), epochs=0, batch_size=1, eta=0.1)
    nets.train((X[:1], Y[:1]), epochs=1, batch_size=99, eta=0.0, lmbda=1e9)
    nets.train((X, Y), epochs=1, batch_size=5, eta=0.5, lmbda=9.99, clip=math.inf, frozen=[0])
    nets.train((X.double(), torch.eye(2)[Y]), epochs=1, batch_size=5, eta=-0.5, optimizer=Momentum(0.0))
    assert nets.epochs_trained == 3
    nets.loss(X.numpy().tolist(), [True, False, True, True, False])
