"""The governor, on a clock of our own: what it costs, and when it looks."""

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.watching.governor import (
    BURST_STEPS,
    HOOKS_SECONDS,
    OPENING_GAP,
    OPENING_LOSSES,
    OPENING_SECONDS,
    OPENING_STEPS,
    SHORT_RUN,
    SHORT_RUN_FROM,
    SHORT_RUN_SECONDS,
    SHORT_RUN_SHARE,
    Action,
    CostAccount,
    Governor,
    TrainingTime,
)


@dataclass
class World:
    """Training whose steps, notes and tapes cost so many seconds."""

    step: float
    note: float
    tape: float
    overhead: float = 0.01
    every: int | None = None
    now: float = 0.0
    spent: float = 0.0
    trained: float = 0.0
    actions: list[Action] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.governor = Governor(self.overhead, self.every, lambda: self.now)
        self.next = self.governor.start(0)

    def run(self, steps: int, pause: float = 0.0) -> "World":
        for _ in range(steps):
            action, cost = self.next, {Action.NOTHING: 0.0, Action.LIGHT: self.note, Action.FULL: self.tape}[self.next]
            self.now += self.step + HOOKS_SECONDS + cost + pause
            self.trained += self.step
            self.spent += HOOKS_SECONDS + cost
            self.actions.append(action)
            if action is Action.LIGHT:
                self.governor.light_step(cost)
            elif action is Action.FULL:
                self.governor.full_step(cost)
            self.next = self.governor.advance()
        return self

    def taped(self) -> list[int]:
        return [step for step, action in enumerate(self.actions) if action is Action.FULL]


SECONDS = st.floats(2e-4, 1.0)


def opening(step: float, tape: float) -> float:
    """What the full steps cost that every run begins with: one in ten, in ten seconds at most."""
    return min(OPENING_STEPS, OPENING_SECONDS / (OPENING_GAP * step) + 2) * tape


def noted(step: float, note: float) -> float:
    """What the light steps cost that every run begins with."""
    if step < SHORT_RUN_FROM:
        return OPENING_LOSSES * note
    long = note > SHORT_RUN_SHARE * step
    return note * (min(SHORT_RUN, SHORT_RUN_SECONDS / step + OPENING_LOSSES) if long else SHORT_RUN)


@settings(max_examples=25, deadline=None)
@given(SECONDS, st.floats(0.01, 0.3), st.floats(0.2, 3.0), st.sampled_from([0.01, 0.03, 0.1]))
def test_the_cost_stays_under_what_was_asked_for(step: float, note: float, tape: float, overhead: float) -> None:
    """But for the steps that every run begins with, the first burst, and the tape that tells what a tape costs."""
    world = World(step, note * step, tape * step, overhead)
    steps = 1500
    world.run(steps)
    borrowed = opening(step, tape * step) + noted(step, note * step)
    borrowed += BURST_STEPS * overhead * step + 2 * tape * step
    assert world.spent <= overhead * steps * step * 1.02 + borrowed + HOOKS_SECONDS * steps
    assert world.taped()[0] == 0
    # And it is used, not saved: what is left is less than two tapes cost.
    if overhead * step > 10 * HOOKS_SECONDS:
        assert world.spent >= 0.8 * overhead * (steps - BURST_STEPS) * step - 3 * tape * step


@settings(max_examples=10, deadline=None)
@given(SECONDS, st.floats(0.1, 1.0))
def test_the_governor_knows_what_it_costs(step: float, tape: float) -> None:
    world = World(step, 0.05 * step, tape * step).run(1500)
    assert world.governor.measured == pytest.approx(world.spent / world.trained, rel=0.1)
    assert world.governor.typical == pytest.approx(step, rel=0.05)


def test_the_first_steps_are_taped_densely_and_paid_back() -> None:
    world = World(step=0.05, note=0.0005, tape=0.01).run(3000)
    taped = world.taped()
    assert taped[:4] == [0, 2, 3, 4]
    assert len([step for step in taped if step < 20]) >= 5
    gaps = [b - a for a, b in itertools.pairwise(taped)]
    assert max(gaps[:30]) > gaps[-1]  # the debt is paid, then it is looked at as often as can be paid
    assert gaps[-1] == pytest.approx(world.governor.full_gap, rel=0.5)


def test_a_burst_is_dense_and_paid_back() -> None:
    world = World(step=0.05, note=0.0005, tape=0.01).run(3000)
    world.governor.burst()
    world.run(1000)
    later = [step for step in world.taped() if step >= 3000]
    assert len([step for step in later if step < 3017]) >= 4
    borrowed = opening(0.05, 0.01) + noted(0.05, 0.0005) + BURST_STEPS * 0.01 * 0.05 + 0.02
    assert world.spent <= 0.0101 * world.trained + borrowed + 4000 * HOOKS_SECONDS


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-5, 0.1), st.floats(0.01, 0.3), st.floats(0.2, 30.0), st.integers(1, 2000), st.integers(0, 10**6))
def test_a_short_run_says_something(step: float, note: float, tape: float, steps: int, first: int) -> None:
    """Of a run under ten seconds a tenth of the steps is measured in full, or 30: whatever a full step costs."""
    steps = max(1, min(steps, int(OPENING_SECONDS / step) - 1))
    world = World(step, note * step, tape * step)
    world.next = world.governor.start(first)
    world.run(steps)
    assert len(world.taped()) >= min(OPENING_STEPS, steps / OPENING_GAP)
    assert 0 in world.taped()
    assert Action.NOTHING not in world.actions[:OPENING_LOSSES]


@settings(max_examples=25, deadline=None)
@given(st.floats(2e-4, 0.1), st.floats(0.01, 0.3), st.floats(0.2, 3.0))
def test_the_promise_holds_once_a_run_has_begun(step: float, note: float, tape: float) -> None:
    world = World(step, note * step, tape * step).run(max(OPENING_GAP * OPENING_STEPS, SHORT_RUN))
    spent, trained, steps = world.spent, world.trained, 3000
    world.run(steps)
    allowed = 0.01 * (world.trained - trained) + BURST_STEPS * 0.01 * step + 2 * tape * step
    assert world.spent - spent <= 1.02 * allowed + HOOKS_SECONDS * steps


@pytest.mark.parametrize("step", [1.2e-3, 4e-3, 14e-3])
@pytest.mark.parametrize("steps", [300, 500, SHORT_RUN])
def test_a_short_run_has_a_whole_loss_curve(step: float, steps: int) -> None:
    """However dear a light step is, and wherever the run begins: each is looked at."""
    world = World(step, 0.15 * step, 0.8 * step)
    world.next = world.governor.start(steps)
    assert Action.NOTHING not in world.run(steps).actions
    assert len(world.taped()) <= steps / OPENING_GAP + 5
    assert ("So far every step is noted" in world.governor.sentence()) == (steps < SHORT_RUN)


@settings(max_examples=25, deadline=None)
@given(st.floats(1.1e-3, 0.1), st.floats(0.01, 0.3))
def test_a_long_run_is_looked_at_now_and_then(step: float, note: float) -> None:
    """After the steps of a short run nothing has to be paid back: light steps go on as the overhead allows."""
    world = World(step, note * step, 0.5 * step).run(SHORT_RUN)
    world.run(2000)
    later = [action for action in world.actions[SHORT_RUN:] if action is Action.LIGHT]
    assert 0.2 * 2000 * 0.01 <= len(later) * note <= 2000 * 0.01 + 2 * note + BURST_STEPS * 0.01
    assert "So far every step is noted" not in world.governor.sentence()


@pytest.mark.parametrize(("note", "whole"), [(0.01, True), (0.1, False)])
def test_steps_of_a_second_are_all_noted_only_where_that_is_cheap(note: float, whole: bool) -> None:
    """A thousand steps of a second are no short run, and a tenth more of them is felt."""
    world = World(1.0, note, 0.5).run(SHORT_RUN)
    assert (Action.NOTHING not in world.actions) == whole


def test_short_steps_are_noted_at_the_beginning_only() -> None:
    world = World(5e-4, 5e-5, 5e-4).run(SHORT_RUN)
    assert Action.NOTHING not in world.actions[:OPENING_LOSSES]
    assert world.actions.count(Action.LIGHT) < 2 * OPENING_LOSSES


def test_what_a_short_run_costs_is_told() -> None:
    world = World(step=1e-3, note=1e-4, tape=1e-3).run(100)
    told = world.governor.sentence()
    assert f"{100 * world.governor.measured:.2g} % of the time of training" in told
    assert world.governor.measured > 0.05
    assert "whatever they cost" in told
    assert "whatever they cost" not in world.run(1000).governor.sentence()


def test_a_schedule_of_the_users() -> None:
    world = World(step=0.001, note=0.0001, tape=0.1, every=10).run(100)
    assert world.taped() == list(range(0, 100, 10))


def test_steps_too_short_to_be_watched_are_left_alone() -> None:
    world = World(step=5e-5, note=2e-5, tape=5e-4).run(20_000)
    assert len(world.taped()) <= OPENING_STEPS
    assert "hooks alone" in world.governor.sentence()
    assert world.governor.account()["tape_gap"] is None


def test_an_evaluation_between_steps_earns_nothing() -> None:
    """A minute's pause is no step of a minute: it must not pay for a thousand tapes."""
    world = World(step=0.01, note=0.0005, tape=0.005).run(500)
    before = len(world.taped())
    world.run(1, pause=60.0).run(50)
    assert len(world.taped()) - before <= 6


@pytest.mark.parametrize("kind", [Action.LIGHT, Action.FULL])
def test_what_the_writers_thread_costs_is_charged(kind: Action) -> None:
    """A second of its work has to be earned before the next look of the kind that made the work."""
    world = World(step=0.01, note=0.0005, tape=0.005).run(SHORT_RUN + 500)
    while [action for action in world.actions if action][-1] is not kind:
        world.run(1)
    world.governor.charge(1.0)
    before = world.actions.count(kind)
    world.run(2000)
    assert world.actions.count(kind) <= before + 1  # the next one may have been decided on
    assert len(set(world.actions[-2000:])) > 1  # the other kind goes on


def test_a_cold_first_tape_sets_no_price() -> None:
    """It takes ten times as long as any other, and would leave a run of some thousand steps without a second one."""
    world = World(step=1e-3, note=1e-4, tape=2.5e-2)
    world.run(1)
    world.tape = 2.5e-3
    world.run(2999)
    assert world.taped()[1] <= 2
    assert len(world.taped()) >= 6
    assert world.governor.full.price == pytest.approx(2.5e-3)


def test_an_interruption_is_no_price_but_a_new_price_is_learned() -> None:
    account = CostAccount()
    for _ in range(5):
        account.spend(1e-3)
    before = account.saved
    account.spend(0.5)
    assert account.price < 2e-3
    assert account.saved >= before - 3e-3 - 1e-9
    for _ in range(12):
        account.spend(0.02)
    assert account.price == pytest.approx(0.02, rel=0.05)


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-4, 1.0), st.lists(st.integers(1, 50), min_size=2, max_size=30), st.floats(0.0, 5.0))
def test_what_watching_costs_is_no_part_of_a_step(seconds: float, gaps: list[int], cost: float) -> None:
    now = 0.0
    time = TrainingTime(lambda: now)
    assert time.pass_to(0) == 0
    for step, gap in zip(itertools.accumulate(gaps), gaps, strict=True):
        now += gap * seconds + cost
        time.exclude(cost)
        assert time.pass_to(step) == gap
    assert time.typical == pytest.approx(seconds, rel=1e-6)
    assert time.elapsed == pytest.approx(sum(gaps) * seconds, rel=1e-6)


def test_a_pause_is_no_step_of_its_length() -> None:
    now = 0.0
    time = TrainingTime(lambda: now)
    for step in range(100):
        now += 0.01
        time.pass_to(step)
    now += 60.0
    time.pass_to(100)
    assert time.typical < 0.03
    assert time.elapsed < 1.1
