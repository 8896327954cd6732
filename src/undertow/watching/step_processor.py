"""On the writer's thread: numbers arrive from their devices, and become rows and events of the Run."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from undertow.measure import squares_fit
from undertow.watching.nonfinite_detector import Moment, Onset, are_finite
from undertow.watching.online_checker import Jury
from undertow.watching.pass_counter import Trail
from undertow.watching.run_writer import RunWriter
from undertow.watching.step_facts import Noted
from undertow.watching.step_payload import Sheet, Taped, filled, lots

SPIKE = 6.0
"""Deviations from its mean by which a loss must rise to be a spike, and at least by half of itself."""

SETTLED = 20
"""Losses that must be known before one can be called a spike."""

QUIET = 100
"""Steps without a skipped one, after which the next is worth an event again."""


@dataclass
class Course:
    """The loss so far: whether the next one is a spike.

    Example:
        >>> course = Course()
        >>> any(course.spikes(2.0 + 0.01 * (n % 3)) for n in range(30)), course.spikes(9.0)
        (False, True)
    """

    mean: float = 0.0
    variance: float = 0.0
    known: int = 0

    def spikes(self, loss: float) -> bool:
        """Take one more loss."""
        if not math.isfinite(loss):
            return False
        away = loss - self.mean
        spike = self.known >= SETTLED and away > max(SPIKE * math.sqrt(self.variance), 0.5 * abs(self.mean))
        share = 1 / (self.known + 1) if self.known < 2 * SETTLED else 0.05
        self.mean += share * away
        self.variance = (1 - share) * (self.variance + share * away * away)
        self.known += 1
        return spike


@dataclass
class Delivery:
    """Writes what arrives.

    Args:
        writer: of the Run.
        jury: judges tapes, as often as there is time for.
        onset: says when the gradient ceased to be finite.
        rouse: makes the governor look at the next step for a wish.

    Attributes:
        seconds: that the writer's thread has worked so far.
        wish: to look closely now.
        loss_scale: "1", "known" or "unknown".
        precise: numbers were met whose squares float32 can't hold: from now on they are added up in float64.
    """

    writer: RunWriter
    jury: Jury
    onset: Onset
    rouse: Callable[[], object]
    seconds: float = 0.0
    wish: bool = False
    loss_scale: str = "1"
    precise: bool = False
    _patterns: set[tuple[int, int]] = field(default_factory=lambda: {(0, 1)})
    _course: Course = field(default_factory=Course)
    _skipped: int = -QUIET
    _scale: float = 0.0
    _blamed: bool = False
    _graphs: set[int] = field(default_factory=set)
    _pending: list[tuple[Sheet, Moment, Mapping[str, float], int]] = field(default_factory=list)

    def note(self, moment: Moment, arrived: Callable[[], Noted], trail: Trail) -> None:
        """A step was noted."""
        noted = arrived()
        self.precise |= not squares_fit(noted.values.get("grad_norm", 1.0))
        self.writer.scalars(moment.step, moment.time, _known(noted.values))
        self._look(moment, noted, trail)
        self.seconds = time.thread_time()

    def tape(
        self, moment: Moment, arrived: Callable[[], Noted], sheet: Sheet, trail: Trail, passes: int
    ) -> Callable[[], None]:
        """A step was taped, in which there were so many backward passes. What is returned records all that were."""
        noted = arrived()
        sheet.arrive(noted.scale, noted.divisor)
        self.writer.scalars(moment.step, moment.time, _known(noted.values))
        self._look(moment, noted, trail, sheet)
        self._know_scale(moment, noted)
        self._pending.append((sheet, moment, noted.values, passes))
        return self.settle

    def settle(self) -> None:
        """Record the taped steps that have arrived."""
        pending, self._pending = self._pending, []
        rest = iter(pending)
        for lot in lots([sheet for sheet, *_ in pending]):
            for taped in filled(lot):
                _, moment, values, passes = next(rest)
                self._record(moment, taped, values, passes)
        self.seconds = time.thread_time()

    def _record(self, moment: Moment, taped: Taped, values: Mapping[str, float], passes: int) -> None:
        sheet = taped.sheet
        self.writer.parameters(moment.step, sheet.names, taped.parameters)
        if not sheet.sites:
            return
        self.precise |= not squares_fit(taped.measured.by_site["grad_output"])
        self._know_reached(sheet)
        self._write_sites(moment, taped, values)
        self._know_pass(moment, sheet.backward, passes)
        for finding, message in self.jury.hear(moment.step, taped, values):
            self.writer.event(moment.step, moment.time, "finding", message, finding.to_dict())
        self._know_failure(moment)

    def _know_failure(self, moment: Moment) -> None:
        """Say in the Run that the user's own function failed."""
        if (error := self.jury.failure) is not None and not self._blamed:
            self._blamed = True
            text = f"on_finding failed and isn't called again: {type(error).__name__}: {error}"
            self.writer.event(moment.step, moment.time, "trouble", text, {"error": repr(error)})

    def _know_reached(self, found: Sheet) -> None:
        """Say in the header what the first tape didn't reach: rules ask there."""
        if not self._graphs and found.unreached is not None:
            told = {"unreached": list(found.unreached), "not run": list(found.idle)}
            self.jury.header = {**self.jury.header, **told}
            self.writer.update_header(told)

    def _write_sites(self, moment: Moment, found: Taped, values: Mapping[str, float]) -> None:
        graph = self.writer.graph(found.sheet.sites, found.sheet.edges)
        if self._graphs and graph not in self._graphs:
            text = f"The model computes through other operations than before: graph {graph}."
            self.writer.event(moment.step, moment.time, "graph", text, {"graph": graph})
        self._graphs.add(graph)
        kept = {name: values[name] for name in ("loss", "lr") if name in values}
        self.writer.taped(moment.step, moment.time, graph, found.measured.by_site, found.measured.by_edge, kept)

    def _look(self, moment: Moment, noted: Noted, trail: Trail, sheet: Sheet | None = None) -> None:
        values = noted.values
        if "scale" in values:
            self._skipped_between(moment, values["scale"], trail)
        if values.get("skipped"):
            self.skipped(moment, values.get("scale", math.nan))
        elif math.isnan(values.get("nonfinite", 0.0)) and all(are_finite(gradients) for _, gradients in trail.steps()):
            self._rouse()  # the next look is a precise one, and tells
        elif values.get("nonfinite") or not math.isfinite(values.get("loss", 0.0)):
            if self.onset.say(moment, trail, values.get("loss", math.nan), noted.nonfinite):
                self._rouse()
                self._lost(moment, sheet, values)
        else:
            self.onset.passed(moment.step)
            self.spike(moment, values.get("loss", math.nan))

    def _lost(self, moment: Moment, sheet: Sheet | None, values: Mapping[str, float]) -> None:
        """Numbers ceased to be finite: nobody waits for the next tape to hear of it."""
        if self.onset.told is not None:
            taped = filled([sheet])[0] if sheet is not None and self.onset.told.step == moment.step else None
            self.jury.lost(self.onset.told, taped, values)
            self._know_failure(moment)

    def spike(self, moment: Moment, loss: float) -> None:
        """Take one more loss; if it is a spike, say so and look closely."""
        before = self._course.mean
        if self._course.spikes(loss):
            self._rouse()
            text = f"The loss rose to {loss:.4g} from {before:.4g}: the next steps are looked at closely."
            self.writer.event(moment.step, moment.time, "spike", text, {"loss": loss, "before": before})

    def _skipped_between(self, moment: Moment, scale: float, trail: Trail) -> None:
        """A fused optimizer skips by itself, and nobody hears of it; but then the scale falls."""
        before, self._scale = self._scale, scale
        if scale < before:
            for step, gradients in trail.steps():
                if step < moment.step and not are_finite(gradients):
                    self.writer.scalars(step, moment.time, {"skipped": 1.0, "nonfinite": 1.0})
                    self.skipped(Moment(step, moment.time), before)

    def _rouse(self) -> None:
        self.wish = True
        self.rouse()

    def _know_scale(self, moment: Moment, noted: Noted) -> None:
        """Say so if the loss is scaled, known or not."""
        scale = "known" if "scale" in noted.values else self.loss_scale
        if scale == "1" and noted.divided >= 2 and math.log2(noted.divided).is_integer():
            scale = "unknown"
            text = (
                f"All gradients were divided by {noted.divided:g} between the backward pass and the optimizer's step: "
                "the loss is scaled. Hand the scaler to watch(..., scaler=scaler), or its numbers can't be unscaled."
            )
            self.writer.event(moment.step, moment.time, "trouble", text, {"divided": noted.divided})
        if scale != self.loss_scale:
            self.loss_scale = scale
            self.writer.update_header({"loss_scale": scale})

    def _know_pass(self, moment: Moment, taped: int, passes: int) -> None:
        """Say which of a step's backward passes was taped, once of each: with several optimizers they take turns."""
        if (taped, passes) not in self._patterns:
            self._patterns.add((taped, passes))
            told = {"taped": taped, "of": passes}
            self.writer.update_header({"micro_batch": told})
            text = f"The backward pass that is taped is number {taped + 1} of {passes} in a step."
            self.writer.event(moment.step, moment.time, "micro-batch", text, told)

    def skip(self, moment: Moment, scale: Callable[[], float]) -> None:
        """A step that wasn't noted was skipped."""
        self.skipped(moment, scale())
        self.seconds = time.thread_time()

    def skipped(self, moment: Moment, scale: float) -> None:
        """The optimizer was skipped, as the gradient wasn't finite."""
        if moment.step - self._skipped >= QUIET:
            self._rouse()
            text = f"The optimizer was skipped: under a loss scale of {scale:g} the gradient isn't finite."
            data = {"skipped": True, "scale": scale, "step": moment.step, "lag": self.onset.now() - moment.step}
            self.writer.event(moment.step, moment.time, "nonfinite", text, data)
        self._skipped = moment.step

    def rest(self, moment: Moment, trail: Trail, scale: Callable[[], float] | None) -> None:
        """Watching ends, and nobody looked at the last steps; ``scale``: the loss's, if a scaler skips steps."""
        if scale is None:
            if self.onset.rest(moment, trail):
                self._lost(moment, None, {})
        else:
            self._skipped_between(moment, scale(), trail)


def _known(values: Mapping[str, float]) -> dict[str, float]:
    """Without the norm, where it may have overflowed."""
    unknown = ("grad_norm", "nonfinite") if math.isnan(values.get("nonfinite", 0.0)) else ()
    return {name: value for name, value in values.items() if name not in unknown}
