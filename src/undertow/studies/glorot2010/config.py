"""The part of the paper that is repeated: networks, data, amounts; and the numbers it printed.

The paper: X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks",
AISTATS 2010.
"""

from dataclasses import dataclass

from undertow.lab import Dataset, Ensemble
from undertow.lab.shapes import CLASSES, SIDE

DEPTH = 5
"""Hidden layers, of equal width."""

PAPER_WIDTH = 1_000
BATCH_SIZE = 10
SHAPES = "shapes"
"""Name of our own endless images; the other data go by their own name."""


@dataclass(frozen=True)
class Configuration:
    """One of the networks compared.

    Attributes:
        name: as the paper's table calls it; N is the normalised initialisation.
        activation: of the hidden layers.
        initializer: of the lab: the standard U(±1/sqrt n), or the normalised U(±sqrt 6 / sqrt(n_in + n_out)).
        hidden: how many hidden layers.
        etas: learning rates tried before.
    """

    name: str
    activation: str
    initializer: str
    hidden: int = DEPTH
    etas: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2)


SIGMOID_ETAS = (1.0, 0.3, 0.1)
CONFIGURATIONS = {
    each.name: each
    for each in (
        Configuration("softsign", "softsign", "standard"),
        Configuration("softsign N", "softsign", "glorot_uniform"),
        Configuration("tanh", "tanh", "standard"),
        Configuration("tanh N", "tanh", "glorot_uniform"),
        Configuration("sigmoid", "sigmoid", "standard", etas=SIGMOID_ETAS),
        Configuration("sigmoid, 4 layers", "sigmoid", "standard", hidden=4, etas=SIGMOID_ETAS),
    )
}
COMPARED = ("softsign", "softsign N", "tanh", "tanh N", "sigmoid")
"""The five of the paper's table."""

PAPER_ERROR: dict[str, dict[str, float]] = {
    "Shapeset": {"softsign": 16.27, "softsign N": 16.06, "tanh": 27.15, "tanh N": 15.60, "sigmoid": 82.61},
    "MNIST": {"softsign": 1.64, "softsign N": 1.72, "tanh": 1.76, "tanh N": 1.64, "sigmoid": 2.21},
    "CIFAR-10": {"softsign": 55.78, "softsign N": 53.8, "tanh": 55.9, "tanh N": 52.92, "sigmoid": 57.28},
    "ImageNet, small": {"softsign": 69.14, "softsign N": 68.13, "tanh": 70.58, "tanh N": 68.57, "sigmoid": 70.66},
}
"""Test error in per cent, the paper's table 1."""


@dataclass(frozen=True)
class Glorot2010Config:
    """Set how much of it is done here.

    Attributes:
        width: of the hidden layers of networks that are trained.
        start_width: of those only looked at as they start.
        members: networks of each kind trained.
        pilot, shapes_pilot: images, and shapes, that each learning rate is tried on.
        images, shapes: examples trained on, of the data set named and of our own shapes.
        points: how often training is looked at, at steps that grow by a factor.
        examined: examples that activations and gradients are measured on, as in the paper.
        held_out: shapes to validate and to test with, each so many.
        start_seeds: networks looked at as they start.
    """

    width: int = 100
    start_width: int = PAPER_WIDTH
    members: int = 3
    pilot: int = 60_000
    shapes_pilot: int = 300_000
    images: int = 500_000
    shapes: int = 2_000_000
    points: int = 48
    examined: int = 300
    held_out: int = 10_000
    start_seeds: int = 4

    def examples(self, source: str) -> int:
        """Return how many examples a network is trained on."""
        return self.shapes if source == SHAPES else self.images


def config(quick: bool) -> Glorot2010Config:
    """Return the whole amount, or a small part of it.

    Example:
        >>> config(quick=False).width, config(quick=True).width
        (100, 30)
    """
    if not quick:
        return Glorot2010Config()
    return Glorot2010Config(
        width=30, start_width=100, members=2, pilot=2_000, shapes_pilot=2_000, images=20_000, shapes=20_000,
        points=12, start_seeds=2, held_out=2_000,
    )  # fmt: skip


def network(
    configuration: Configuration, source: str, data: Dataset, width: int, members: int, seed: int, first_member: int = 0
) -> Ensemble:
    """Build networks of a configuration for a source of images, softmax and log-likelihood as in the paper.

    Example:
        >>> from undertow.lab import digits
        >>> network(CONFIGURATIONS["tanh"], SHAPES, digits(), width=20, members=2, seed=0).sizes
        [1024, 20, 20, 20, 20, 20, 9]
    """
    n_in, n_out = (SIDE**2, len(CLASSES)) if source == SHAPES else (data.n_inputs, data.n_classes)
    return Ensemble(
        [n_in, *[width] * configuration.hidden, n_out], members, seed=seed, first_member=first_member,
        activation=configuration.activation, initializer=configuration.initializer, cost="log-likelihood",
    )  # fmt: skip
