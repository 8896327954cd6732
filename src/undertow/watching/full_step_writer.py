"""`FullStepWriter`: turns what full steps sent into rows of the Run, many alike at once."""

from collections.abc import Iterator, Mapping, Sequence

from undertow.watching.feedback import Feedback
from undertow.watching.online_checker import FindingReporter
from undertow.watching.run_facts import RunFacts
from undertow.watching.run_writer import RunWriter
from undertow.watching.step_payload import StepColumns, StepPayload, batches, columns_of
from undertow.watching.step_time import StepTime
from undertow.watching.unseen import Unseen

Waiting = tuple[StepPayload, StepTime, Mapping[str, float], int]
"""A full step that has arrived: its numbers, when it was, its facts, and how many backward passes it had."""


class FullStepWriter:
    """Writes full steps that have arrived: NumPy takes as long for one as for a hundred.

    Args:
        writer: of the Run.
        facts: learns of graphs and backward passes.
        reporter: has the steps checked.
        feedback: learns of numbers whose squares float32 can't hold.
        unseen: learns of operations that hide others.
    """

    def __init__(
        self, writer: RunWriter, facts: RunFacts, reporter: FindingReporter, feedback: Feedback, unseen: Unseen
    ) -> None:
        self._unseen = unseen
        self._writer, self._facts, self._reporter, self._feedback = writer, facts, reporter, feedback
        self._waiting: list[Waiting] = []
        self._graphs: set[int] = set()
        self._failures: set[str] = set()

    def add(self, payload: StepPayload, when: StepTime, values: Mapping[str, float], passes: int) -> None:
        """Take a full step; it is written with the others that wait."""
        self._waiting.append((payload, when, values, passes))

    def write(self) -> None:
        """Write the full steps that wait."""
        waiting, self._waiting = self._waiting, []
        rest = iter(waiting)
        for batch in batches([payload for payload, *_ in waiting]):
            for columns in _settled(batch):
                _, when, values, passes = next(rest)
                try:
                    if isinstance(columns, Exception):
                        raise columns
                    self._write(when, columns, values, passes)
                except Exception as error:  # of one step: those beside it are recorded all the same
                    self._tell(when, error)
        self._feedback.worked()

    def _tell(self, when: StepTime, error: Exception) -> None:
        """Say in the Run that a full step is lost, each kind of error once."""
        kind = type(error).__name__
        if kind not in self._failures:
            self._failures.add(kind)
            text = f"Full step {when.step} can't be recorded: {kind}: {error}. Others that fail so aren't told."
            self._writer.event(when.step, when.time, "trouble", text, {"error": repr(error)})

    def _write(self, when: StepTime, columns: StepColumns, values: Mapping[str, float], passes: int) -> None:
        payload = columns.payload
        self._writer.parameters(when.step, payload.names, columns.parameters)
        if not payload.graph.sites:
            return
        self._feedback.saw_norms("Sites", columns.measured.by_site["grad_output"])
        self._facts.learn_reach(payload)
        self._write_sites(when, columns, values)
        self._facts.learn_passes(when, payload.backward, passes)
        self._reporter.check(when, columns, values)

    def _write_sites(self, when: StepTime, columns: StepColumns, values: Mapping[str, float]) -> None:
        measured = columns.measured
        graph = self._writer.graph(columns.graph.sites, columns.graph.edges)
        if self._graphs and graph not in self._graphs:
            text = f"The model computes through other operations than before: graph {graph}."
            self._writer.event(when.step, when.time, "graph", text, {"graph": graph})
        if graph not in self._graphs:
            self._unseen.learn_graph(when, columns.graph.sites)
        self._graphs.add(graph)
        kept = {name: values[name] for name in ("loss", "lr") if name in values}
        self._writer.taped(when.step, when.time, graph, measured.by_site, measured.by_edge, kept)


def _settled(batch: Sequence[StepPayload]) -> Iterator[StepColumns | Exception]:
    """Compute the columns of steps that are alike, of each alone where that fails, and the error of each that fails."""
    try:
        yield from columns_of(batch)
    except Exception as error:
        for payload in batch:
            try:
                yield columns_of([payload])[0] if len(batch) > 1 else error
            except Exception as alone:
                yield alone
