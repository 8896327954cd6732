"""Follow networks with so much of a fault: outcomes by amount, where the rules' severities come from."""

from undertow.studies.severity.claims import CLAIMS
from undertow.studies.severity.config import SeverityConfig, config
from undertow.studies.severity.measuring import measure
from undertow.studies.severity.values import table_rows
from undertow.studies.study import Study

__all__ = ["STUDY", "SeverityConfig", "config"]

STUDY = Study(
    "severity",
    "what becomes of networks with this much of a fault, beside twins without it: where severities come from",
    config,
    measure,
    CLAIMS,
    table_rows,
    stopped="what was trained is kept, and the same command goes on from there",
    data="digits",
)
