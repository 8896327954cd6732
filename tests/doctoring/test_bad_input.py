"""What can't be treated ends with one clear sentence; what breaks on the way takes nothing with it."""

import itertools
import math
import threading
import time

import pytest
import torch
from torch import nn

from doctoring.lines import QUICK, lines, squared
from undertow.doctoring import Verdict, doctor
from undertow.doctoring.budget import Budget
from undertow.doctoring.comparison import Comparison, compare
from undertow.doctoring.course import Course
from undertow.doctoring.judging import judged
from undertow.doctoring.trials import Cut, Trials
from undertow.remedies import Remedy


def raising(*_):
    raise KeyError("my own mistake")


def too_wide(model, batch):
    return model(batch[0][:, :2]).mean()  # torch's error, at a line of its own: the one that is told is this


class Once:
    """Batches that are gone once they were read, whatever asks for them."""

    def __init__(self):
        self.left = iter([(torch.randn(8, 4), torch.randn(8, 1))] * 3)

    def __iter__(self):
        yield from self.left


class Bare(nn.Module):
    def forward(self, x):
        return x[:, :1]


SHARED = nn.Linear(4, 1)
USED_UP = iter([(torch.randn(8, 4), torch.randn(8, 1))])


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"model": Bare}, "the model has no parameter that could be trained"),
        ({"model": lambda: nn.Linear(4, 1).requires_grad_(False)}, "none, or all with requires_grad=False"),
        ({"model": lambda: SHARED}, "model\\(\\) returned the same parameters twice"),
        ({"model": raising}, "model\\(\\) fails: KeyError: 'my own mistake' \\(test_bad_input.py, line \\d+\\)"),
        ({"loss": raising}, "the training as it is fails: KeyError: 'my own mistake'"),
        ({"batches": []}, "batches holds no batch"),
        ({"batches": lambda: USED_UP}, "batches\\(\\) gave no batch the second time: return a new iterator each time"),
        ({"score": lambda _: math.nan}, "the score of the untrained model is nan"),
        ({"score": lambda _: None}, "score\\(model\\) returned None: return one number"),
        ({"loss": lambda model, batch: squared(model, batch).detach()}, "returned a tensor without a graph"),
        ({"loss": too_wide}, "the training as it is fails: RuntimeError: .* \\(test_bad_input.py, line \\d+\\)"),
        ({"batches": Once()}, "or can it be read only once"),
        ({"steps": 0}, "steps is 0: a training has one at least"),
    ],
)
def test_one_clear_sentence(changed, sentence):
    with pytest.raises((TypeError, ValueError, RuntimeError), match=sentence):
        doctor(lines(**changed), **QUICK)


def test_a_budget_that_is_too_small_says_what_would_do():
    with pytest.raises(ValueError, match=r"give at least budget=\d+"):
        doctor(lines(), budget=1e-3, processes=0)


def test_a_training_that_can_not_be_repeated_is_treated_and_told():
    numbers = itertools.count()

    def noisy(model, batch):
        return squared(model, batch) * (1 + 0.01 * math.sin(next(numbers)))

    treatment = doctor(lines(1e-6, loss=noisy), **QUICK)
    assert treatment.verdict == "repaired"
    assert any("Two runs with one seed differ" in note for note in treatment.notes)
    assert "Two runs with one seed differ" in str(treatment)


def test_what_can_not_be_sent_to_other_processes_is_trained_in_this_one():
    lock = threading.Lock()

    def locked(model, batch):
        with lock:
            return squared(model, batch)

    treatment = doctor(lines(1e-6, loss=locked), budget=600, seeds=3, processes=2)
    assert treatment.verdict == "repaired"
    assert any("can't be sent to other processes" in note for note in treatment.notes)


def test_an_arm_that_breaks_or_is_lost_ends_alone(tmp_path):
    def refusing(model, batch):
        if hasattr(model, "input_mean"):
            raise MemoryError("out of memory")
        return squared(model, batch)

    with Trials(lines(loss=refusing), tmp_path / "trials.sweep", 0) as trials:
        arms = [(), (Remedy("UR304"),), (Remedy("UR101", {"factor": 1e38}),)]
        made = trials.make([Cut(arm, 0, 20) for arm in arms])
    plain, refused, lost = (made[Cut(arm, 0, 20)] for arm in arms)
    assert plain.trial.diverged is None
    assert "out of memory" in refused.error
    assert lost.trial.diverged is not None
    assert lost.trial.score == lost.trial.start


def test_a_score_that_is_no_number_in_the_end_counts_as_that_of_the_start():
    def score(model):
        left = float((model.weight - 1).square().sum())
        return -left if left < 50 else math.nan

    treatment = doctor(lines(5.0, score=score), **QUICK)
    assert treatment.verdict == "repaired"


def test_an_interruption_leaves_an_answer_and_the_same_call_goes_on(tmp_path):
    said = []

    def interrupted(line):
        said.append(line)
        if "race over" in line and sum("race over" in each for each in said) == 2:
            raise KeyboardInterrupt

    kept = {"store": tmp_path / "kept.sweep", **QUICK}
    stopped = doctor(lines(1e-6), tell=interrupted, **kept)
    assert stopped.interrupted
    assert stopped.remedies == ()
    assert "Best in the race until then: UR1" in str(stopped)
    went_on = doctor(lines(1e-6), **kept)
    assert went_on.verdict == "repaired"
    first = {each.arm: each.scores for each in stopped.attempts if each.stage == "raced"}
    again = {each.arm for each in went_on.attempts}
    assert set(first) <= again


def comparison(control, treated, start, verdict):
    return Comparison(
        (Remedy("UR103"),), tuple(range(len(control))), control, treated, start, (0.1, 0.2), 0.01, verdict
    )


class TestJudging:
    def test_what_is_learned_blindly_is_not_learned(self):
        helped = comparison((0.1,) * 3, (0.5, 0.51, 0.49), 0.1, Verdict.HELPS)
        assert judged([helped], lambda _: [0.5, 0.51, 0.49])[0] == "nothing helps"
        assert judged([helped], lambda _: [0.1, 0.12, 0.1])[0] == "repaired"
        assert judged([helped], lambda _: [])[0] == "repaired"

    def test_a_seed_that_is_lost_does_not_hide_what_the_others_learned(self):
        helped = comparison((0.1,) * 5, (0.95, 0.94, 0.95, 0.96, 0.1), 0.1, Verdict.HELPS)
        assert judged([helped], lambda _: [0.1, 0.12, 0.1, 0.09, 0.11])[0] == "repaired"

    def test_another_class_that_is_said_of_all_is_not_learned(self):
        said = comparison((0.087,) * 5, (0.104, 0.104, 0.104, 0.104, 0.102), 0.08, Verdict.HELPS)
        assert judged([said], lambda _: [0.087, 0.087, 0.087, 0.1005, 0.087])[0] == "nothing helps"
        assert judged([said], lambda _: [0.087, 0.087, 0.0, 0.087, 0.087])[0] == "repaired"  # one was lost

    def test_nearly_all_the_way_is_healthy(self):
        near = comparison((0.93, 0.94, 0.93), (0.97, 0.98, 0.97), 0.1, Verdict.HELPS)
        assert judged([near], lambda _: [0.1, 0.12, 0.1]) == ("healthy", None)

    def test_less_harm_than_untrained_is_no_repair(self):
        spared = comparison((0.0, 0.01, 0.0), (0.1, 0.1, 0.1), 0.1, Verdict.HELPS)
        assert judged([spared], lambda _: [])[0] == "nothing helps"

    @pytest.mark.parametrize(("blind", "verdict"), [([], "nothing helps"), ([0.1, 0.12, 0.1], "healthy")])
    def test_a_loss_that_stands_still_is_not_healthy_unless_mixed_targets_say_so(self, blind, verdict):
        useless = comparison((0.5, 0.51, 0.52), (0.5, 0.49, 0.5), 0.1, Verdict.NO_EFFECT)
        assert judged([useless], lambda _: blind, stands_still=True)[0] == verdict
        assert judged([useless], lambda _: blind)[0] == "healthy"

    def test_without_a_comparison_nothing_helps(self):
        assert judged([], lambda _: []) == ("nothing helps", None)

    @pytest.mark.parametrize(
        ("remedy", "control", "verdict"),
        [
            (Remedy("UR101", {"factor": 10.0}), 0.6, "healthy"),
            (Remedy("UR101", {"factor": 10.0}), 0.3, "repaired"),
            (Remedy("UR302"), 0.6, "repaired"),
        ],
    )
    def test_longer_steps_are_no_repair_of_a_training_that_was_cut_short(self, remedy, control, verdict):
        ahead = compare((remedy,), range(3), [control, control + 0.01, control], [0.9, 0.91, 0.9], 0.1)
        assert judged([ahead], lambda _: [], unfinished=True)[0] == verdict
        assert judged([ahead], lambda _: [])[0] == "repaired"


def test_without_time_for_a_race_what_most_speaks_for_is_tried_at_once(tmp_path):
    def refusing(cuts, deadline=math.inf):
        return {} if deadline < math.inf else make(cuts, deadline)

    with Trials(lines(1e-6), tmp_path / "trials.sweep", 0) as trials:
        make, trials.make = trials.make, refusing
        course = Course(lines(1e-6), trials, Budget(60, 0.001, 1, 3, 60), time.monotonic() - 1)
        arms = course.finalists([Remedy("UR101", {"factor": 1e5}, urgency=0.9), Remedy("UR103", urgency=0.1)])
        assert arms[0] == (Remedy("UR101", {"factor": 1e5}),)
        assert str(course.confirm(arms)[0].verdict) == "HELPS"
        assert "no time for a race" in course.notes[0]
