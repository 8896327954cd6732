"""Law 1: backpropagation by hand is torch.autograd's, for every activation, cost and initializer."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from undertow.activations import ACTIVATIONS
from undertow.lab import Ensemble
from undertow.lab.costs import COSTS
from undertow.lab.initializers import WEIGHTS
from undertow.lab.layers import LayerParameters
from undertow.lab.networks import EVALUATED_AT_ONCE

torch.set_num_threads(1)  # such small products only wait for a second thread
SMOOTH = [name for name, phi in ACTIVATIONS.items() if not phi.kinks]


@dataclass(frozen=True)
class Shape:
    sizes: tuple[int, ...]
    members: int
    examples: int
    seed: int
    one_hot: bool

    def data(self) -> tuple[Tensor, Tensor]:
        random = torch.Generator().manual_seed(self.seed)
        x = torch.randn(self.examples, self.sizes[0], generator=random, dtype=torch.float64)
        if self.one_hot:
            return x, torch.randint(self.sizes[-1], (self.examples,), generator=random)
        return x, torch.rand(self.examples, self.sizes[-1], generator=random, dtype=torch.float64).softmax(-1)

    def ensemble(self, **options: object) -> Ensemble:
        return Ensemble(self.sizes, self.members, seed=self.seed, dtype=torch.float64, **options)


def shapes(fewest_hidden: int = 0) -> st.SearchStrategy[Shape]:
    width = st.integers(1, 6)
    hidden = st.lists(width, min_size=fewest_hidden, max_size=5)
    return st.builds(
        Shape,
        sizes=st.builds(lambda n_in, hidden, n_out: (n_in, *hidden, n_out), width, hidden, width),
        members=st.integers(1, 4),
        examples=st.integers(1, 7),
        seed=st.integers(0, 2**32),
        one_hot=st.booleans(),
    )


def by_hand(nets: Ensemble, x: Tensor, y: Tensor) -> list[LayerParameters]:
    gradients = [layer.zeros() for layer in nets.layers]
    for at, into in zip(nets.backpropagate(*nets.examples(x, y)), gradients, strict=True):
        at.add_gradient_to(into, step=1.0)
    return gradients


def by_autograd(nets: Ensemble, i: int, x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
    net = nets.member(i)
    net.loss(x, y).backward()
    return [(layer.weight.grad, layer.bias.grad) for layer in net.layers]


def assert_equals_autograd(nets: Ensemble, x: Tensor, y: Tensor) -> None:
    gradients, speeds = by_hand(nets, x, y), nets.learning_speed(x, y)
    for i in range(nets.members):
        for l, (w, b) in enumerate(by_autograd(nets, i, x, y)):
            torch.testing.assert_close(gradients[l].w[i], w, rtol=1e-9, atol=1e-12 * float(1 + w.abs().max()))
            torch.testing.assert_close(gradients[l].b[i, 0], b, rtol=1e-9, atol=1e-12 * float(1 + b.abs().max()))
            torch.testing.assert_close(speeds[i, l], b.norm(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@settings(max_examples=12, deadline=None)
@given(initializer=st.sampled_from(sorted(WEIGHTS)), shape=shapes(fewest_hidden=1))
def test_every_activation_cost_and_initializer(activation: str, cost: str, initializer: str, shape: Shape) -> None:
    output = activation if cost == "quadratic" else None
    nets = shape.ensemble(activation=activation, cost=cost, initializer=initializer, output=output)
    assert_equals_autograd(nets, *shape.data())


@settings(max_examples=200, deadline=None)
@given(shape=shapes(), cost=st.sampled_from(sorted(COSTS)), choices=st.data())
def test_every_layer_an_activation_of_its_own(shape: Shape, cost: str, choices: st.DataObject) -> None:
    depth = len(shape.sizes) - 1
    names = choices.draw(st.lists(st.sampled_from(sorted(ACTIVATIONS)), min_size=depth, max_size=depth))
    output = names[-1] if cost == "quadratic" else None
    nets = shape.ensemble(activation=names[:-1], cost=cost, output=output)
    assert nets.activations == [*names[:-1], output or COSTS[cost].output]
    assert_equals_autograd(nets, *shape.data())


@settings(deadline=None)
@given(shape=shapes(), cost=st.sampled_from(sorted(COSTS)))
def test_the_gradient_of_a_batch_is_the_mean_of_its_examples(shape: Shape, cost: str) -> None:
    nets, (x, y) = shape.ensemble(cost=cost), shape.data()
    ones = [by_hand(nets, x[i : i + 1], y[i : i + 1]) for i in range(len(x))]
    for l, whole in enumerate(by_hand(nets, x, y)):
        torch.testing.assert_close(whole.w, torch.stack([one[l].w for one in ones]).mean(0))
        torch.testing.assert_close(whole.b, torch.stack([one[l].b for one in ones]).mean(0))


@settings(deadline=None)
@given(shape=shapes(), keep=st.floats(0, 1), keep_b=st.floats(0, 1), step=st.floats(-3, 3))
def test_adding_a_gradient_to_what_is_there(shape: Shape, keep: float, keep_b: float, step: float) -> None:
    nets, (x, y) = shape.ensemble(), shape.data()
    gradients, signals = by_hand(nets, x, y), nets.backpropagate(*nets.examples(x, y))
    for layer, at, gradient in zip(nets.layers, signals, gradients, strict=True):
        into = layer.copy()
        at.add_gradient_to(into, step, keep, keep_b)
        torch.testing.assert_close(into.w, keep * layer.w + step * gradient.w)
        torch.testing.assert_close(into.b, keep_b * layer.b + step * gradient.b)


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("activation", SMOOTH)
def test_finite_differences(activation: str, cost: str) -> None:
    nets = Ensemble([2, 3, 2, 2], members=2, seed=3, activation=activation, cost=cost, dtype=torch.float64)
    x, y, h = torch.tensor([[0.3, -0.8], [1.1, 0.4], [-0.6, 0.9]]), [0, 1, 1], 1e-5
    for layer, gradient in zip(nets.layers, by_hand(nets, x, y), strict=True):
        for numbers, expected in ((layer.w, gradient.w), (layer.b, gradient.b)):
            for at in np.ndindex(*numbers.shape[1:]):
                here = (slice(None), *at)
                numbers[here] += h
                above = nets.loss(x, y)
                numbers[here] -= 2 * h
                slope = (above - nets.loss(x, y)) / (2 * h)
                numbers[here] += h
                torch.testing.assert_close(slope, expected[here], rtol=1e-6, atol=1e-9)


def in_numpy(nets: Ensemble, i: int, x: np.ndarray) -> np.ndarray:
    """a^L of member i, by the book's equation 25 and the NumPy table."""
    a = x
    for layer, name in zip(nets.layers, nets.activations, strict=True):
        z = a @ layer.w[i].numpy().T + layer.b[i, 0].numpy()
        a = np.exp(z) / np.exp(z).sum(-1, keepdims=True) if name == "softmax" else ACTIVATIONS[name].value(z)
    return a


BOOK_COSTS = {
    "cross-entropy": lambda a, y: -(y * np.log(a) + (1 - y) * np.log(1 - a)).sum(-1).mean(),  # eq. 63
    "quadratic": lambda a, y: ((a - y) ** 2).sum(-1).mean() / 2,  # eq. 26
    "log-likelihood": lambda a, y: -np.log(a[y == 1]).mean(),  # eq. 80
}


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_loss_and_outputs_are_the_books(activation: str, cost: str) -> None:
    nets = Ensemble([3, 5, 4, 2], members=3, seed=5, activation=activation, cost=cost, dtype=torch.float64)
    x, labels = np.random.default_rng(0).normal(size=(6, 3)), np.array([0, 1, 1, 0, 1, 1])
    y = np.eye(2)[labels]
    for i in range(nets.members):
        a = in_numpy(nets, i, x)
        net, expected = nets.member(i), BOOK_COSTS[cost](a, y)
        np.testing.assert_allclose(net(torch.as_tensor(x)).detach(), a, rtol=1e-12)
        np.testing.assert_allclose(nets.feedforward(nets.inputs(x))[-1].a[i], a, rtol=1e-12)
        assert float(nets.loss(x, labels)[i]) == pytest.approx(expected, rel=1e-12)
        assert float(nets.loss(x, y)[i]) == pytest.approx(expected, rel=1e-12)
        assert net.loss(torch.as_tensor(x), torch.as_tensor(labels)).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("examples", [1, 7, EVALUATED_AT_ONCE, 2 * EVALUATED_AT_ONCE + 1])
def test_accuracy_is_the_members(examples: int) -> None:
    nets = Ensemble([3, 4, 5], members=3, seed=2, initializer="large", dtype=torch.float64)
    random = torch.Generator().manual_seed(examples)
    x = torch.randn(examples, 3, generator=random, dtype=torch.float64)
    y = torch.randint(5, (examples,), generator=random)
    expected = [(nets.member(i)(x).argmax(-1) == y).double().mean().item() for i in range(3)]
    for labels in (y, y.int(), y.numpy(), y.tolist()):
        assert nets.accuracy(x, labels).tolist() == expected


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=12))
def test_room_used_again_carries_nothing_over(batch_sizes: list[int]) -> None:
    nets = Ensemble([2, 3, 3, 2], members=2, dtype=torch.float64)
    for seed, m in enumerate(batch_sizes):
        x, y = Shape((2, 2), 1, m, seed, one_hot=True).data()
        fresh = Ensemble([2, 3, 3, 2], members=2, dtype=torch.float64)
        for ours, theirs in zip(by_hand(nets, x, y), by_hand(fresh, x, y), strict=True):
            assert torch.equal(ours.w, theirs.w)
            assert torch.equal(ours.b, theirs.b)
    assert len(nets._room) <= 4  # a loop over many sizes must not keep room for each


def test_a_member_is_a_copy() -> None:
    nets = Ensemble([2, 3, 2], members=2)
    before = nets.layers[0].w.clone()
    net = nets.member(1)
    with torch.no_grad():
        net.layers[0].weight.add_(1.0)
    assert torch.equal(nets.layers[0].w, before)
    assert list(pairwise(nets.sizes)) == [(l.in_features, l.out_features) for l in net.layers]
