"""Glorot & Bengio 2010: why random initialisation and the sigmoid make deep networks hard to train."""

from undertow.studies.glorot2010.claims import CLAIMS
from undertow.studies.glorot2010.config import config
from undertow.studies.glorot2010.plan import measure, rows
from undertow.studies.study import Study

STUDY = Study(
    "glorot2010",
    "activations and initialisation: where deep networks saturate, and how large a start should be",
    config,
    measure,
    CLAIMS,
    rows,
)
