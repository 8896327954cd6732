"""Writing a Run while it happens."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from undertow.record import Edge, Site

Journal = Literal["auto", "wal", "rollback"]
Values = Mapping[str, NDArray[np.floating]]


class RunWriter:
    """Writes a Run from a thread of its own. No method raises, waits for the disk, or touches a tensor.

    Every method returns whether what it was given was taken; it isn't when the queue is full (the Run says so: an event
    "thinned") or the file is in trouble for good (`troubled` says why, after one warning).
    """

    path: str
    """Where it writes: not where it was told to if something else is there (it never overwrites)."""
    troubled: str | None

    def __init__(
        self,
        path: str | os.PathLike[str],
        header: Mapping[str, Any],
        *,
        resume: bool = False,
        queue_bytes: int = 64 << 20,
        rank: int = 0,
        world: int = 1,
        journal: Journal = "auto",
    ) -> None:
        raise NotImplementedError

    def graph(self, sites: Sequence[Site], edges: Sequence[Edge]) -> int:
        """The number of this graph in the file: the same graph, the same number."""
        raise NotImplementedError

    def scalars(self, step: int, time: float, values: Mapping[str, float]) -> bool:
        """Note one step."""
        raise NotImplementedError

    def parameters(self, step: int, names: Sequence[str], columns: Values) -> bool:
        """Record one step's numbers of the parameters, each column [parameters]."""
        raise NotImplementedError

    def taped(
        self, step: int, time: float, graph: int, by_site: Values, by_edge: Values, values: Mapping[str, float]
    ) -> bool:
        """Record one step's numbers of a graph's Sites [sites] and edges [edges]; ``values``: loss, lr, ..."""
        raise NotImplementedError

    def event(self, step: int, time: float, kind: str, message: str, data: Mapping[str, Any] | None = None) -> bool:
        """Say what happened."""
        raise NotImplementedError

    def later(self, act: Callable[[], object], nbytes: int = 1024) -> bool:
        """Have the writer's thread call ``act``, which may call the methods above; ``nbytes``: what it holds on to."""
        raise NotImplementedError

    def update_header(self, values: Mapping[str, Any]) -> bool:
        """Set entries of the header, such as what is only known at the end."""
        raise NotImplementedError

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until everything given so far is in the file; whether it is."""
        raise NotImplementedError

    def close(self, timeout: float = 10.0) -> bool:
        """Write what is left and let go of the file. Called again, it does nothing."""
        raise NotImplementedError
