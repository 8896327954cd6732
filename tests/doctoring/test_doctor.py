"""The doctor's way, on trainings of milliseconds: what is broken is repaired, what learns is left alone."""

import json
import re
from dataclasses import replace

import pytest
import torch

from doctoring.lines import QUICK, lines
from undertow.doctoring import Verdict, doctor, verify
from undertow.remedies import Remedy
from undertow.serving.folder import Folder
from undertow.serving.treatments import page_of, treatments
from undertow.store import StoreError


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
