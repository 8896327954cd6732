"""From a Signal, the live tensors at a Site, to numbers: reduced on their device at once, transferred together.

A reduction leaves a 0-d tensor on the device. They are kept in a list and stacked at the end, so that a recorded
step waits for its device once, however many Sites there are.
"""

from undertow.measure.attention import measure_attention
from undertow.measure.meter import FLOAT32_UP_TO, Meter, squares_fit
from undertow.measure.momentum import long_momentum
from undertow.measure.norms import host_norm, host_norms, host_products
from undertow.measure.parameters import measure_parameters, take_units
from undertow.measure.reading import Array, Label, Part, Reading, index
from undertow.measure.readout import Columns, Readout
from undertow.measure.signal import Convolution, Signal, Slopes
from undertow.measure.signals import measure, measure_directions
from undertow.measure.to_host import by_kind, sending, sent
from undertow.measure.together import can_wait, norms_of_small
from undertow.measure.training_modes import TrainingModes

__all__ = [
    "FLOAT32_UP_TO",
    "Array",
    "Columns",
    "Convolution",
    "Label",
    "Meter",
    "Part",
    "Reading",
    "Readout",
    "Signal",
    "Slopes",
    "TrainingModes",
    "by_kind",
    "can_wait",
    "host_norm",
    "host_norms",
    "host_products",
    "index",
    "long_momentum",
    "measure",
    "measure_attention",
    "measure_directions",
    "measure_parameters",
    "norms_of_small",
    "sending",
    "sent",
    "squares_fit",
    "take_units",
]
