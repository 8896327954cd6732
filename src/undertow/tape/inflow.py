"""What comes into a layer: the data that its weights were multiplied with, read where autograd saved it."""

from torch import Tensor

from undertow.tape.facts import FACTORS, Weight, saved
from undertow.tape.graph import Vertex

ENOUGH = 2**16
"""Elements that are looked at; a mean square of so many is right to a percent."""


def inflow(vertex: Vertex, weight: Weight) -> Tensor | None:
    """Examples, evenly taken out of the batch, as rows [examples, ...]; None where reading them is not safe.

    Autograd saves them only if the weight takes gradient.
    """
    names = FACTORS[vertex.op]
    (kept_as,) = (name for name in names.values() if name != weight.kept_as)
    x = saved(vertex.node, kept_as)
    if x is None or x.is_complex() or not x.numel():
        return None
    rows = x if weight.on_the_right or vertex.op == "convolution" else x.t()
    return rows[:: -(-rows.numel() // ENOUGH)]
