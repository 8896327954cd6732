"""The lab measures what the book measured: chapter 5's speeds at the start, and through 500 epochs of descent."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from undertow.lab import Ensemble, mnist
from undertow.lab.layers import LayerParameters, LayerPass
from undertow.lab.readings import speed

torch.set_num_threads(1)

DATA = Path(__file__).parent.parent / "data"

# 2.5, 50 and 97.5 percentiles of ||δ^l|| at the start, first hidden layer first, over 2,000 networks of another
# implementation (NumPy, float64) that kept to the book's protocol; see tests/data/README.md.
BANDS = {
    1: [(0.188, 0.295, 0.432)],
    2: [(0.0336, 0.0588, 0.0954), (0.181, 0.289, 0.426)],
    3: [(0.0063, 0.0118, 0.0202), (0.0337, 0.0578, 0.0954), (0.184, 0.289, 0.436)],
    4: [(0.0012, 0.0024, 0.0044), (0.0064, 0.0118, 0.0206), (0.0336, 0.0587, 0.0935), (0.183, 0.293, 0.426)],
}
TEXT = {2: [0.07, 0.31], 3: [0.012, 0.060, 0.283], 4: [0.003, 0.017, 0.070, 0.285]}  # one network each
MEAN_FIELD_RATIO = 4.88  # 1 / sqrt(chi_1) at sw = sb = 1
DEPTHS = pytest.mark.parametrize("hidden", BANDS)


@pytest.fixture(scope="module")
def thousand() -> tuple[Tensor, Tensor]:
    """The first 1,000 training images."""
    train = mnist().train
    return train.x[:1000], train.y[:1000]


@pytest.fixture(scope="module")
def speeds(thousand: tuple[Tensor, Tensor]) -> dict[int, Tensor]:
    """||δ^l|| of 128 networks for every depth, [members, hidden layers]."""
    return {h: Ensemble([784, *[30] * h, 10], members=128).learning_speed(*thousand)[:, :-1] for h in BANDS}


def share_inside(speeds: Tensor, hidden: int) -> Tensor:
    low, _, high = torch.tensor(BANDS[hidden]).T
    return ((low <= speeds) & (speeds <= high)).double().mean()


@DEPTHS
def test_medians_at_the_start(speeds: dict[int, Tensor], hidden: int) -> None:
    medians = torch.tensor([median for _, median, _ in BANDS[hidden]])
    torch.testing.assert_close(speeds[hidden].median(0).values, medians, rtol=0.15, atol=0)


@DEPTHS
def test_nine_in_ten_lie_inside_the_bands(speeds: dict[int, Tensor], hidden: int) -> None:
    assert share_inside(speeds[hidden], hidden) >= 0.9


@pytest.mark.parametrize("hidden", TEXT)
def test_the_books_networks_could_be_among_these(speeds: dict[int, Tensor], hidden: int) -> None:
    book = torch.tensor(TEXT[hidden])
    assert (speeds[hidden].min(0).values < book).all()
    assert (book < speeds[hidden].max(0).values).all()


@pytest.mark.parametrize("hidden", TEXT)
def test_every_earlier_layer_is_slower_in_every_network(speeds: dict[int, Tensor], hidden: int) -> None:
    assert (speeds[hidden].diff(dim=1) > 0).all()


def test_neighbouring_layers_differ_by_what_mean_field_says(speeds: dict[int, Tensor]) -> None:
    ratios = torch.cat([(each[:, 1:] / each[:, :-1]).flatten() for each in speeds.values()])
    assert ratios.median().item() == pytest.approx(MEAN_FIELD_RATIO, rel=0.05)


def test_the_large_initializer_does_not_fit(thousand: tuple[Tensor, Tensor]) -> None:
    """Or the bands would prove nothing: the chapter argues with N(0, 1) weights but ran with N(0, 1/n_in)."""
    large = Ensemble([784, 30, 30, 10], members=64, initializer="large").learning_speed(*thousand)[:, :-1]
    assert share_inside(large, hidden=2) < 0.1
    assert (large[:, 0] < TEXT[2][0]).all() or (large[:, 0] > TEXT[2][0]).all()


def test_the_bars_of_the_first_six_neurons(thousand: tuple[Tensor, Tensor]) -> None:
    """dC/db of the figure's twelve neurons: every bar no longer, and the six together no other, than networks have."""
    book = torch.tensor(json.loads((DATA / "book_initial_gradient.json").read_text()))
    nets = Ensemble([784, 30, 30, 10], members=256)
    bars = [at.delta.mean(1)[:, :6] for at in nets.backpropagate(*nets.examples(*thousand))[:2]]
    for ours, theirs in zip(bars, book, strict=True):
        assert (theirs.abs() < ours.abs().max(0).values).all()
        low, high = ours.norm(dim=1).quantile(torch.tensor([0.025, 0.975]))
        assert low < theirs.norm() < high


def without_black_pixels(nets: Ensemble, lit: Tensor) -> Ensemble:
    """The same networks minus the weights that see a 0 in every image: they take no part in anything."""
    slim = Ensemble([int(lit.sum()), *nets.sizes[1:]], nets.members)
    slim.layers[0].copy_(LayerParameters(nets.layers[0].w[:, :, lit], nets.layers[0].b))
    for ours, theirs in zip(slim.layers[1:], nets.layers[1:], strict=True):
        ours.copy_(theirs)
    return slim


def test_the_books_curve_of_two_hidden_layers(thousand: tuple[Tensor, Tensor]) -> None:
    """500 epochs of full-batch descent, eta = 0.1, lmbda = 5.0, the norm taken before the epoch's step."""
    book = torch.tensor(json.loads((DATA / "book_norms_2_hidden.json").read_text()))
    x, y = thousand
    lit, whole = (x != 0).any(0), Ensemble([784, 30, 30, 10], members=12)
    nets = without_black_pixels(whole, lit)
    torch.testing.assert_close(nets.learning_speed(x[:, lit], y), whole.learning_speed(x, y))
    curves: list[Tensor] = []

    def observe(_t: int, signals: list[LayerPass]) -> None:
        curves.append(torch.stack([speed(at) for at in signals[:-1]], -1))

    nets.train((x[:, lit], y), 500, len(x), eta=0.1, lmbda=5.0, observe=observe)
    ours = torch.stack(curves, 1)  # [members, epochs, hidden layers]
    inside = (ours.min(0).values <= book) & (book <= ours.max(0).values)
    assert inside.shape == (500, 2)
    assert (inside.double().mean(0) >= 0.95).all()
