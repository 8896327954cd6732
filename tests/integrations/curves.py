"""Reads watched runs in tests: what is logged late, as an evaluation is, has a row of its own beside its step's."""

import textwrap

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


def run_example(leaf, names):
    """Run the last block of lines in a leaf's docstring; return the names that it has made."""
    lines = leaf.__doc__.split("::\n")[-1].splitlines()
    ended = next((place for place, line in enumerate(lines) if line and not line.startswith(" ")), len(lines))
    exec(textwrap.dedent("\n".join(lines[:ended])), names)  # noqa: S102  # our own docstring
    return names
