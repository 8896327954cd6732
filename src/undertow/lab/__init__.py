"""Feed-forward networks whose backpropagation is written out, and the data they learn from."""

from undertow.lab.data import Dataset, DataSplit, digits, idx, load, mnist
from undertow.lab.ensemble import Ensemble
from undertow.lab.initializers import Initializer
from undertow.lab.optimizers import SGD, Momentum, MomentumSchedule, Nesterov
from undertow.lab.shapes import shapeset
from undertow.lab.training import Divergence, TrainingHistory
from undertow.renamed import old_names

__all__ = [
    "SGD",
    "DataSplit",
    "Dataset",
    "Divergence",
    "Ensemble",
    "Initializer",
    "Momentum",
    "MomentumSchedule",
    "Nesterov",
    "TrainingHistory",
    "digits",
    "idx",
    "load",
    "mnist",
    "shapeset",
]

__getattr__ = old_names(__name__, {"Rising": "MomentumSchedule", "Split": "DataSplit", "History": "TrainingHistory"})
