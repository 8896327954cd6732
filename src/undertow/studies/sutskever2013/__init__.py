"""Sutskever et al. 2013: how far momentum and a start of the right size carry deep autoencoders."""

from undertow.studies.study import Study
from undertow.studies.sutskever2013.article import article
from undertow.studies.sutskever2013.claims import CLAIMS
from undertow.studies.sutskever2013.plan import assemble, plan, rows

STUDY = Study(
    "sutskever2013",
    "momentum and the scale of a sparse start, in deep autoencoders",
    plan,
    assemble,
    CLAIMS,
    article,
    rows,
)
