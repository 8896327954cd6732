"""A step of the lab is a step of torch.optim, of the book, and of Sutskever et al.'s paper."""

import math
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from undertow.lab import SGD, Ensemble, Momentum, MomentumSchedule, Nesterov
from undertow.lab.layers import LayerParameters, LayerPass
from undertow.lab.optimizers import NEVER_ABOVE, ExplicitGradient, LayerGradient, Optimizer, clipped, optimizer

N, BATCH, EPOCHS, ETA, LMBDA = 23, 5, 3, 0.4, 0.7  # 23 = 4 * 5 + 3: the last mini-batch is a smaller one
SIZES = [3, 4, 4, 2]

random = torch.Generator().manual_seed(11)
X = torch.randn(N, SIZES[0], generator=random, dtype=torch.float64)
Y = torch.randint(SIZES[-1], (N,), generator=random)


def ensemble(**options: object) -> Ensemble:
    return Ensemble(SIZES, **{"members": 3, "seed": 4, "dtype": torch.float64} | options)


@dataclass
class MiniBatches:
    """An observer that writes down which examples every step saw."""

    seen: list[Tensor] = field(default_factory=list)

    def __call__(self, t: int, signals: list[LayerPass]) -> None:
        assert t == len(self.seen)
        x = signals[0].input
        self.seen.append((x[:, None] == X).all(-1).int().argmax(1))


def parameters(net: nn.Module) -> list[dict]:
    """The book's weight decay in torch's words: on a group that holds the weights only."""
    return [
        {"params": [layer.weight for layer in net.layers], "weight_decay": LMBDA / N},
        {"params": [layer.bias for layer in net.layers]},
    ]


def train_in_torch(net: nn.Module, steps: torch.optim.Optimizer, batches: MiniBatches, clip: float | None) -> None:
    for chosen in batches.seen:
        steps.zero_grad()
        net.loss(X[chosen], Y[chosen]).backward()
        if clip is not None:
            norm = clip_grad_norm_(net.parameters(), clip)
            if norm > clip:
                for p in net.parameters():
                    p.grad *= (norm + 1e-6) / norm  # torch's guard against dividing by 0 isn't in the formula
        steps.step()


def assert_member_is(nets: Ensemble, i: int, net: nn.Module) -> None:
    for layer, expected in zip(nets.layers, net.layers, strict=True):
        torch.testing.assert_close(layer.w[i], expected.weight.detach(), rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(layer.b[i, 0], expected.bias.detach(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("clip", [None, 0.3])
@pytest.mark.parametrize("epochs", [1, EPOCHS])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (SGD(), {}),
        (Momentum(0.9), {"momentum": 0.9}),
        (Momentum(0.0), {}),
        (Nesterov(0.9, schedule=False), {"momentum": 0.9, "nesterov": True}),
        (Nesterov(0.5), {"momentum": 0.5, "nesterov": True}),  # never above 0.5, where the schedule starts
    ],
    ids=str,
)
def test_training_equals_torch_optim_sgd(ours: Optimizer, theirs: dict, epochs: int, clip: float | None) -> None:
    nets, batches = ensemble(), MiniBatches()
    members = [nets.member(i) for i in range(nets.members)]
    nets.train((X, Y), epochs, BATCH, ETA, LMBDA, optimizer=ours, clip=clip, observe=batches)
    assert [len(chosen) for chosen in batches.seen] == [5, 5, 5, 5, 3] * epochs
    for i, net in enumerate(members):
        train_in_torch(net, torch.optim.SGD(parameters(net), lr=ETA, **theirs), batches, clip)
        assert_member_is(nets, i, net)


@pytest.mark.parametrize(("name", "same"), [("sgd", SGD()), ("momentum", Momentum(0.9)), ("nesterov", Nesterov())])
def test_an_optimizer_by_its_name(name: str, same: Optimizer) -> None:
    assert optimizer(name) == same
    by_name, by_hand = ensemble(), ensemble()
    by_name.train((X, Y), 2, BATCH, ETA, LMBDA, optimizer=name)
    by_hand.train((X, Y), 2, BATCH, ETA, LMBDA, optimizer=same)
    assert torch.equal(by_name.layers[0].w, by_hand.layers[0].w)


def test_weights_decay_as_in_the_book_and_biases_do_not() -> None:
    """Where x is 0 the gradient of w^1 is 0 exactly: only the factor 1 - eta lmbda / n is left."""
    nothing, steps = torch.zeros_like(X), math.ceil(N / BATCH) * EPOCHS
    nets, plain = (Ensemble([3, 2], members=2, dtype=torch.float64) for _ in range(2))
    start = nets.layers[0].copy()
    nets.train((nothing, Y), EPOCHS, BATCH, ETA, LMBDA)
    plain.train((nothing, Y), EPOCHS, BATCH, ETA)
    torch.testing.assert_close(nets.layers[0].w, start.w * (1 - ETA * LMBDA / N) ** steps, rtol=1e-13, atol=0)
    assert torch.equal(plain.layers[0].w, start.w)
    assert torch.equal(nets.layers[0].b, plain.layers[0].b)
    assert not torch.equal(nets.layers[0].b, start.b)


@settings(deadline=None)
@given(t=st.integers(0, 10**7), mu=st.floats(0, 1, exclude_max=True))
def test_the_schedule_is_the_papers(t: int, mu: float) -> None:
    """Sutskever et al. 2013, eq. 5: mu_t = min(1 - 2^(-1 - log2(floor(t/250) + 1)), mu_max)."""
    printed = min(1 - 2 ** (-1 - math.log2(t // 250 + 1)), mu)
    assert Nesterov(mu).momentum(t) == pytest.approx(printed, rel=1e-12, abs=1e-15)
    assert Nesterov(mu, schedule=False).momentum(t) == mu


def test_the_schedule_climbs_to_its_largest() -> None:
    climbed = [Nesterov().momentum(t) for t in range(0, 200_000, 50)]
    assert climbed[0] == 0.5
    assert climbed == sorted(climbed)
    assert climbed[-1] == NEVER_ABOVE == 0.999


def test_a_schedule_that_rises_to_a_number_is_the_number_risen_to() -> None:
    for t in (0, 249, 250, 5_000, 10**6):
        assert Nesterov(MomentumSchedule(0.99)).momentum(t) == Nesterov(0.99).momentum(t)
        assert Momentum(MomentumSchedule(0.99)).momentum(t) == Nesterov(0.99).momentum(t)
        assert MomentumSchedule(0.99, period=2.5)(t) == MomentumSchedule(0.99, period=250)(100 * t)


def test_a_schedule_is_lowered_at_the_end_and_never_raised_by_it() -> None:
    lowered = MomentumSchedule(0.99, period=10, until=300)
    assert [lowered(t) for t in (299, 300, 10**6)] == [pytest.approx(1 - 1 / 60), 0.9, 0.9]
    assert MomentumSchedule(0.5, until=300)(10**6) == 0.5


@pytest.mark.parametrize("wrong", [{"most": 1.0}, {"lowered": -0.1}, {"period": 0}])
def test_a_schedule_that_makes_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"mu = |period = "):
        MomentumSchedule(**wrong)


def test_classical_momentum_follows_its_schedule() -> None:
    """v' = mu_t v - eta f'(theta); theta' = theta + v', over a rise and the lowering at the end."""
    steps, eta, decay, mu = 40, 0.05, LMBDA / N, MomentumSchedule(0.95, period=5, until=30, lowered=0.6)
    nets = ensemble(members=1)
    net = nets.member(0)
    theta = [p.detach().clone() for p in net.parameters()]
    v = [torch.zeros_like(p) for p in theta]
    for t in range(steps):
        v = [mu(t) * u - eta * g for u, g in zip(v, gradients_at(net, theta, decay), strict=True)]
        theta = [p + u for p, u in zip(theta, v, strict=True)]
    nets.train((X, Y), steps, N, eta, LMBDA, optimizer=Momentum(mu))
    ours = [p for layer in nets.layers for p in (layer.w[0], layer.b[0, 0])]
    for p, expected in zip(ours, theta, strict=True):
        torch.testing.assert_close(p, expected, rtol=1e-9, atol=1e-10)


def test_nesterov_is_the_papers_velocity_form() -> None:
    """Eq. 3 and 4, literally: v' = mu_t v - eta f'(theta + mu_t v); theta' = theta + v', past two changes of mu."""
    steps, eta, decay, mu = 520, 0.05, LMBDA / N, Nesterov(0.9)
    nets = ensemble(members=1)
    net = nets.member(0)
    assert [mu.momentum(t) for t in (249, 250, 500)] == [0.5, 0.75, pytest.approx(5 / 6)]
    theta = [p.detach().clone() for p in net.parameters()]
    v = [torch.zeros_like(p) for p in theta]
    for t in range(steps):
        gradients = gradients_at(net, [p + mu.momentum(t) * u for p, u in zip(theta, v, strict=True)], decay)
        v = [mu.momentum(t) * u - eta * g for u, g in zip(v, gradients, strict=True)]
        theta = [p + u for p, u in zip(theta, v, strict=True)]
    nets.train((X, Y), steps, N, eta, LMBDA, optimizer=mu)
    ahead = [p + mu.momentum(steps) * u for p, u in zip(theta, v, strict=True)]
    ours = [p for layer in nets.layers for p in (layer.w[0], layer.b[0, 0])]
    for p, expected in zip(ours, ahead, strict=True):
        torch.testing.assert_close(p, expected, rtol=1e-9, atol=1e-10)


def gradients_at(net: nn.Module, point: list[Tensor], decay: float) -> list[Tensor]:
    with torch.no_grad():
        for p, value in zip(net.parameters(), point, strict=True):
            p.copy_(value)
    gradients = torch.autograd.grad(net.loss(X, Y), list(net.parameters()))
    return [g + decay * p.detach() if p.ndim == 2 else g for g, p in zip(gradients, net.parameters(), strict=True)]


def gradients_of(nets: Ensemble) -> list[LayerParameters]:
    nablas = [layer.zeros() for layer in nets.layers]
    for at, nabla in zip(nets.backpropagate(*nets.examples(X, Y)), nablas, strict=True):
        at.add_gradient_to(nabla, step=1.0)
    return nablas


@pytest.mark.parametrize("largest", [1e-3, 0.1, 1.0, 1e3, math.inf])
def test_clipping_equals_torchs_for_every_member(largest: float) -> None:
    nets = ensemble(members=5, initializer="large")
    nablas = gradients_of(nets)
    ours = [c.nabla for c in clipped([ExplicitGradient(n) for n in nablas], nets.layers, largest)]
    for i in range(nets.members):
        plain = [t[i] for nabla in nablas for t in (nabla.w, nabla.b)]
        theirs = [nn.Parameter(torch.zeros_like(t)) for t in plain]
        for p, t in zip(theirs, plain, strict=True):
            p.grad = t.clone()
        norm = clip_grad_norm_(theirs, largest)
        guard = (norm + 1e-6) / norm if norm > largest else 1.0
        for p, t in zip(theirs, (t[i] for nabla in ours for t in (nabla.w, nabla.b)), strict=True):
            torch.testing.assert_close(t, p.grad * guard, rtol=1e-12, atol=0)


def test_clipping_leaves_members_below_the_norm_as_they_are() -> None:
    nets = ensemble(members=8, initializer="large")
    nablas = gradients_of(nets)
    norms = torch.stack([t.square().sum((1, 2)) for n in nablas for t in (n.w, n.b)]).sum(0).sqrt()
    largest = float(norms.median())
    ours = clipped([ExplicitGradient(n) for n in nablas], nets.layers, largest)
    small = norms <= largest
    assert 0 < small.sum() < 8
    for nabla, c in zip(nablas, ours, strict=True):
        assert torch.equal(nabla.w[small], c.nabla.w[small])
        assert not torch.isclose(nabla.w[~small], c.nabla.w[~small]).any()


def test_clipping_a_gradient_whose_square_is_beyond_float32() -> None:
    huge = LayerParameters(torch.full((1, 1, 4), 1e30), torch.zeros(1, 1, 1))
    [ours] = clipped([ExplicitGradient(huge)], [huge], largest=1.0)
    assert ours.nabla.w.flatten().tolist() == pytest.approx([0.5] * 4)


def test_clipping_a_gradient_of_zero() -> None:
    nothing = LayerParameters(torch.zeros(1, 2, 3), torch.zeros(1, 1, 2))
    [ours] = clipped([ExplicitGradient(nothing)], [nothing], largest=1.0)
    assert torch.equal(ours.nabla.w, nothing.w)


@pytest.mark.parametrize("steps", [SGD(), Momentum(), Nesterov()], ids=str)
@pytest.mark.parametrize("frozen", [[0], [1], [2], [0, 2], [0, 1, 2]], ids=str)
def test_frozen_layers_do_not_move_by_a_bit(frozen: list[int], steps: Optimizer) -> None:
    nets = ensemble()
    before = [layer.copy() for layer in nets.layers]
    nets.train((X, Y), EPOCHS, BATCH, ETA, LMBDA, optimizer=steps, frozen=frozen)
    for l, (layer, old) in enumerate(zip(nets.layers, before, strict=True)):
        assert torch.equal(layer.w, old.w) == torch.equal(layer.b, old.b) == (l in frozen)


def test_layers_above_and_below_a_frozen_one_learn_as_in_torch() -> None:
    nets, batches = ensemble(), MiniBatches()
    members = [nets.member(i) for i in range(nets.members)]
    nets.train((X, Y), EPOCHS, BATCH, ETA, LMBDA, optimizer=Momentum(), frozen=[1], observe=batches)
    for i, net in enumerate(members):
        net.layers[1].requires_grad_(False)
        train_in_torch(net, torch.optim.SGD(parameters(net), lr=ETA, momentum=0.9), batches, clip=None)
        assert_member_is(nets, i, net)


class Adagrad:
    """An optimizer from outside (Duchi et al. 2011), to hold the Protocol to its word."""

    def state(self, layer: LayerParameters) -> LayerParameters:
        return layer.zeros()

    def update(
        self,
        layer: LayerParameters,
        state: LayerParameters,
        gradient: LayerGradient,
        *,
        eta: float,
        decay: float,
        t: int,
    ) -> None:
        del t
        g = layer.zeros()
        gradient.add_gradient_to(g, step=1.0)
        g.w.add_(layer.w, alpha=decay)
        for numbers, squares, slope in ((layer.w, state.w, g.w), (layer.b, state.b, g.b)):
            squares.addcmul_(slope, slope)
            numbers.addcdiv_(slope, squares.sqrt().add_(1e-10), value=-eta)


@pytest.mark.parametrize("clip", [None, 0.3])
def test_an_optimizer_of_ones_own(clip: float | None) -> None:
    nets, batches = ensemble(), MiniBatches()
    members = [nets.member(i) for i in range(nets.members)]
    nets.train((X, Y), EPOCHS, BATCH, 0.05, LMBDA, optimizer=Adagrad(), clip=clip, observe=batches)
    for i, net in enumerate(members):
        train_in_torch(net, torch.optim.Adagrad(parameters(net), lr=0.05), batches, clip)
        assert_member_is(nets, i, net)


def test_full_batch_descent_keeps_the_examples_in_order() -> None:
    for batch_size in (N, N + 100):
        batches = MiniBatches()
        ensemble().train((X, Y), 2, batch_size, ETA, observe=batches)
        assert [chosen.tolist() for chosen in batches.seen] == [list(range(N))] * 2


def test_observers_are_called_before_the_update() -> None:
    nets, seen = ensemble(), []
    start = nets.layers[0].w.clone()
    nets.train((X, Y), 2, N, ETA, observe=lambda _t, _signals: seen.append(nets.layers[0].w.clone()))
    assert torch.equal(seen[0], start)
    assert not torch.equal(seen[1], start)
    assert not torch.equal(nets.layers[0].w, seen[1])


def test_observers_see_the_errors_of_their_step() -> None:
    nets, speeds = ensemble(), []
    before = nets.learning_speed(X, Y)
    nets.train((X, Y), 2, N, ETA, observe=lambda _t, signals: speeds.append([s.delta.mean(1) for s in signals]))
    first = torch.stack([delta.norm(dim=-1) for delta in speeds[0]], -1)
    torch.testing.assert_close(first, before, rtol=1e-12, atol=0)
    assert not torch.isclose(torch.stack([d.norm(dim=-1) for d in speeds[1]], -1), before).any()


def test_observers_can_use_autograd() -> None:
    """Whatever the training switches off for its own speed must be on where others look."""
    nets, pairs = ensemble(), []

    def observe(_t: int, signals: list[LayerPass]) -> None:
        net, x = nets.member(1), signals[0].input
        chosen = (x[:, None] == X).all(-1).int().argmax(1)
        net.loss(x, Y[chosen]).backward()
        pairs.append((net.layers[0].bias.grad, signals[0].delta[1].mean(0)))

    nets.train((X, Y), 1, BATCH, ETA, observe=observe)
    assert len(pairs) == 5
    for theirs, ours in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-13)
