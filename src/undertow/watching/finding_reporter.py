"""`FindingReporter`: writes what the rules find, while it trains, into the Run."""

from collections.abc import Mapping

from undertow.record import Event
from undertow.watching.online_checker import OnlineChecker
from undertow.watching.run_writer import RunWriter
from undertow.watching.step_payload import StepColumns
from undertow.watching.step_time import StepTime


class FindingReporter:
    """Has full steps checked, and makes events of the findings.

    Args:
        writer: of the Run.
        checker: asks the rules.
    """

    def __init__(self, writer: RunWriter, checker: OnlineChecker) -> None:
        self._writer, self._checker = writer, checker
        self._failure_is_told = False

    def check(self, when: StepTime, columns: StepColumns, values: Mapping[str, float]) -> None:
        """Check a full step, if it is time."""
        for finding, message in self._checker.check(when.step, columns, values):
            self._writer.event(when.step, when.time, "finding", message, finding.to_dict())
        self._tell_failure(when)

    def lost(self, when: StepTime, event: Event, columns: StepColumns | None, values: Mapping[str, float]) -> None:
        """Tell at once that numbers ceased to be finite: after that no full step may ever come."""
        self._checker.lost(event, columns, values)
        self._tell_failure(when)

    def _tell_failure(self, when: StepTime) -> None:
        """Say in the Run, once, that the user's own function failed."""
        error = self._checker.listener.failure
        if error is not None and not self._failure_is_told:
            self._failure_is_told = True
            text = f"on_finding failed and isn't called again: {type(error).__name__}: {error}"
            self._writer.event(when.step, when.time, "trouble", text, {"error": repr(error)})
