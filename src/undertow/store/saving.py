"""A whole Run into a file at once."""

import os

from undertow.record import Run


def save_run(run: Run, path: str | os.PathLike[str]) -> None:
    """Write ``run`` as one file that `open_run` reads back equal, whole or not at all."""
    raise NotImplementedError
