"""UT107: gradient that is lost back through time."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from undertow.analysis.recurrence import Loop, Passage, find_loops
from undertow.diagnosis import FEWEST_STEPS, Diagnosis
from undertow.record import Finding, Run, Severity
from undertow.rules.advice.memory import longer_memory, state_kept
from undertow.rules.alike import said_once
from undertow.rules.registry import rule
from undertow.wording import called, sentence

FEWEST_DETACHED = 3
FAR, FAR_THROUGH_GATES = 5, 10
"""Horizons, that is decades, after which nothing of a gradient is to be counted on; gates may learn to keep more."""

_GATED = frozenset({"LSTM", "GRU", "LSTMCell", "GRUCell"})


@rule(
    "UT107",
    "memory horizon",
    excused_by_learning=True,
    explains=("UT104", "UT704"),
)
def memory_horizon(diagnosis: Diagnosis) -> Iterator[Finding]:
    """A recurrent layer's gradient reaches back only so far in time.

    What:
        From one time step to the one before, the gradient through the recurrence shrinks by a constant factor.
    Why it is bad:
        What happened longer ago than the horizon is hardly learned from. With a loss at every step nothing of it
        shows in the gradient's norm.
    Evidence:
        ``gain`` per step over all ways back in time (through an LSTM's cell as through its weights), without what
        comes in from outside of the loop; ``horizon``, the steps in which the gradient falls tenfold; ``steps``, how
        long the sequences are; ``at end``, 1 where the loss is taken at the last step alone.
    Threshold:
        A horizon of less than half the sequence, a note: whether it is too short depends on the task. Less than a
        fifth of it (five decades lost from end to end) under a loss that sits at the end, a warning: in the study
        ``severity``, half of whose sequences tell the class at every step and half at the first alone, two in three
        such networks learned. Of LSTM and GRU less than a tenth: their gates open while they learn (of sums of two
        numbers in 30 steps both learned at 5.1). A note where the loss of a run fell by half all the same. A warning,
        too, where a state is detached at three steps of a loop or more, and what it was computed by gets to the loss on
        no other way (`examine` sees it): nothing but the last step is learned from.
    What to do:
        Gates (LSTM, GRU) with a forget bias of 1 or more, orthogonal recurrent weights, or attention. Sequences that
        are padded at the end: take the last true state (pack_padded_sequence).
    References:
        Hochreiter, Schmidhuber 1997; Pascanu, Mikolov, Bengio 2013; Jozefowicz, Zaremba, Sutskever 2015.
    """
    if not diagnosis.finite:
        return
    if detached := diagnosis.run.header.get("state detached"):
        yield _cut_at_every_step(detached)
    yield from said_once(
        _forgetful(module, longest, at_end)
        for module, longest, at_end in memories(diagnosis)
        if longest.horizon < longest.loop.steps / 2
    )


def memories(diagnosis: Diagnosis) -> Iterator[tuple[str, Passage, bool]]:
    """Yield every recurrent module, its Passage that leaves most of the gradient, whether the loss sits at its end."""
    by_module: dict[str, list[Passage]] = defaultdict(list)
    for loop in diagnosis.run.of_graph(_loops):
        if len(loop.ages) > 1:
            by_module[loop.module].append(Passage(loop, diagnosis.run, diagnosis.step))
    for module, passages in by_module.items():
        longest = max(passages, key=lambda passage: passage.gain)
        yield module, longest, any(passage.fed_at_end_only for passage in passages)


def _loops(run: Run) -> tuple[Loop, ...]:
    return find_loops(run, FEWEST_STEPS)


def _cut_at_every_step(detached: Mapping[str, Any]) -> Finding:
    text = (
        f"A state is detached {detached['times']} times on its way through the steps: the loss reaches the last step "
        "alone, and nothing is learned from what came before."
    )
    numbers, limit = {"times": float(detached["times"])}, f"a state detached {FEWEST_DETACHED} times in a row"
    name, source = "memory horizon", detached["source"]
    made = Finding("UT107", name, Severity.WARNING, (), "detach", text, numbers, limit, source=source)
    return state_kept(source).on(made)


def _forgetful(module: str, passage: Passage, at_end: bool) -> Finding:
    steps, horizon = passage.loop.steps, passage.horizon
    run, remembered = passage.run, max(horizon, 0.1)
    text = (
        f"{sentence(called(run, run.sites[passage.loop.weights[0]]))} learns from about the last {remembered:.2g} of "
        f"{steps} steps: each step back in time leaves {passage.gain:.2f} of the gradient."
    )
    far = FAR_THROUGH_GATES if run.sites[passage.loop.weights[0]].module_type in _GATED else FAR
    unheard = at_end and horizon < steps / far
    if unheard:
        text += f" The loss is taken at the last step alone: the first {steps - int(FAR * horizon)} hardly reach it."
    numbers = {"gain": passage.gain, "horizon": horizon, "steps": float(steps), "at end": float(at_end)}
    severity, limit = (
        (Severity.WARNING, f"1/{far} of the sequence, {steps / far:.1f} steps, under a loss at its end")
        if unheard
        else (Severity.NOTE, f"half of the sequence, {steps / 2:.1f} steps")
    )
    sites = passage.loop.weights
    made = Finding("UT107", "memory horizon", severity, sites, module, text, numbers, limit, "Pascanu et al., eq. 5")
    return longer_memory(run, sites, module, passage.gain).on(made)
