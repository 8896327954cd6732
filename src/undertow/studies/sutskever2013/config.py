"""The part of the paper that is repeated: autoencoders, optimizers, amounts; and the numbers it printed.

The paper: I. Sutskever, J. Martens, G. Dahl and G. Hinton, "On the importance of initialization and momentum in deep
learning", ICML 2013.
"""

from dataclasses import dataclass

from undertow.lab import SGD, Dataset, Ensemble, Initializer, Momentum, MomentumSchedule, Nesterov
from undertow.lab.initializers import SPARSE_INPUTS
from undertow.lab.optimizers import Optimizer

BATCH_SIZE = 200
PAPER_HIDDEN = (1000, 500, 250, 30)
PAPER_UPDATES = 750_000
RISES_OVER = 750
"""The schedule of mu rises every 750th part of training, so that .999 is reached two thirds of the way."""
SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Factors that the sparse start is multiplied by."""

MU = (0.9, 0.99, 0.995, 0.999)
LOWERED = 0.9


@dataclass(frozen=True)
class Method:
    """One way to descend.

    Attributes:
        name: as the page calls it.
        kind: "SGD", "Nesterov" or "classical".
        mu: the largest momentum coefficient, 0 without momentum.
        etas: learning rates tried.
    """

    name: str
    kind: str
    mu: float
    etas: tuple[float, ...]

    def optimizer(self, updates: int, until: float) -> Optimizer:
        """Return the optimizer for so many updates, the schedule shrunk to them, momentum lowered from ``until`` on.

        Example:
            >>> METHODS["0.99N"].optimizer(updates=7_500, until=7_000).momentum(100)
            0.9545454545454546
        """
        if not self.mu:
            return SGD()
        rising = MomentumSchedule(self.mu, updates / RISES_OVER, until, LOWERED)
        return Nesterov(rising) if self.kind == "Nesterov" else Momentum(rising)


ETAS: dict[float, tuple[float, ...]] = {
    0.0: (0.5, 0.2, 0.1),
    0.9: (0.1, 0.05, 0.02),
    0.99: (0.1, 0.05, 0.02),
    0.995: (0.05, 0.02, 0.01),
    0.999: (0.05, 0.02, 0.01),
}
METHODS = {
    each.name: each
    for each in (
        Method("SGD", "SGD", 0.0, ETAS[0.0]),
        *(Method(f"{mu:g}N", "Nesterov", mu, ETAS[mu]) for mu in MU),
        *(Method(f"{mu:g}M", "classical", mu, ETAS[mu]) for mu in MU),
    )
}

PAPER_ERROR: dict[str, dict[str, float]] = {
    "Curves": dict(zip(METHODS, (0.48, 0.16, 0.096, 0.091, 0.074, 0.15, 0.10, 0.10, 0.10), strict=True)),
    "MNIST": dict(zip(METHODS, (2.1, 1.0, 0.73, 0.75, 0.80, 1.0, 0.77, 0.84, 0.90), strict=True)),
    "Faces": dict(zip(METHODS, (36.4, 14.2, 8.5, 7.8, 7.7, 15.3, 8.7, 8.3, 9.3), strict=True)),
}
"""Squared error on the training set, the paper's table 1."""

PAPER_SCALE_ERROR = dict(zip(SCALES, (16.0, 16.0, 0.074, 0.083, 0.35), strict=True))
"""On Curves, by the scale of the sparse start."""

PAPER_LOWERING = {"Curves": (0.096, 0.074), "MNIST": (1.20, 0.73), "Faces": (10.83, 7.7)}
"""Squared error before and after momentum is lowered for the last 1,000 updates."""


@dataclass(frozen=True)
class Sutskever2013Config:
    """Set how much of it is done here.

    Attributes:
        hidden: units of the encoder's layers, the code last; the decoder has them in reverse.
        updates: of each network.
        lowered_for: updates at the end with momentum lowered.
        scale_updates: of the networks that start at another scale.
        members: networks of each kind.
        rates: how many learning rates are tried, of each method's.
        looks: how often training is looked at.
        images: training images that errors are measured on.
    """

    hidden: tuple[int, ...] = (128, 64, 32, 16)
    updates: int = 4_000
    lowered_for: int = 300
    scale_updates: int = 2_000
    members: int = 2
    rates: int = 3
    looks: int = 40
    images: int = 5_000


def config(quick: bool) -> Sutskever2013Config:
    """Return the whole amount, or a small part of it.

    Example:
        >>> config(quick=False).hidden, config(quick=True).updates
        ((128, 64, 32, 16), 250)
    """
    if not quick:
        return Sutskever2013Config()
    return Sutskever2013Config((64, 32, 24, 16), 250, lowered_for=40, scale_updates=150, rates=2, looks=8, images=500)


def autoencoder(data: Dataset, hidden: tuple[int, ...], members: int, seed: int, scale: float = 1.0) -> Ensemble:
    """Build autoencoders that start sparse: sigmoids but for a linear code in the middle, quadratic cost.

    Example:
        >>> from undertow.lab import digits
        >>> nets = autoencoder(digits(), (20, 16), members=2, seed=0)
        >>> nets.sizes, nets.activations
        ([64, 20, 16, 20, 64], ['sigmoid', 'linear', 'sigmoid', 'sigmoid'])
    """
    sizes = [data.n_inputs, *hidden, *reversed(hidden[:-1]), data.n_inputs]
    activations = ["sigmoid"] * (len(sizes) - 2)
    activations[len(hidden) - 1] = "linear"
    return Ensemble(
        sizes, members, seed=seed, activation=activations, output="sigmoid", cost="quadratic",
        initializer=Initializer("sparse", scale=scale),
    )  # fmt: skip


def weight_var(scale: float) -> float:
    """Return what mean-field theory calls n Var W: each unit listens to 15 others by weights of variance scale².

    Example:
        >>> weight_var(0.5)
        3.75
    """
    return SPARSE_INPUTS * scale**2
