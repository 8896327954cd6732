"""A Run from its file, or from the files that the processes of one training run wrote each for itself."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from undertow.record import Run
from undertow.store.rank_merge import merged
from undertow.store.rank_paths import other_ranks
from undertow.store.reader import RunReader


def open_run(path: str | os.PathLike[str], graph: int | None = None) -> Run:
    """Read a Run from its file, also while it grows. Other ranks' files beside rank 0's are merged into it.

    Args:
        path: of the file; of rank 0's, if there are several.
        graph: which of the model's graphs, if it changed during the run; by default the one with the most recorded
            steps, with others in ``elsewhere``. ``header["graphs"]`` counts the recorded steps of each.

    Raises:
        StoreError: it is missing, damaged, newer, or no Run.

    Example:
        >>> open_run("nowhere.undertow")
        Traceback (most recent call last):
        undertow.store.errors.StoreError: there is no Run at nowhere.undertow: the file does not exist
    """
    path = Path(path)
    reader = RunReader(path, graph)
    run, world = reader.run(), reader.world
    if world <= 1:
        return run
    ranks = list(other_ranks(path, world))
    other_graphs = tuple(_merged(each, world, ranks) for each in run.other_graphs)
    return replace(_merged(run, world, ranks), other_graphs=other_graphs)


def _merged(run: Run, world: int, ranks: Sequence[Path]) -> Run:
    found = [_alike(rank, run) for rank in ranks]
    return merged(run, world, [other for other in found if other is not None])


def _alike(path: Path, run: Run) -> Run | None:
    """Read the Run of another rank, with the graph that ``run`` shows; None if it is of another Run."""
    reader = RunReader(path)
    names = [site.name for site in run.sites]
    for number, (sites, _) in enumerate(reader.graphs):
        if [site.name for site in sites] == names:
            reader.graph = number
    other = reader.run()
    return other if other.header.get("run") == run.header.get("run") else None
