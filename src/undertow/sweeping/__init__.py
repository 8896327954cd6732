"""Sweeps: many cells of an experiment, computed side by side here or on a cluster, kept in one file, resumable."""

from undertow.sweeping.query import Pivot
from undertow.sweeping.results import Results, open_sweep
from undertow.sweeping.running import sweep
from undertow.sweeping.spec import Spec

__all__ = ["Pivot", "Results", "Spec", "open_sweep", "sweep"]
