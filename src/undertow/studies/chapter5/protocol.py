"""What the chapter's experiments are: networks, numbers, and the figures that the text prints.

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
class Protocol:
    """How much of it to do.

    Attributes:
        members: networks of each kind, from different seeds.
        seed: where all randomness starts.
        epochs: of stochastic gradient descent, for the accuracies.
        descent_steps: of full-batch gradient descent, for the learning speeds.
        initial_members: networks whose gradients are looked at before any training.
        quick: whether this is less than the chapter's own amount.

    Example:
        >>> Protocol.of(members=8, seed=0, quick=False).epochs
        30
        >>> Protocol.of(members=None, seed=0, quick=True)
        Protocol(members=2, seed=0, epochs=3, descent_steps=50, initial_members=256, quick=True)
    """

    members: int = 8
    seed: int = 0
    epochs: int = 30
    descent_steps: int = 500
    initial_members: int = 256
    quick: bool = False

    @classmethod
    def of(cls, members: int | None, seed: int, quick: bool) -> "Protocol":
        """The chapter's amount, or a taste of it; as many members as asked for."""
        if quick:
            return cls(members=members or 2, seed=seed, epochs=3, descent_steps=50, quick=True)
        return cls(members=members or 8, seed=seed)


def network(
    data: Dataset,
    hidden: int,
    members: int,
    seed: int,
    *,
    first_member: int = 0,
    activation: str = "sigmoid",
    cost: str = "cross-entropy",
    initializer: str | Initializer = "default",
    output: str | None = None,
) -> Ensemble:
    """The chapter's network with so many hidden layers, as an ensemble.

    Example:
        >>> from undertow.lab import mnist
        >>> network(mnist(), 2, members=3, seed=0).sizes
        [784, 30, 30, 10]
    """
    return Ensemble(
        [data.n_inputs, *[NEURONS] * hidden, data.n_classes],
        members,
        seed=seed,
        first_member=first_member,
        activation=activation,
        cost=cost,
        initializer=initializer,
        output=output,
    )
