"""Which rows of a table were looked up so far, over all passes of one set of plans."""

import torch
from torch import Tensor

from undertow.measure import Meter
from undertow.tape.facts import saved
from undertow.tape.graph import Node

LARGEST = 2**20
"""Rows of a table whose use is followed; of larger ones a mask, and counting it, would be felt."""


class Lookups:
    """Remembers, by a table's parameters, which rows were looked up.

    Example:
        >>> table, lookups, meter = torch.nn.Embedding(10, 4), Lookups(), Meter()
        >>> for rows in ([1, 2], [2, 3]):
        ...     node = table(torch.tensor(rows)).grad_fn
        ...     lookups.see(0, ("weight",), node, meter)
        >>> meter.read()["rows used"].values
        array([2., 3.])
    """

    def __init__(self) -> None:
        self._used: dict[tuple[str, ...], Tensor] = {}

    def see(self, site: int, parameters: tuple[str, ...], node: Node, meter: Meter) -> None:
        """Take the rows that one lookup took, and measure how many were taken so far."""
        rows, indices = int(getattr(node, "_saved_weight_sym_argsize_0", 0)), saved(node, "indices")
        if not parameters or indices is None or not 1 < rows <= LARGEST:
            return
        used = self._used.get(parameters)
        if used is None or len(used) != rows or used.device != indices.device:
            used = self._used[parameters] = torch.zeros(rows, dtype=torch.bool, device=indices.device)
        used[indices.reshape(-1)] = True
        meter.take("rows used", site, used.sum())
        meter.note("rows of table", site, rows)
        meter.note("lookups", site, indices.numel())

    def see_gradient(self, place: int, name: str, gradient: Tensor, meter: Meter) -> None:
        """Take the rows of a table that its gradient reached, and measure how many it reached so far.

        Args:
            place: of the parameter.
            name: its name.
            gradient: [rows, ...].
            meter: where the number is collected.
        """
        if gradient.layout is not torch.strided or not 1 < len(gradient) <= LARGEST:
            return
        reached = gradient.flatten(1).any(1)
        known = self._used.get((name, "gradient"))
        if known is not None and len(known) == len(reached) and known.device == reached.device:
            reached = reached | known
        self._used[name, "gradient"] = reached
        meter.take("rows reached", place, reached.sum())
        meter.note("rows to reach", place, len(reached))
