"""Whether a loss asks for nothing but that two outputs of the network agree, which a constant does best."""

import math

from undertow.operations import REGRESSION_LOSSES
from undertow.record import Run

_DIFFERENCES = REGRESSION_LOSSES | {"sub"}
"""They hold one tensor against another."""


def only_agreement(run: Run) -> bool:
    """Tell whether every term of a loss is the difference of two outputs that both learn.

    Args:
        run: whose first Site is what the backward pass begins at.

    Example:
        >>> from undertow.record import Edge, Role, Site
        >>> ops = ("mse_loss", "addmm", "addmm")
        >>> sites = tuple(Site(n, op, op, Role.LOSS, () if n == 0 else (8, 4)) for n, op in enumerate(ops))
        >>> only_agreement(Run({}, sites, (Edge(0, 1), Edge(0, 2)))), only_agreement(Run({}, sites, (Edge(0, 1),)))
        (True, False)
    """
    waiting, terms = [0] if run.sites else [], 0
    while waiting:
        site = waiting.pop()
        targets = [run.edges[edge].target for edge in run.outgoing[site]]
        if run.sites[site].op in _DIFFERENCES and len(targets) == 2 and math.prod(run.sites[targets[0]].shape) > 1:
            terms += 1
        elif len(targets) == 1 or (run.sites[site].op == "add" and math.prod(run.sites[site].shape) == 1):
            waiting += targets
        else:
            return False
    return terms > 0
