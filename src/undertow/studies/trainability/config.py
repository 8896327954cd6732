"""The networks that are trained: activations, depths, variances, for how long. As a specification of a sweep.

After S. Schoenholz, J. Gilmer, S. Ganguli, J. Sohl-Dickstein, "Deep information propagation", ICLR 2017, who
trained tanh networks of 300 neurons a layer, up to 300 layers deep.
"""

from dataclasses import dataclass
from typing import Any

from undertow.sweeping import Spec

BIAS_VAR = 0.05
"""Var b of the maps over depth: the paper's."""

TRAINED = 0.5
"""A network counts as trained when it has this share of the images it trains on right; guessing has a tenth."""

CRITICAL_TANH = 1.76
"""n_in Var W at which tanh with that bias variance is critical, to two decimals."""


@dataclass(frozen=True)
class Map:
    """A field of networks over depth and weight variance, with one activation.

    Attributes:
        activation: of the hidden layers.
        eta: learning rate, one for the whole map.
        depth: hidden layers.
        weight_var: n_in Var W.
    """

    activation: str
    eta: float
    depth: tuple[int, ...]
    weight_var: tuple[float, ...]


@dataclass(frozen=True)
class BiasMap:
    """A field of networks over both variances, at one depth."""

    activation: str
    eta: float
    depth: int
    weight_var: tuple[float, ...]
    bias_var: tuple[float, ...]


@dataclass(frozen=True)
class TrainabilityConfig:
    """Set how much of it to do.

    Attributes:
        maps: over depth and weight variance.
        bias_map: over both variances.
        width: neurons in each hidden layer.
        images: training images, the first of the set.
        epochs, batch_size: of plain stochastic gradient descent.
        seeds: networks of each setting.
        seed: where all randomness starts.
    """

    maps: tuple[Map, ...]
    bias_map: BiasMap
    width: int = 100
    images: int = 2_000
    epochs: int = 5
    batch_size: int = 20
    seeds: int = 3
    seed: int = 0

    @property
    def networks(self) -> int:
        """Return how many networks are trained; one that is on two maps counts once."""
        return len({str(sorted(cell.items())) for cell in self.spec("mnist").cells()})

    def spec(self, data: str) -> Spec:
        """Return all networks as a sweep.

        Args:
            data: name or path of the data set.
        """
        shared: dict[str, Any] = {
            "data": data, "images": self.images, "epochs": self.epochs, "batch_size": self.batch_size,
            "evaluated": 300, "curve": True, "width": self.width, "cost": "log-likelihood", "order": self.seed,
        }  # fmt: skip
        fields = [
            {"activation": [m.activation], "eta": [m.eta], "depth": list(m.depth), "weight_var": list(m.weight_var),
             "bias_var": [BIAS_VAR]}
            for m in self.maps
        ]  # fmt: skip
        bias = self.bias_map
        fields.append(
            {"activation": [bias.activation], "eta": [bias.eta], "depth": [bias.depth],
             "weight_var": list(bias.weight_var), "bias_var": list(bias.bias_var)}
        )  # fmt: skip
        return Spec.of({"name": "Trainability map", "seeds": self.seeds, "cell": shared, "grid": fields})


_WHOLE = TrainabilityConfig(
    maps=(
        Map(
            "tanh", 0.006, (5, 10, 15, 20, 30, 40, 50, 65, 80, 100),
            (0.6, 0.8, 1.0, 1.2, 1.4, 1.6, CRITICAL_TANH, 2.0, 2.3, 2.7, 3.2, 4.0),
        ),
        Map("relu", 0.006, (3, 5, 8, 12, 20, 30, 50, 70), (0.8, 1.0, 1.3, 1.6, 1.8, 1.9, 2.0, 2.2, 2.6)),
        Map("sigmoid", 0.05, (1, 2, 3, 5, 8, 12, 20, 30), (1, 2, 4, 8, 12, 16, 24, 32, 50, 75, 100, 150)),
    ),
    bias_map=BiasMap(
        "tanh", 0.006, 30,
        (0.6, 0.8, 1.0, 1.2, 1.4, CRITICAL_TANH, 2.0, 2.3, 2.7, 3.2, 4.0), (0.0, 0.02, 0.05, 0.1, 0.2, 0.4),
    ),
)  # fmt: skip
_QUICK = TrainabilityConfig(
    maps=(
        Map("tanh", 0.02, (4, 8, 16, 32), (0.5, 1.0, CRITICAL_TANH, 3.0, 6.0)),
        Map("relu", 0.02, (4, 8, 16), (0.8, 1.4, 2.0)),
        Map("sigmoid", 0.1, (1, 3, 8), (1, 12, 75)),
    ),
    bias_map=BiasMap("tanh", 0.02, 16, (0.5, 1.0, CRITICAL_TANH, 3.0, 6.0), (0.0, 0.05, 0.2, 0.8)),
    width=60, images=1_000, epochs=4, batch_size=20, seeds=1,
)  # fmt: skip


def config(quick: bool) -> TrainabilityConfig:
    """Return the whole map, or a small part of it.

    Example:
        >>> config(quick=False).networks >= 1000, config(quick=True).networks
        (True, 53)
    """
    return _QUICK if quick else _WHOLE
