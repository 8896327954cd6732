"""The chapter's experiments: networks, numbers, and the figures that the text prints.

The book: Michael Nielsen, *Neural Networks and Deep Learning* (2015), chapter 5.
"""

from dataclasses import dataclass

from undertow.lab import Dataset, Ensemble, Initializer

HIDDEN = (1, 2, 3, 4)
"""Numbers of hidden layers compared, each of 30 neurons."""

NEURONS = 30
BATCH_SIZE = 10
ETA = 0.1
LMBDA = 5.0
FIRST_IMAGES = 1_000
"""Training images over which gradients are averaged and on which full-batch descent runs."""

BOOK_ACCURACY = {1: 96.48, 2: 96.90, 3: 96.57, 4: 96.53}
"""Per cent of validation images right, one network each."""

BOOK_INITIAL_SPEED = {2: [0.07, 0.31], 3: [0.012, 0.060, 0.283], 4: [0.003, 0.017, 0.070, 0.285]}
"""||δ^l|| of the hidden layers at the start, one network each."""


@dataclass(frozen=True)
class Grid:
    """Set how many deep networks are trained for the map: every pair of variances, with every learning rate.

    Attributes:
        weight_var, bias_var: n_in Var W and Var b of all layers.
        etas: learning rates tried; a setting counts by its best.
        members: networks of each setting.
        images: training images.
        epochs: passes over these.
    """

    weight_var: tuple[float, ...] = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.4, 2.0, 2.8, 4.0, 8.0, 16.0)
    bias_var: tuple[float, ...] = (0.0, 0.02, 0.1, 0.3, 0.6, 1.0)
    etas: tuple[float, ...] = (0.1, 0.01)
    members: int = 3
    images: int = 1_000
    epochs: int = 5

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one learning rate's accuracies: bias variances, weight variances, members."""
        return len(self.bias_var), len(self.weight_var), self.members


WHOLE_GRID = Grid()
QUICK_GRID = Grid((0.2, 0.6, 1.0, 2.0, 4.0, 16.0), (0.0, 0.1, 0.6), (0.03,), members=1, images=500, epochs=4)


@dataclass(frozen=True)
class Chapter5Config:
    """Set how much of it to do.

    Attributes:
        members: networks of each kind, from different seeds.
        epochs: of stochastic gradient descent, for the accuracies.
        descent_steps: of full-batch gradient descent, for the learning speeds.
        initial_members: networks whose gradients are looked at before any training.
        grid: of variances and learning rates for networks of ten hidden layers.
    """

    members: int = 8
    epochs: int = 30
    descent_steps: int = 500
    initial_members: int = 256
    grid: Grid = WHOLE_GRID


def config(quick: bool, members: int | None = None) -> Chapter5Config:
    """Return the chapter's amount, or a small part of it; as many members as asked for.

    Example:
        >>> config(quick=False).epochs, config(quick=True).members
        (30, 2)
    """
    if quick:
        return Chapter5Config(members or 2, epochs=3, descent_steps=50, grid=QUICK_GRID)
    return Chapter5Config(members or 8)


def network(
    data: Dataset, hidden: int, members: int, seed: int, *, first_member: int = 0, activation: str = "sigmoid",
    cost: str = "cross-entropy", initializer: str | Initializer = "default", output: str | None = None,
) -> Ensemble:  # fmt: skip
    """Build the chapter's network with so many hidden layers, as an ensemble.

    Example:
        >>> from undertow.lab import mnist
        >>> network(mnist(), 2, members=3, seed=0).sizes
        [784, 30, 30, 10]
    """
    sizes = [data.n_inputs, *[NEURONS] * hidden, data.n_classes]
    return Ensemble(
        sizes, members, seed=seed, first_member=first_member, activation=activation, cost=cost,
        initializer=initializer, output=output,
    )  # fmt: skip
