"""How deep a network may be: networks trained over depth and variances, with theory's depth scale drawn over them.

After Schoenholz et al. 2017, "Deep information propagation".
"""

from undertow.studies.study import Study
from undertow.studies.trainability.claims import CLAIMS
from undertow.studies.trainability.config import TrainabilityConfig, config
from undertow.studies.trainability.measuring import measure

__all__ = ["STUDY", "TrainabilityConfig", "config"]

STUDY = Study(
    "trainability",
    "how deep a network may be: depth and variances, with theory's depth scale over them",
    config,
    measure,
    CLAIMS,
    stopped="what was trained is kept, and the same command goes on from there",
)
