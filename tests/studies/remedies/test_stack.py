"""The study's engine against the lab and torch."""

import pytest
import torch
from torch import nn

from undertow.lab import SGD, Ensemble, Initializer, Momentum
from undertow.studies.remedies.config import ACTIVATIONS, ARCHITECTURES
from undertow.studies.remedies.stack import PHI, MemberDescent, Stack, StackWeights, drawn

N_IN, WIDTH, DEPTH, N_OUT, M = 6, 5, 4, 3, 8

random = torch.Generator().manual_seed(5)
X = torch.rand(M, N_IN, generator=random, dtype=torch.float64)
Y = torch.randint(N_OUT, (M,), generator=random)


def weights(members: int = 3, depth: int = DEPTH) -> StackWeights:
    recipes = [Initializer("lecun", scale=1 + i / 4, biases="normal", bias_scale=0.3) for i in range(members)]
    found = drawn(recipes, N_IN, WIDTH, depth, N_OUT, seed=2)
    return StackWeights(*(t.double() for t in found.all()))


def in_the_lab(w: StackWeights, activation: str) -> Ensemble:
    members, depth = w.first.shape[0], len(w.bias)
    sizes = [N_IN, *[WIDTH] * depth, N_OUT]
    nets = Ensemble(sizes, members, activation=activation, cost="log-likelihood", dtype=torch.float64)
    both = zip([w.first, *w.hidden, w.last], [*w.bias, w.last_bias], strict=True)
    for layer, (weight, bias) in zip(nets.layers, both, strict=True):
        layer.w.copy_(weight)
        layer.b.copy_(bias)
    return nets


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_plain_networks_are_the_labs(activation):
    w = weights()
    stack, nets = Stack(w, activation, "plain"), in_the_lab(w, activation)
    torch.testing.assert_close(stack.losses(X, Y), nets.loss(X, Y))
    torch.testing.assert_close(stack.learning_speed(X, Y), nets.learning_speed(X, Y)[:, :-1])
    assert torch.equal(stack.accuracy(X, Y), nets.accuracy(X, Y))


@pytest.mark.parametrize(("name", "theirs"), [("SGD", SGD()), ("momentum", Momentum(0.9))])
def test_training_plain_networks_is_the_labs(name, theirs):
    w = weights()
    nets = in_the_lab(w, "tanh")
    nets.train((X, Y), 20, M, 0.2, optimizer=theirs)
    descent = MemberDescent(Stack(w, "tanh", "plain"), name, torch.full((3,), 0.2, dtype=torch.float64))
    for _ in range(20):
        descent.step(X, Y)
    torch.testing.assert_close(w.hidden, torch.stack([layer.w for layer in nets.layers[1:-1]]), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(w.last_bias, nets.layers[-1].b, rtol=1e-9, atol=1e-12)


def by_modules(w: StackWeights, i: int, activation: str, architecture: str, x: torch.Tensor) -> torch.Tensor:
    """Member i's outputs, as torch's own modules have them."""
    phi, residual = PHI[activation], architecture.startswith("residual")
    batch = nn.BatchNorm1d(WIDTH, affine=False, track_running_stats=False).double()
    layer = nn.LayerNorm(WIDTH, elementwise_affine=False).double()
    after = {"BatchNorm": batch, "LayerNorm": layer}.get(architecture, nn.Identity())
    before = layer if architecture == "residual + norm" else nn.Identity()
    h = phi(after(x @ w.first[i].T) + w.bias[0, i])
    for weight, bias in zip(w.hidden[:, i], w.bias[1:, i], strict=True):
        a = phi(after(before(h) @ weight.T) + bias)
        h = h + a if residual else a
    return before(h) @ w.last[i].T + w.last_bias[i]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_every_member_is_what_torchs_modules_make_of_it(activation, architecture):
    w = weights()
    found = Stack(w, activation, architecture).logits(X)
    for i in range(3):
        torch.testing.assert_close(found[i], by_modules(w, i, activation, architecture, X))


def test_adam_is_torchs_with_a_learning_rate_for_each_member():
    w, rates = weights(), [0.1, 0.01, 0.0]
    singles = [[t.select(t.ndim - 3, i).clone().requires_grad_() for t in w.all()] for i in range(3)]
    descent = MemberDescent(Stack(w, "tanh", "residual"), "Adam", torch.tensor(rates, dtype=torch.float64))
    for _ in range(5):
        descent.step(X, Y)
    for i, parameters in enumerate(singles):
        torchs = torch.optim.Adam(parameters, lr=rates[i])
        for _ in range(5):
            torchs.zero_grad()
            first, hidden, bias, last, last_bias = parameters
            alone = StackWeights(first[None], hidden[:, None], bias[:, None], last[None], last_bias[None])
            Stack(alone, "tanh", "residual").losses(X, Y).sum().backward()
            torchs.step()
        for ours, theirs in zip(w.all(), parameters, strict=True):
            torch.testing.assert_close(ours.select(ours.ndim - 3, i), theirs.detach(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_member_that_diverges_leaves_the_others_alone(architecture):
    together, alone = weights(), weights()
    rates = torch.tensor([0.05, 1e200, 0.05], dtype=torch.float64)
    first = MemberDescent(Stack(together, "relu", architecture), "SGD", rates)
    second = MemberDescent(Stack(alone, "relu", architecture), "SGD", torch.full((3,), 0.05, dtype=torch.float64))
    for _ in range(4):
        first.step(X, Y)
        second.step(X, Y)
    assert not together.hidden[:, 1].isfinite().all()
    for i in (0, 2):
        torch.testing.assert_close(together.hidden[:, i], alone.hidden[:, i])
    assert Stack(together, "relu", architecture).accuracy(X, Y)[1] == 0


def test_a_single_hidden_layer_can_be_trained():
    w = weights(depth=1)
    descent = MemberDescent(Stack(w, "gelu", "residual + norm"), "Adam", torch.full((3,), 0.01, dtype=torch.float64))
    before = Stack(w, "gelu", "residual + norm").losses(X, Y)
    for _ in range(20):
        descent.step(X, Y)
    assert (Stack(w, "gelu", "residual + norm").losses(X, Y) < before).all()
