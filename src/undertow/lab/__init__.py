"""Feed-forward networks whose backpropagation is written out, and the data they learn from."""

from undertow.lab.data import Dataset, Split, digits, idx, load, mnist
from undertow.lab.ensemble import Ensemble
from undertow.lab.initializers import Initializer
from undertow.lab.optimizers import SGD, Momentum, Nesterov, Rising
from undertow.lab.shapes import shapeset
from undertow.lab.training import Divergence, History

__all__ = [
    "SGD",
    "Dataset",
    "Divergence",
    "Ensemble",
    "History",
    "Initializer",
    "Momentum",
    "Nesterov",
    "Rising",
    "Split",
    "digits",
    "idx",
    "load",
    "mnist",
    "shapeset",
]
