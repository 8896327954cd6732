"""Law 8: the same seed starts the same networks and deals the same mini-batches, however many members there are."""

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from undertow.lab import Ensemble, Momentum, Nesterov, training
from undertow.lab.initializers import WEIGHTS
from undertow.lab.layers import LayerPass
from undertow.lab.optimizers import Optimizer

torch.set_num_threads(1)  # identical bits are promised at equal threads

N, SIZES = 26, [5, 7, 4, 3]
random = torch.Generator().manual_seed(3)
X = torch.randn(N, SIZES[0], generator=random, dtype=torch.float64)
Y = torch.randint(SIZES[-1], (N,), generator=random)


def numbers(nets: Ensemble) -> list[Tensor]:
    return [t for layer in nets.layers for t in (layer.w, layer.b)]


def same(some: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


def order(nets: Ensemble, epochs: int = 1, batch_size: int = 4) -> list[list[int]]:
    """Which examples each step of a training saw; the examples carry their numbers."""
    seen: list[list[int]] = []
    x = torch.arange(N, dtype=nets.dtype)[:, None].expand(N, nets.sizes[0])

    def observe(_t: int, signals: list[LayerPass]) -> None:
        seen.append(signals[0].input[:, 0].int().tolist())

    nets.train((x, Y), epochs, batch_size, 0.0, observe=observe)
    return seen


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**70),
    members=st.integers(1, 6),
    first=st.integers(0, 4),
    name=st.sampled_from(sorted(WEIGHTS)),
)
def test_members_start_alike_however_the_ensemble_is_cut(seed: int, members: int, first: int, name: str) -> None:
    whole = Ensemble(SIZES, first + members, seed=seed, initializer=name)
    part = Ensemble(SIZES, members, seed=seed, initializer=name, first_member=first)
    assert same([t[first:] for t in numbers(whole)], numbers(part))


def test_how_a_member_starts_does_not_depend_on_what_it_will_compute() -> None:
    one = Ensemble(SIZES, 2, seed=1)
    other = Ensemble(SIZES, 2, seed=1, activation="relu", cost="log-likelihood")
    assert same(numbers(one), numbers(other))


@given(seed=st.integers(0, 2**32), name=st.sampled_from(sorted(WEIGHTS)))
@settings(deadline=None)
def test_float32_starts_from_the_rounded_float64(seed: int, name: str) -> None:
    single, double = (Ensemble(SIZES, 2, seed=seed, initializer=name, dtype=d) for d in (torch.float32, torch.float64))
    assert same(numbers(single), [t.float() for t in numbers(double)])


def test_seeds_members_and_layers_share_no_number() -> None:
    """Every weight and bias of 3 seeds x 4 members x 3 layers is a draw of its own."""
    nets = [Ensemble([4, 4, 4, 4], 4, seed=seed, dtype=torch.float64) for seed in (0, 1, 2**32)]
    drawn = torch.cat([t.flatten() for each in nets for t in numbers(each)])
    assert len(drawn) == 3 * 4 * 3 * (16 + 4)
    assert len(drawn.unique()) == len(drawn)


def test_neighbouring_seeds_are_not_neighbouring_members() -> None:
    """Seed 0's member 1 must not be seed 1's member 0, as adding the two numbers would have it."""
    one, other = Ensemble(SIZES, 2, seed=0), Ensemble(SIZES, 2, seed=1)
    assert not torch.isclose(one.layers[0].w[1], other.layers[0].w[0]).any()


def test_the_order_of_mini_batches_depends_on_the_seed_alone() -> None:
    expected = order(Ensemble(SIZES, 1, seed=5), epochs=3)
    for nets in (
        Ensemble(SIZES, 7, seed=5),
        Ensemble(SIZES, 2, seed=5, first_member=3),
        Ensemble([2, 9, 3], 2, seed=5, activation="tanh", initializer="he", dtype=torch.float64),
    ):
        assert order(nets, epochs=3) == expected
    assert order(Ensemble(SIZES, 1, seed=6), epochs=3) != expected


@settings(deadline=None)
@given(batch_size=st.integers(1, N - 1), seed=st.integers(0, 2**40))
def test_an_epoch_shows_every_example_once(batch_size: int, seed: int) -> None:
    batches = order(Ensemble([1, 3], 1, seed=seed), batch_size=batch_size)
    assert sorted(chain.from_iterable(batches)) == list(range(N))
    assert [len(b) for b in batches[:-1]] == [batch_size] * ((N - 1) // batch_size)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 7, 25])
def test_how_many_examples_are_fetched_at_once_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    orders = []
    for at_once in (1, 5, 12, 1000):
        monkeypatch.setattr(training, "FETCHED_AT_ONCE", at_once)
        orders.append(order(Ensemble(SIZES, 1, seed=5), epochs=2, batch_size=batch_size))
    assert all(each == orders[0] for each in orders)


def test_every_epoch_has_an_order_of_its_own() -> None:
    batches = order(Ensemble(SIZES, 1, seed=5), epochs=4, batch_size=13)
    epochs = [tuple(chain.from_iterable(batches[2 * e : 2 * e + 2])) for e in range(4)]
    assert len(set(epochs)) == 4
    assert tuple(range(N)) not in epochs


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "gelu"])
@pytest.mark.parametrize("optimizer", ["sgd", Momentum(), Nesterov()], ids=str)
def test_an_update_does_not_depend_on_how_many_members_there_are(activation: str, optimizer: str | Optimizer) -> None:
    """To 1e-12 an update in float64: the matrix products of other sizes round otherwise."""
    options = {"seed": 9, "dtype": torch.float64, "activation": activation}
    whole = Ensemble(SIZES, 9, **options)
    parts = [Ensemble(SIZES, m, first_member=f, **options) for m, f in ((1, 0), (2, 1), (6, 3))]
    for each in (whole, *parts):
        each.train((X, Y), 2, 4, 0.3, 0.1, optimizer=optimizer)
    updates = 2 * 7
    for l, layer in enumerate(whole.layers):
        w, b = (torch.cat([getattr(part.layers[l], name) for part in parts]) for name in ("w", "b"))
        torch.testing.assert_close(w, layer.w, rtol=updates * 1e-12, atol=updates * 1e-12)
        torch.testing.assert_close(b, layer.b, rtol=updates * 1e-12, atol=updates * 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov"])
def test_training_again_gives_the_same_bits(optimizer: str, dtype: torch.dtype) -> None:
    runs = []
    for _ in range(2):
        nets = Ensemble(SIZES, 3, seed=2, dtype=dtype)
        history = nets.train((X, Y), 3, 4, 0.3, 0.1, optimizer=optimizer, clip=0.5, evaluate={"all": (X, Y)})
        runs.append((numbers(nets), history.accuracy["all"]))
    assert same(runs[0][0], runs[1][0])
    assert np.array_equal(runs[0][1], runs[1][1])


@pytest.mark.parametrize("batch_size", [4, 13, N])
def test_two_epochs_are_one_and_then_another(batch_size: int) -> None:
    at_once, in_turn = (Ensemble(SIZES, 3, seed=2) for _ in range(2))
    at_once.train((X, Y), 2, batch_size, 0.3, 0.1)
    for _ in range(2):
        in_turn.train((X, Y), 1, batch_size, 0.3, 0.1)
    assert same(numbers(at_once), numbers(in_turn))
    assert at_once.epochs_trained == in_turn.epochs_trained == 2


def test_looking_changes_nothing() -> None:
    """Neither do evaluations, observers and questions between the epochs."""
    plain, watched = (Ensemble(SIZES, 3, seed=2) for _ in range(2))
    plain.train((X, Y), 3, 4, 0.3, 0.1)
    watched.train(
        (X, Y), 3, 4, 0.3, 0.1,
        evaluate={"some": (X[:9], Y[:9]), "all": (X, Y)},
        observe=lambda _t, signals: signals[-1].delta.norm(),
        on_epoch=lambda _epoch: watched.learning_speed(X[:4], Y[:4]),
    )  # fmt: skip
    assert same(numbers(plain), numbers(watched))


def test_nobody_elses_random_numbers_are_touched() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is the point
    Ensemble(SIZES, 2, initializer="sparse").train((X, Y), 1, 4, 0.1)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_the_data_are_left_as_they_were() -> None:
    x, y, targets = X.clone(), Y.clone(), torch.eye(3, dtype=torch.float64)[Y]
    for wanted in (y, targets):
        for batch_size in (4, N):
            nets = Ensemble(SIZES, 2, dtype=torch.float64)
            nets.train((x, wanted), 2, batch_size, 0.5, optimizer="momentum", clip=0.1)
    assert torch.equal(x, X)
    assert torch.equal(y, Y)
    assert torch.equal(targets, torch.eye(3, dtype=torch.float64)[Y])
