"""Remedies crossed: activations, starts, norms, residual connections and optimizers, from one to a hundred layers."""

from undertow.studies.remedies.claims import CLAIMS
from undertow.studies.remedies.config import config
from undertow.studies.remedies.plan import measure, rows
from undertow.studies.study import Study

STUDY = Study(
    "remedies",
    "activations, starts, norms, residual connections and optimizers crossed: what trains, and how deep",
    config,
    measure,
    CLAIMS,
    rows,
)
