"""Packs computed on a Ray cluster. What is lost with a worker or a node is computed again, to the same bits."""

import os
import socket
import time
from collections.abc import Sequence
from typing import Any

from undertow.extras import needed
from undertow.sweeping.cells import Pack, Work
from undertow.sweeping.workers import PackReport, WorkerEvent, computed

QUEUED = 2
"""Tasks a processor: one that is computed and one that waits beside it, so that none idles for the driver."""

COUNT_EVERY = 2.0
"""Seconds between two looks at how many processors the cluster has; nodes come and go."""


PATIENCE = 10.0
"""Seconds for a cluster's head to answer."""


class Cluster:
    """A Ray cluster, one task a processor, one thread a task.

    Args:
        work: what is done for a cell. Its data and files must be there on every node.
        address: of the cluster, "auto" for the one that runs on this machine, "local" to start one here.

    Raises:
        ImportError: Ray isn't installed.
        ConnectionError: there is no cluster at this address.
    """

    def __init__(self, work: Work, address: str) -> None:
        self._ray = needed("ray", "ray", "a sweep on a cluster")
        self._ours = not self._ray.is_initialized()
        if self._ours:
            self._connect(address)
        self._work = self._ray.put(work)
        self._compute = self._ray.remote(num_cpus=1, max_retries=0)(_computed)
        self._tasks: dict[Any, int] = {}
        self._counted, self._size = 0.0, 1

    @property
    def size(self) -> int:
        """Return how many processors the cluster has now."""
        if time.monotonic() - self._counted > COUNT_EVERY:
            self._size = max(1, int(self._ray.cluster_resources().get("CPU", 0)))
            self._counted = time.monotonic()
        return self._size

    @property
    def room(self) -> int:
        """Return how many tasks could wait beside those that are computed."""
        return max(0, QUEUED * self.size - len(self._tasks))

    def submit(self, task: int, packs: Sequence[Pack]) -> None:
        """Give a task to the cluster."""
        self._tasks[self._compute.remote(self._work, list(packs))] = task

    def events(self, timeout: float) -> list[WorkerEvent]:
        """Return the tasks that have ended, or were lost."""
        if not self._tasks:
            return []
        first, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=timeout)
        if not first:
            return []
        ended, _ = self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
        return [self._event(reference) for reference in ended]

    def close(self) -> None:
        """Let the cluster go; what it still computes is given up."""
        for reference in self._tasks:
            self._ray.cancel(reference, force=True)
        if self._ours:
            self._ray.shutdown()

    def _event(self, reference: Any) -> WorkerEvent:
        task = self._tasks.pop(reference)
        try:
            return WorkerEvent(task, self._ray.get(reference), ended=True)
        except self._ray.exceptions.RayTaskError as error:  # a pack's own errors come as outcomes
            raise RuntimeError(f"a node of the cluster can't compute: {error.cause}") from error
        except self._ray.exceptions.RayError as error:
            return WorkerEvent(task, [], ended=True, lost=f"its worker was lost: {str(error).splitlines()[0]}")

    def _connect(self, address: str) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster started here reports to nobody
        try:
            _check_answers(address)
            self._ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except OSError as error:
            raise ConnectionError(
                f"there is no Ray cluster at {address!r}: start one with `ray start --head`, or leave --ray away to "
                "compute on this machine"
            ) from error


def _check_answers(address: str) -> None:
    """Ray itself would try for minutes to reach an address where nobody is."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()


def _computed(work: Work, packs: Sequence[Pack]) -> list[PackReport]:
    """Compute a task on a node."""
    work.prepare()
    return [computed(work, pack, place) for place, pack in enumerate(packs)]
