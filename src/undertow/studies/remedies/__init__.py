"""Remedies crossed: activations, starts, norms, residual connections and optimizers, from one to a hundred layers."""

from undertow.studies.remedies.article import article
from undertow.studies.remedies.claims import CLAIMS
from undertow.studies.remedies.plan import assemble, plan, rows
from undertow.studies.study import Study

STUDY = Study(
    "remedies",
    "activations, starts, norms, residual connections and optimizers crossed: what trains, and how deep",
    plan,
    assemble,
    CLAIMS,
    article,
    rows,
)
