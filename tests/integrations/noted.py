"""Read what a Run noted: what is logged late has a row of its own, as the step's was written by then."""

import numpy as np

from undertow.record import Run


def noted(run: Run, name: str) -> np.ndarray:
    """The numbers that were noted of a scalar, in order."""
    values = np.asarray(run.scalars[name], float)
    return values[~np.isnan(values)]


def steps_of(run: Run) -> list[int]:
    """The steps that anything was noted of, in order."""
    return sorted(set(map(int, run.scalars["step"])))
