"""The doctor's way, on trainings of milliseconds: what is broken is repaired, what learns is left alone."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from undertow.doctoring import Verdict, doctor, verify
from undertow.doctoring.arms import first_arms, second_arms, simplicity
from undertow.doctoring.budget import Budget, seconds_of
from undertow.doctoring.comparison import compare, corrected, holm
from undertow.doctoring.course import FIRST_LOOK, course_of, preference, unlike
from undertow.doctoring.reset import reset_test
from undertow.doctoring.screening import look
from undertow.doctoring.trials import Cut, Trials
from undertow.remedies import KINDS, Remedy, prescribe
from undertow.serving.folder import Folder
from undertow.serving.treatments import page_of, treatments
from undertow.store import StoreError
from undertow.training import Training

QUICK = {"budget": 600, "seeds": 3, "processes": 0}


def lines(lr=0.1, noise=0.0, kind=torch.optim.SGD):
    """How to fit a line through points."""
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(64, 4, generator=draws)
    y = x.sum(1, keepdim=True) + noise * torch.randn(64, 1, generator=draws)
    return Training(
        lambda: nn.Linear(4, 1), [(x[i : i + 16], y[i : i + 16]) for i in range(0, 64, 16)], squared,
        lambda model: kind(model.parameters(), lr=lr), steps=80,
    )  # fmt: skip


def squared(model, batch):
    return functional.mse_loss(model(batch[0]), batch[1])


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """A training of far too small a learning rate, treated: the answer, its folder, and what the live file said."""
    folder = tmp_path_factory.mktemp("treated")
    live, seen = folder / "net.treatment.json", []

    def look_at(_line):
        if live.exists():
            seen.append(json.loads(live.read_text()))

    return doctor(lines(1e-6), live=live, tell=look_at, store=folder / "kept.sweep", **QUICK), folder, seen


class TestDoctor:
    @pytest.mark.parametrize("lr", [1e-6, 3.0])
    def test_a_wrong_learning_rate_is_repaired(self, lr, slow):
        treatment = slow[0] if lr == 1e-6 else doctor(lines(lr), **QUICK)
        assert treatment.verdict == "repaired"
        assert treatment.remedies
        assert treatment.comparisons[0].verdict is Verdict.HELPS
        assert treatment.training.run(7).score > lines(lr).run(7).score
        assert treatment.training.run(7).score == pytest.approx(lines(0.1).run(7).score, abs=0.1)

    def test_nothing_of_another_level_is_tried(self):
        treatment = doctor(replace(lines(1e-6), steps=3), levels="BC", **QUICK)
        assert {str(each.level) for attempt in treatment.attempts for each in attempt.arm} <= {"B", "C"}
        assert any(attempt.stage != "prescribed" for attempt in treatment.attempts)

    def test_a_training_that_learns_is_left_alone(self):
        training = lines(0.1)
        treatment = doctor(training, **QUICK)
        assert (treatment.verdict, treatment.remedies) == ("healthy", ())
        assert treatment.training is training
        assert "This training learns" in str(treatment)

    def test_nothing_helps_where_there_is_nothing_to_learn(self):
        training = lines(0.01)
        blank = replace(training, batches=[(torch.zeros(16, 4), torch.randn(16, 1))] * 3, steps=40)
        treatment = doctor(replace(blank, score=lambda model: -abs(float(model(torch.zeros(1, 4))) * 0)), **QUICK)
        assert (treatment.verdict, treatment.remedies) == ("nothing helps", ())

    def test_the_answer_is_json_and_text(self, slow):
        treatment, tmp_path, seen = slow
        live = tmp_path / "net.treatment.json"
        # While it goes, the file says what is known, and a server shows it as a page that asks for itself anew.
        assert all(each["running"] and each["verdict"] != "repaired" for each in seen)
        assert any(each["attempts"] for each in seen)
        assert json.loads(live.read_text()) == json.loads(json.dumps(treatment.to_dict()))
        live.write_text(json.dumps(seen[-1]))
        (tmp_path / "other.treatment.json").write_text("{")
        folder = Folder(tmp_path)
        assert set(treatments(folder)) == {"net.treatment.json", "other.treatment.json"}
        page, headers = page_of(folder, "net.treatment.json")
        assert "under way" in page
        assert int(headers["Refresh"]) > 0
        with pytest.raises(StoreError, match="can't be shown as a treatment"):
            page_of(folder, "other.treatment.json")
        with pytest.raises(KeyError):
            page_of(folder, "../net.treatment.json")
        told = json.loads(treatment.save(tmp_path / "answer.json").read_text())
        assert told["verdict"] == "repaired"
        assert told["comparisons"][0]["verdict"] == "HELPS"
        assert treatment.snippet in told["snippet"]
        assert "What to paste" in treatment.save(tmp_path / "answer.txt").read_text()
        text = " ".join(str(treatment).split())
        # Without a score of the user's, the loss is told as a loss, and lines to paste stand once.
        assert treatment.measure == "loss"
        assert re.search(r"the loss is [\d.e-]+ instead of [\d.]+, over 3 fresh seeds", text)
        assert text.count("What to paste") == 1
        assert "more: undertow rule" not in text

    def test_an_answer_that_was_given_is_given_again(self, slow):
        first, folder, _ = slow
        again = doctor(lines(1e-6), store=folder / "kept.sweep", **QUICK)
        assert again.verdict == first.verdict


class TestVerify:
    def test_a_remedy_that_helps_and_one_that_does_not(self):
        found = verify([Remedy("UR101", {"factor": 1e5}), Remedy("UR105")], lines(1e-6), range(3), processes=0)
        assert [str(each.verdict) for each in found] == ["HELPS", "NO EFFECT"]

    def test_a_loop_of_ones_own(self):
        found = verify([Remedy("UR103")], lambda remedy, seed: (0.1 if remedy else 0.9) + seed / 100, range(5))
        assert found[0].verdict is Verdict.HARMS
        assert found[0].effect == pytest.approx(-0.8)


class TestComparison:
    def test_noise_is_no_effect(self):
        draws = np.random.default_rng(0)
        wrong = 0
        for _ in range(200):
            control, treated = draws.normal(size=(2, 5))
            wrong += compare((), range(5), control, treated, start=-1.0).verdict is not Verdict.NO_EFFECT
        assert wrong / 200 < 0.08

    def test_a_tiny_effect_does_not_matter(self):
        assert compare((), range(4), [0.9] * 4, [0.901] * 4, start=0.1).verdict is Verdict.NO_EFFECT

    def test_one_seed_proves_nothing(self):
        assert compare((), [0], [0.1], [0.9], start=0.0).verdict is Verdict.UNTESTED

    def test_a_second_look_decides_where_seeds_differ_and_costs_its_part_of_the_error(self):
        """One seed in five trains as it is: that a remedy helps the others is seen with ten seeds."""
        five, ten = [0.9, 0.1, 0.2, 0.5, 0.1], [0.9, 0.1, 0.2, 0.5, 0.1, 0.1, 0.3, 0.9, 0.1, 0.2]
        first = corrected([compare((), range(5), five, [0.9] * 5, 0.1)] * 2, FIRST_LOOK)[0]
        second = corrected([compare((), range(10), ten, [0.9] * 10, 0.1)], 1 - FIRST_LOOK)[0]
        assert (first.verdict, second.verdict) == (Verdict.NO_EFFECT, Verdict.HELPS)

    def test_two_looks_err_no_more_often_than_one(self):
        draws, wrong = np.random.default_rng(1), 0
        for _ in range(400):
            control, treated = draws.normal(size=(2, 10))
            looks = [(5, FIRST_LOOK), (10, 1 - FIRST_LOOK)]
            wrong += any(
                corrected([compare((), range(n), control[:n], treated[:n], -1.0)], part)[0].verdict
                is not Verdict.NO_EFFECT
                for n, part in looks
            )
        assert wrong / 400 < 0.08

    def test_what_is_untested_does_not_count(self):
        found = corrected([compare((), [], [], [], 0.0), compare((), range(3), [0.1] * 3, [0.3, 0.32, 0.29], 0.1)])
        assert [str(each.verdict) for each in found] == ["UNTESTED", "HELPS"]
        assert found[1].p == pytest.approx(compare((), range(3), [0.1] * 3, [0.3, 0.32, 0.29], 0.1).p)

    def test_holm_is_monotone_and_at_most_bonferroni(self):
        p = [0.001, 0.02, 0.04, 0.3]
        assert all(a <= b for a, b in zip(holm(p), sorted(holm(p)), strict=True))
        assert all(each <= min(1, 4 * raw) for each, raw in zip(holm(p), p, strict=True))


def test_a_likely_remedy_of_the_step_gets_a_partner_and_one_that_is_a_length_of_steps_none():
    missing, slow = Remedy("UR107", urgency=1.0), Remedy("UR101", {"factor": 10.0}, urgency=0.9)
    pairs = [arm for arm in first_arms([missing, slow, Remedy("UR110", urgency=0.5)]) if len(arm) == 2]
    assert {arm[0].code for arm in pairs if arm[1].code == "UR102"} == {"UR107"}
    assert {arm[1].settings["lr"] for arm in pairs if arm[1].code == "UR102"} == {1e-3, 1e-2}


def test_arms_that_do_the_same_are_run_once():
    shut, open_, other = (Remedy("UR414"),), (Remedy("UR401"), Remedy("UR414")), (Remedy("UR102"), Remedy("UR103"))
    assert unlike([open_, shut, other], {open_: b"a", shut: b"a", other: b"b"}) == [shut, other]


def test_arms_of_equal_losses_and_other_scores_do_not_do_the_same(tmp_path):
    """A softmax of one number left out of the loss, or of the model: a score sees the first as it was."""
    x = torch.linspace(-1, 1, 32)[:, None]
    training = Training(
        lambda: nn.Sequential(nn.Linear(1, 1), nn.Softmax(1)), [(x, 3 * x)], squared,
        lambda model: torch.optim.SGD(model.parameters(), lr=0.1), lambda model: -float(squared(model, (x, 3 * x))),
    )  # fmt: skip
    in_loss, in_model = (Remedy("UR401"),), (Remedy("UR402"),)
    cuts = [Cut(arm, 0, 30) for arm in (in_loss, in_model)]
    with Trials(training, tmp_path / "kept.sweep", 0) as trials:
        made = trials.make(cuts)
    assert np.array_equal(made[cuts[0]].trial.losses, made[cuts[1]].trial.losses)
    assert unlike([in_loss, in_model], {arm: course_of(arm, [0], 30, made) for arm in (in_loss, in_model)}) == [
        in_loss, in_model
    ]  # fmt: skip


def test_of_two_that_help_as_much_the_surer_one_is_preferred():
    wide, narrow = (
        compare((Remedy("UR101", {"factor": factor}),), range(5), [0.0] * 5, treated, 0.0)
        for factor, treated in ((100.0, [0.5, 1.0, 1.5, 1.0, 1.01]), (30.0, [1.0, 1.0, 1.01, 0.99, 1.0]))
    )
    best = max(wide.effect, narrow.effect)
    assert wide.effect > narrow.effect
    assert min((wide, narrow), key=lambda each: preference(each, best)) is narrow


class TestBudget:
    @pytest.mark.parametrize("wrong", ["soon", "", -1, 0, "5x", "m"])
    def test_what_is_no_time_is_said(self, wrong):
        with pytest.raises(ValueError, match="write how long the doctor may take"):
            seconds_of(wrong)

    def test_more_time_never_means_fewer_steps(self):
        steps = [Budget(seconds, 0.01, 2).full for seconds in (1, 10, 60, 300, 3000)]
        assert steps == sorted(steps)
        assert Budget(1e6, 0.01, 2, steps=70).full == 70


class TestArms:
    prescribed = (Remedy("UR201", urgency=0.9), Remedy("UR102", {"lr": 1e-3}, urgency=0.5), Remedy("UR406", urgency=1))

    def test_urgent_starts_are_paired_and_what_only_a_person_can_do_is_left_out(self, monkeypatch):
        monkeypatch.setattr(KINDS["UR406"], "by_hand", True)
        arms = first_arms(self.prescribed)
        assert (self.prescribed[0],) in arms
        assert any(len(arm) == 2 and arm[0].code == "UR201" for arm in arms)
        assert not any(each.code == "UR406" for arm in arms for each in arm)

    def test_a_pair_holds_no_kind_twice(self):
        arms = second_arms([(Remedy("UR101", {"factor": 0.1}),), (Remedy("UR101", {"factor": 0.01}),)])
        assert all(len({each.code for each in arm}) == len(arm) for arm in arms)

    def test_fewer_and_milder_is_simpler(self):
        arms = [(Remedy("UR101"), Remedy("UR102")), (Remedy("UR302"),), (Remedy("UR101"),)]
        assert sorted(arms, key=simplicity) == [arms[2], arms[1], arms[0]]


def test_trials_of_an_arm_that_breaks_are_told_and_the_others_go_on(tmp_path):
    with Trials(lines(), tmp_path / "trials.sweep", 0) as trials:
        cuts = [Cut((), 0, 10), Cut((Remedy("UR302"),), 0, 10), Cut((Remedy("UR101", {"factor": 2.0}),), 0, 10)]
        made = trials.make(cuts)
    assert [made[cut].trial is None for cut in cuts] == [False, True, False]
    assert "no hidden layer" in made[cuts[1]].error


def test_prescriptions_answer_findings():
    remedies = prescribe(look(lines(3000.0)).diagnosis)
    assert [each.urgency for each in remedies] == sorted([each.urgency for each in remedies], reverse=True)
    assert remedies[0].code == "UR101"
    assert remedies[0].settings["factor"] < 1


def test_reset_finds_the_layer_that_was_trained():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        net[1].weight.fill_(2.0)
    found = {each.module: each for each in reset_test(net, before, lambda model: float(model[1].weight.sum()))}
    assert found["0"].lost == pytest.approx(0.0)
    assert found["0"].moved == 0.0
    assert found["1"].lost > 1
    assert float(net[1].weight.detach().sum()) == 6.0
    with pytest.raises(ValueError, match=r"initial_state has no 0\.weight"):
        reset_test(net, {}, lambda _: 0.0)
