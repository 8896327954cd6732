"""`LoopReader`: reads at a full step what a training loop does around its backward passes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from undertow.watching.step_facts import Number, norms, send_named, total_norm
from undertow.watching.watch_target import WatchTarget
from undertow.watching.watched_parameters import WatchedParameter

EVALUATING, LEFT_OVER, CLEARED = "evaluating", "left_over", "cleared"
"""Scalars that come of it."""


@dataclass(frozen=True, slots=True)
class LoopFacts:
    """Facts about the loop in a full step, on the host.

    Attributes:
        values: scalars of a Run, see `undertow.record.SCALARS`.
        missing: by name, parameters that got gradient and that no optimizer holds: the norms of weight and gradient.
        counts: how many parameters optimizers hold, as in the header of an examined Run (``held``).
        evaluation: modules in evaluation mode whose network trains, as in that header.
    """

    values: dict[str, float] = field(default_factory=dict)
    missing: dict[str, tuple[float, float]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    evaluation: dict[str, list[str]] = field(default_factory=dict)


class LoopReader:
    """Reads gradients that are left over from the step before, modes, and parameters that no optimizer holds.

    In most loops there is nothing to compute: gradients are None when a backward pass begins, and everything that gets
    any is held.

    Args:
        target: what is watched.
        precise: add up squares in float64.
    """

    def __init__(self, target: WatchTarget, precise: bool = False) -> None:
        self._target, self._precise = target, precise
        self._evaluating: int | None = None
        self._evaluation: dict[str, list[str]] = {}
        self._left: dict[int, list[Sequence[Number]]] = {}
        self._zeroed: set[int] = set()
        self._taken: dict[int, Sequence[Number]] = {}
        self._missing: list[tuple[str, Number, Number]] = []
        self._reached: dict[int, bool] = {}
        self._counts: dict[str, int] = {}
        self.cleared = False

    def backward_begins(self) -> None:
        """Look at the modes, and at the gradients that are there already."""
        now = self._target.modes.evaluating
        self._evaluating = now if self._evaluating is None else min(now, self._evaluating)
        for index in range(len(self._target.optimizers)):
            if index not in self._zeroed and index not in self._taken:
                _, gradients = self._target.parameters.gradients(index)
                there = [g for g in gradients if g is not None]
                if there:
                    self._left.setdefault(index, []).append(norms(there, self._precise))
                else:
                    self._zeroed.add(index)

    def backward_ends(self) -> None:
        """Look for parameters that got gradient and that no optimizer holds."""
        parameters = self._target.parameters
        self._reached = {n: parameters.any_gradient(n) for n in range(parameters.optimizers)}
        others = () if parameters.sharded else parameters.others
        missing = [(name, p) for name, p in others if p.requires_grad and p.grad is not None]
        if missing:
            weights = norms([p.detach() for _, p in missing], self._precise)
            gradients = norms([p.grad for _, p in missing if p.grad is not None], self._precise)
            self._missing = [(name, w, g) for (name, _), w, g in zip(missing, weights, gradients, strict=True)]
            self._counts = parameters.counts()
        if self._evaluating is not None and self._target.modes.any_evaluates:
            held = parameters.identities
            self._evaluation = self._target.modes.facts(lambda p: id(p) in held and p.grad is not None)

    def taken(self, held: Sequence[WatchedParameter], gradients: Sequence[Number]) -> None:
        """Hear that an optimizer takes gradients of these norms."""
        for index in range(self._target.parameters.optimizers):
            if self._target.parameters.of(index) is held:
                self._taken[index] = gradients
                self.cleared |= not gradients and self._reached.get(index, False)

    def send(self) -> Callable[[], LoopFacts]:
        """Start the transfers; what is returned waits for them."""
        seen = bool(self._zeroed or self._left)
        values = {EVALUATING: float(self._evaluating)} if self._evaluating is not None else {}
        coming = send_named(self._tensors())
        names, counts, evaluation = [name for name, _, _ in self._missing], self._counts, self._evaluation
        left = {index: len(self._left[index]) for index in self._left if index not in self._zeroed}
        cleared, taken = float(self.cleared), list(self._taken)

        def arrived() -> LoopFacts:
            read = coming()
            found = dict(values)
            if seen and taken:
                found |= {LEFT_OVER: _worst(read, left, taken), CLEARED: cleared}
            missing = dict(
                zip(names, zip(read.get("weights", ()), read.get("gradients", ()), strict=True), strict=True)
            )
            return LoopFacts(found, missing, counts, evaluation)

        return arrived

    def _tensors(self) -> dict[str, Sequence[Number]]:
        tensors: dict[str, Sequence[Number]] = {
            "weights": [weight for _, weight, _ in self._missing],
            "gradients": [gradient for _, _, gradient in self._missing],
        }
        for index, begins in self._left.items():
            if index not in self._zeroed and index in self._taken:
                tensors |= {f"left {index} {n}": each for n, each in enumerate(begins)}
                tensors[f"taken {index}"] = self._taken[index]
        return tensors


def _worst(read: dict[str, list[float]], left: dict[int, int], taken: Sequence[int]) -> float:
    """Return the largest part that is left over of any optimizer's gradients, as a part of what its next step takes."""
    parts = [0.0]
    for index in left.keys() & set(taken):
        begins = [total_norm(read[f"left {index} {n}"]) for n in range(left[index])]
        whole = total_norm(read.get(f"taken {index}", []))
        parts.append(min(begins) / whole if whole > 0 else 0.0)
    return max(parts)
