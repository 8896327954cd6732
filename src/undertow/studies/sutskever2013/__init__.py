"""Sutskever et al. 2013: how far momentum and a start of the right size carry deep autoencoders."""

from undertow.studies.study import Study
from undertow.studies.sutskever2013.claims import CLAIMS
from undertow.studies.sutskever2013.config import config
from undertow.studies.sutskever2013.plan import measure, rows

STUDY = Study(
    "sutskever2013",
    "momentum and the scale of a sparse start, in deep autoencoders",
    config,
    measure,
    CLAIMS,
    rows,
)
