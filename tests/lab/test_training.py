"""A member that reaches NaN is named, with the place where it began, and takes nobody along."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from undertow.lab import SGD, Divergence, Ensemble, Momentum, Nesterov
from undertow.lab.layers import LayerPass
from undertow.lab.optimizers import Optimizer
from undertow.lab.training import MiniBatchDescent

torch.set_num_threads(1)

N, BATCH, STEPS_AN_EPOCH = 22, 4, 6  # five mini-batches of 4 and one of 2
SIZES = [3, 5, 4, 2]
random = torch.Generator().manual_seed(7)
X, Y = torch.rand(N, SIZES[0], generator=random), torch.randint(SIZES[-1], (N,), generator=random)
OPTIMIZERS = pytest.mark.parametrize("optimizer", [SGD(), Momentum(), Nesterov()], ids=str)


def relu_nets(members: int = 4) -> Ensemble:
    return Ensemble(SIZES, members, seed=1, activation="relu", initializer="he", cost="quadratic", output="linear")


def numbers(nets: Ensemble, but: tuple[int, ...] = ()) -> list[Tensor]:
    kept = [i for i in range(nets.members) if i not in but]
    return [t[kept] for layer in nets.layers for t in (layer.w, layer.b)]


def same(some: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


def spoil(member: int, epoch: int) -> Callable[[Ensemble], Callable[[int], None]]:
    """An ``on_epoch`` that makes the last weights of a member too large for float32 when an epoch ends."""

    def on_epoch_of(nets: Ensemble) -> Callable[[int], None]:
        def on_epoch(ended: int) -> None:
            if ended == epoch:
                nets.layers[-1].w[member] = 1e38
                nets.layers[-1].b[member] = 3e38

        return on_epoch

    return on_epoch_of


@dataclass(frozen=True)
class Chain:
    """Single neurons in a row with numbers that make one equation the first to overflow float32."""

    w: list[float]
    b: list[float]
    x: float
    y: float
    eta: float = 1e-30
    activation: str = "tanh"

    def train(self, optimizer: Optimizer) -> list[Divergence]:
        nets = Ensemble([1] * (len(self.w) + 1), activation=self.activation, cost="quadratic", output="linear")
        for layer, w, b in zip(nets.layers, self.w, self.b, strict=True):
            layer.w.fill_(w)
            layer.b.fill_(b)
        data = torch.full((2, 1), self.x), torch.full((2, 1), self.y)
        return nets.train(data, 1, 2, self.eta, optimizer=optimizer).divergences


@pytest.mark.parametrize(
    ("layer", "equation", "chain"),
    [
        # z = 10 * 1e38
        (1, "forward", Chain([1e38], [0], x=10, y=0)),
        (2, "forward", Chain([1, 1e38], [0, 0], x=10, y=0, activation="linear")),
        # z = 10 * 1e38 again, though a = σ(inf) = 1 looks well; what loses the member comes later, BP1 of layer 2
        (1, "forward", Chain([1e38, 0], [0, 2e38], x=10, y=-2e38, activation="sigmoid")),
        # a = 2e38 and y = -2e38 are finite, a - y is not
        (1, "BP1", Chain([0], [2e38], x=1, y=-2e38)),
        (2, "BP1", Chain([0, 0], [0, 2e38], x=1, y=-2e38)),
        # w = 1e30 and δ = -1e10 behind it are finite, their product is not; a = tanh(0) hides w from the forward pass
        (1, "BP2", Chain([1, 1e30], [0, 0], x=0, y=1e10)),
        (1, "BP2", Chain([1, 1e30, 1], [0, 0, 0], x=0, y=1e10)),
        (2, "BP2", Chain([1, 1, 1e30], [0, 0, 0], x=0, y=1e10)),
        # δ = -1e30 is finite, the step eta δ is not
        (1, "BP3", Chain([0], [0], x=0, y=1e30, eta=1e10)),
        (2, "BP3", Chain([0, 0], [0, 0], x=0, y=1e30, eta=1e10)),
        # the biases' step 1e35 is finite, the weights' is a = 1e10 times as large
        (1, "BP4", Chain([0], [0], x=1e10, y=1e30, eta=1e5)),
        (2, "BP4", Chain([0, 0], [1e10, 0], x=0, y=1e30, eta=1e5, activation="linear")),
    ],
)
@OPTIMIZERS
def test_the_equation_that_was_first(layer: int, equation: str, chain: Chain, optimizer: Optimizer) -> None:
    assert chain.train(optimizer) == [Divergence(member=0, epoch=0, mini_batch=0, layer=layer, equation=equation)]


def test_a_weighted_input_that_overflows_under_a_sigmoid_loses_nobody() -> None:
    """σ(inf) = 1 and σ' = 0 there: every weight stays finite, and the member goes on."""
    nets = Ensemble([1, 2, 1], members=2)
    nets.layers[0].w[1] = 1e38
    history = nets.train((torch.full((6, 1), 10.0), torch.ones(6, 1)), 2, 3, 0.1, evaluate={"same": (X[:, :1], Y * 0)})
    assert history.divergences == []
    assert np.isfinite(history.accuracy["same"]).all()


@OPTIMIZERS
@pytest.mark.parametrize("clip", [None, 0.5])
def test_when_and_who(optimizer: Optimizer, clip: float | None) -> None:
    nets = relu_nets()
    history = nets.train(
        (X, Y), 4, BATCH, 0.01, optimizer=optimizer, clip=clip, evaluate={"all": (X, Y)}, on_epoch=spoil(2, 2)(nets)
    )
    [d] = history.divergences
    assert (d.member, d.epoch, d.layer) == (2, 2, 3)  # spoiled after epochs 0 and 1
    assert d.equation in {"forward", "BP1"}
    assert d.mini_batch == 0
    assert history.diverged == [2]
    lost = np.isnan(history.accuracy["all"])
    assert lost.tolist() == [[i == 2 and e >= 2 for e in range(4)] for i in range(4)]


@OPTIMIZERS
@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("member", [0, 1, 3])
def test_the_others_are_what_they_would_have_been(optimizer: Optimizer, clip: float | None, member: int) -> None:
    """Bit for bit: no number of one member enters another's."""
    healthy, struck = relu_nets(), relu_nets()
    accuracy = {}
    for nets, on_epoch in ((healthy, None), (struck, spoil(member, 1)(struck))):
        history = nets.train(
            (X, Y), 4, BATCH, 0.01, 0.1, optimizer=optimizer, clip=clip, evaluate={"all": (X, Y)}, on_epoch=on_epoch
        )
        accuracy[nets] = np.delete(history.accuracy["all"], member, axis=0)
    assert not all(t[member].isfinite().all() for t in numbers(struck))
    assert same(numbers(struck, but=(member,)), numbers(healthy, but=(member,)))
    assert np.array_equal(accuracy[struck], accuracy[healthy])


def exploding(members: int = 8) -> Ensemble:
    """Linear layers with N(0, 1) weights under the quadratic cost, each member at its own pace towards overflow."""
    return Ensemble(
        [3, 6, 6, 2], members, seed=3, activation="linear", initializer="large", cost="quadratic", output="linear"
    )


class Witness:
    """Notes, at every step, which members' signals are finite, and the numbers of the steps."""

    def __init__(self) -> None:
        self.finite: list[list[bool]] = []
        self.steps: list[int] = []

    def __call__(self, t: int, signals: list[LayerPass]) -> None:
        finite = [s.isfinite().flatten(1).all(1) for at in signals for s in (at.z, at.a, at.delta)]
        self.finite.append(torch.stack(finite).all(0).tolist())
        self.steps.append(t)


def assert_witness_agrees(witness: Witness, divergences: list[Divergence], steps_an_epoch: int) -> None:
    for d in divergences:
        first = next(t for t, finite in enumerate(witness.finite) if not finite[d.member])
        told = d.epoch * steps_an_epoch + d.mini_batch
        assert first == told + (d.equation in {"BP3", "BP4"})  # an update shows in the signals of the next step


@OPTIMIZERS
def test_members_are_lost_where_a_witness_saw_it(optimizer: Optimizer) -> None:
    nets, witness = exploding(), Witness()
    history = nets.train((X, Y), 12, BATCH, 0.02, optimizer=optimizer, observe=witness)
    assert len(history.diverged) == len(set(history.diverged)) >= 2
    assert_witness_agrees(witness, history.divergences, STEPS_AN_EPOCH)
    assert all(t.isfinite().all() for t in numbers(nets, but=tuple(history.diverged)))


@pytest.mark.parametrize("eta", [0.85, 1.0])
def test_a_replay_starts_where_the_schedule_stood(eta: float) -> None:
    """A neuron that overshoots more every step; Nesterov's momentum moves at step 250, and must do so again."""
    nets, witness = Ensemble([1, 1], 4, initializer="large", cost="quadratic", output="linear"), Witness()
    data = torch.ones(300, 1), torch.zeros(300, 1)
    history = nets.train(data, 1, 1, eta, optimizer=Nesterov(), observe=witness)
    assert history.diverged
    assert_witness_agrees(witness, history.divergences, steps_an_epoch=300)


def test_several_are_lost_in_one_epoch_each_at_its_own_step() -> None:
    nets = exploding()
    history = nets.train((X, Y), 12, BATCH, 0.05)
    assert {d.epoch for d in history.divergences} < set(range(12))
    assert max(np.bincount([d.epoch for d in history.divergences])) >= 3
    assert len({d.mini_batch for d in history.divergences}) >= 2
    keys = [(d.epoch, d.mini_batch) for d in history.divergences]
    assert keys == sorted(keys)


def test_an_infinite_input_is_found_in_its_mini_batch() -> None:
    x, at = X.clone(), []
    x[13, 1] = torch.inf
    nets = relu_nets(members=3)

    def observe(t: int, signals: list[LayerPass]) -> None:
        at.extend([t] * bool(signals[0].input.isinf().any()))

    history = nets.train((x, Y), 1, BATCH, 0.01, observe=observe)
    assert sorted(history.divergences, key=lambda d: d.member) == [
        Divergence(member, epoch=0, mini_batch=at[0], layer=1, equation="forward") for member in range(3)
    ]


@OPTIMIZERS
def test_looking_for_the_lost_leaves_no_trace(optimizer: Optimizer) -> None:
    """The same steps without the watch, over the steps at which Nesterov's schedule moves, end in the same bits."""
    batch_size, epochs = 1, 40  # 22 steps an epoch: step 250 lies inside the twelfth, 500 and 750 later
    watched, plain, steps = relu_nets(), relu_nets(), []
    spoilers = {nets: (spoil(1, 3)(nets), spoil(3, 9)(nets)) for nets in (watched, plain)}
    history = watched.train(
        (X, Y), epochs, batch_size, 0.001, 0.1, optimizer=optimizer,
        observe=lambda t, _signals: steps.append(t),
        on_epoch=lambda e: [spoiler(e) for spoiler in spoilers[watched]],
    )  # fmt: skip
    descent = MiniBatchDescent(
        plain, plain.inputs(X), plain.targets(Y), batch_size, 0.001, 0.1 / N, optimizer, clip=None, frozen=()
    )
    for e in range(1, epochs + 1):
        descent.epoch()
        for spoiler in spoilers[plain]:
            spoiler(e)
    assert history.diverged == [1, 3]
    assert same(numbers(watched, but=(1, 3)), numbers(plain, but=(1, 3)))
    for a, b in zip(numbers(watched), numbers(plain), strict=True):
        assert torch.equal(a.isfinite(), b.isfinite())
    assert watched.epochs_trained == plain.epochs_trained == epochs
    assert steps == list(range(epochs * N))  # every step once, none of the replay's


def test_who_was_lost_before_is_not_lost_again() -> None:
    nets = relu_nets()
    nets.layers[1].w[2] = torch.nan
    history = nets.train((X, Y), 2, BATCH, 0.01, evaluate={"all": (X, Y)})
    assert history.divergences == []
    assert np.isnan(history.accuracy["all"]).tolist() == [[i == 2] * 2 for i in range(4)]


def test_a_second_training_starts_a_count_of_its_own() -> None:
    nets = relu_nets()
    nets.train((X, Y), 2, BATCH, 0.01, on_epoch=spoil(0, 2)(nets))  # spoiled after the last epoch, not yet lost
    history = nets.train((X, Y), 2, BATCH, 0.01)
    assert [(d.member, d.epoch) for d in history.divergences] == [(0, 0)]
    assert nets.train((X, Y), 1, BATCH, 0.01).divergences == []


def test_with_every_layer_frozen_nothing_can_be_lost() -> None:
    nets = relu_nets()
    spoil(1, 0)(nets)(0)
    assert nets.train((X, Y), 1, BATCH, 0.01, frozen=[0, 1, 2]).divergences == []


def test_it_reads_as_a_sentence() -> None:
    assert str(Divergence(3, 0, 4, 2, "BP2")) == "member 3: not finite from epoch 0, mini-batch 4, layer 2, BP2"
