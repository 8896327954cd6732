"""More faults that people reported: losses that pass nothing on, are out of scale, or are asked for what can't be told.

As in `zoo.reported` every fault was seen broken, and every twin was seen to train.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD

from zoo.case import Subject
from zoo.reported import ROWS, WIDTH, Pair, case_of, perceptron, subject, values, vectors
from zoo.tasks import CLASSES


def by_descent(model: nn.Module, loss: Callable[[], Tensor], lr: float, momentum: float = 0.9) -> Subject:
    return Subject(model, loss, SGD(model.parameters(), lr=lr, momentum=momentum))


def made_anew(broken: bool) -> Subject:
    """The loss is a new tensor, made of the number that the loss function returned."""
    (x, y), net = vectors(), perceptron()

    def loss() -> Tensor:
        value = functional.cross_entropy(net(x), y)
        return torch.tensor(value.item(), requires_grad=True) if broken else value

    return subject(net, loss)


def of_choices(broken: bool) -> Subject:
    """Chosen classes are compared with the right ones as if they were numbers."""
    (x, y), net = vectors(), perceptron()

    def loss() -> Tensor:
        z = net(x)
        if broken:
            return functional.mse_loss(z.argmax(1).float().requires_grad_(), y.float())
        return functional.cross_entropy(z, y)

    return subject(net, loss)


def rewards(broken: bool) -> Subject:
    """A policy's actions are rewarded by thousands."""
    (x, y), net = vectors(), perceptron()
    reward = 1000.0 if broken else 1.0
    return by_descent(
        net,
        lambda: -(torch.distributions.Categorical(logits=net(x), validate_args=False).log_prob(y) * reward).mean(),
        0.1,
    )


def one_hot_pictures(broken: bool) -> Subject:
    """Masks that are saved as pictures: classes of 0 and 255."""
    (x, y), net = vectors(), perceptron()
    targets = functional.one_hot(y, CLASSES).float() * (255.0 if broken else 1.0)
    return by_descent(net, lambda: functional.cross_entropy(net(x), targets), 0.1)


def summed(broken: bool) -> Subject:
    """The loss is a sum over the batch where the learning rate was made for a mean."""
    (x, y), net = vectors(), perceptron()
    reduction = "sum" if broken else "mean"
    return by_descent(net, lambda: functional.cross_entropy(net(x), y, reduction=reduction), 0.1)


def pixels_under_descent(broken: bool) -> Subject:
    """Inputs of 0 to 255 put all of a tanh where it is flat."""
    (x, y), net = vectors(), nn.Sequential(nn.Linear(WIDTH, 32), nn.Tanh(), nn.Linear(32, CLASSES))
    given = 255 * x.sigmoid() if broken else x
    return by_descent(net, lambda: functional.cross_entropy(net(given), y), 0.1)


def penalised(broken: bool) -> Subject:
    """A penalty on all weights is added with a weight of 30."""
    (x, y), net = values(), perceptron(1)
    weight = 30.0 if broken else 1e-5
    return subject(net, lambda: functional.mse_loss(net(x), y) + weight * sum(p.abs().sum() for p in net.parameters()))


def made_integers(broken: bool) -> Subject:
    """Grey values were brought to between 0 and 1 before they were made indices."""
    pixels = torch.rand(ROWS, WIDTH)
    y = (pixels @ torch.randn(WIDTH, CLASSES)).argmax(1)
    tokens = (pixels * 0.99).long() if broken else (pixels * 16).long()
    net = nn.Sequential(nn.Embedding(16, 8), nn.Flatten(), nn.Linear(8 * WIDTH, 32), nn.ReLU(), nn.Linear(32, CLASSES))
    return subject(net, lambda: functional.cross_entropy(net(tokens), y))


PAIRS = [
    Pair("a loss made anew of its number", ("UT501",), made_anew),
    Pair("a loss of choices", ("UT501",), of_choices),
    Pair("rewards of thousands", ("UT706",), rewards),
    Pair("targets of 255", ("UT706",), one_hot_pictures),
    Pair("a sum over the batch", ("UT706",), summed),
    Pair("pixels of 0 to 255 under SGD", ("UT706",), pixels_under_descent),
    Pair("a penalty of 30", ("UT507",), penalised),
    Pair("inputs made integers", ("UT204", "UT205"), made_integers),
]

CASES = [case_of(pair, broken) for pair in PAIRS for broken in (True, False)]
