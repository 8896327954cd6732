"""Reads watched runs in tests: what is logged late, as an evaluation is, has a row of its own beside its step's."""

import numpy as np

import undertow


def curve(path, name="loss"):
    """Return the steps at which a number is known, and the numbers."""
    run = path if hasattr(path, "scalars") else undertow.open_run(path)
    known = np.isfinite(run.scalars[name])
    return run.scalars["step"][known].tolist(), run.scalars[name][known]


def stepwise(losses, passes, epoch=12):
    """Return each step's mean of its micro-batches' losses; the last step of an epoch may have fewer."""
    epochs = [losses[begin : begin + epoch] for begin in range(0, len(losses), epoch)]
    return [np.mean(each[begin : begin + passes]) for each in epochs for begin in range(0, len(each), passes)]
