"""`RunFacts`: what is learned of a whole run from its steps, told once in the header and by events."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from undertow.watching.loop_reader import LoopFacts
from undertow.watching.online_checker import OnlineChecker
from undertow.watching.run_writer import RunWriter
from undertow.watching.step_facts import ArrivedFacts
from undertow.watching.step_payload import StepPayload
from undertow.watching.step_time import StepTime

ROUNDING = 1e-5
"""By which the logarithm of a quotient of two norms may be off."""

UNMOVED = 2
"""Full steps at which a parameter must not have moved by a bit since the one before, to be one that nobody steps."""


class RunFacts:
    """Learns whether the loss is scaled, which backward passes are taped, and what gradient doesn't reach.

    Args:
        writer: of the Run.
        checker: learns what rules want to know.
    """

    def __init__(self, writer: RunWriter, checker: OnlineChecker) -> None:
        self._writer, self._checker = writer, checker
        self._loss_scale = "1"
        self._passes = {(0, 1)}
        self._reach_is_known = self._choices_are_known = False
        self._evaluation: dict[str, list[str]] = {}
        self._weights: dict[str, float] = {}
        self._unmoved: dict[str, int] = {}
        self._missing: list[str] = []
        self._held: dict[str, int] = {}
        self._shared: Mapping[str, str] = {}
        self._leaves: Sequence[Mapping[str, Any]] = ()

    def learn_scale(self, when: StepTime, facts: ArrivedFacts) -> None:
        """Say so if the loss is scaled, by a scale that is known or not."""
        scale = "known" if "scale" in facts.values else self._loss_scale
        if scale == "1" and facts.divided > 1.5 and _is_power_of_two(facts.divided):
            scale = "unknown"
            text = (
                f"All gradients were divided by {facts.divided:g} between the backward pass and the optimizer's step: "
                "the loss is scaled. Hand the scaler to watch(..., scaler=scaler), or its numbers can't be unscaled."
            )
            self._writer.event(when.step, when.time, "trouble", text, {"divided": facts.divided})
        if scale != self._loss_scale:
            self._loss_scale = scale
            self._writer.update_header({"loss_scale": scale})

    def learn_curves(self, shared: Mapping[str, str]) -> None:
        """Say in the header which optimizers step for one loss: it has one curve."""
        if not shared.keys() <= self._shared.keys():
            self._shared = {**self._shared, **shared}
            told = dict(self._checker.header.get("losses", {}))
            for curve, whose in self._shared.items():
                told[whose] = ", ".join(filter(None, (told.get(whose), told.pop(curve, None))))
            self._tell({"losses": told})

    def learn_passes(self, when: StepTime, taped: int, passes: int) -> None:
        """Say which of a step's backward passes was taped, each once: with several optimizers they take turns."""
        if (taped, passes) not in self._passes:
            self._passes.add((taped, passes))
            told = {"taped": taped, "of": passes}
            self._writer.update_header({"micro_batch": told})
            text = f"The backward pass that is taped is number {taped + 1} of {passes} in a step."
            self._writer.event(when.step, when.time, "micro-batch", text, told)

    def learn_loop(self, loop: LoopFacts, facts: ArrivedFacts) -> None:
        """Say in the header what is in evaluation mode, and which parameters get gradient and never move."""
        if loop.evaluation and loop.evaluation != self._evaluation:
            self._evaluation = loop.evaluation
            self._tell({"evaluation": loop.evaluation})
        weights = {name: weight for name, (weight, _) in loop.missing.items()}
        still = [name for name, weight in weights.items() if self._weights.get(name) == weight]
        self._unmoved = {name: self._unmoved.get(name, 0) + 1 for name in still}
        self._weights = weights
        missing = [name for name, times in self._unmoved.items() if times >= UNMOVED]
        if not loop.missing and self._missing:  # somebody holds them now
            self._missing = []
            self._tell({"held": {**self._held, "reached": max(self._held["reached"], 1), "missing": []}})
        elif loop.counts and missing != self._missing:
            self._missing, self._held = missing, loop.counts
            whole = math.hypot(facts.values.get("grad_norm", 0.0), *(g for _, g in loop.missing.values()))
            part = math.hypot(*(loop.missing[name][1] for name in missing)) / whole if whole > 0 else 0.0
            self._tell({"held": {**loop.counts, "missing": missing, "missing share": part**2, "whole modules": False}})

    def _tell(self, facts: dict[str, Any]) -> None:
        self._checker.learn(facts)
        self._writer.update_header(facts)

    def learn_reach(self, payload: StepPayload) -> None:
        """Say in the header what the first full step didn't reach: rules ask there."""
        if not self._reach_is_known and payload.reach is not None:
            told = {"unreached": list(payload.reach.unreached), "not run": list(payload.reach.idle)}
            self._checker.learn(told)
            self._writer.update_header(told)
        self._reach_is_known = True
        self._learn_choices(payload)
        if payload.leaves and payload.leaves != self._leaves:
            self._leaves = payload.leaves
            self._tell({"other leaves": [dict(leaf) for leaf in payload.leaves]})

    def _learn_choices(self, payload: StepPayload) -> None:
        """Say in the header which tables the model chooses rows of by itself, once that is known."""
        if not self._choices_are_known and payload.chosen is not None:
            told = {"chosen": payload.chosen}
            self._checker.learn(told)
            self._writer.update_header(told)
            self._choices_are_known = True


def _is_power_of_two(factor: float) -> bool:
    """Tell whether a factor is a power of two, but for the rounding of norms."""
    power = math.log2(factor)
    return abs(power - round(power)) < ROUNDING
