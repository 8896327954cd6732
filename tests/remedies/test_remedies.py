"""Every remedy does to the model what it says, and its snippet, pasted, does the same."""

import copy
import json
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from remedies import patients
from undertow.doctoring.screening import look
from undertow.remedies import KINDS, Remedy, apply, remedy
from undertow.remedies.explained import page
from undertow.remedies.registry import Level
from undertow.testing.remedies import check_explained, check_remedy

CASES = {
    "UR101": (patients.classes(patients.mlp, 6), {"factor": 0.1}),
    "UR102": (patients.classes(patients.mlp, 6), {"lr": 0.002}),
    "UR105": (patients.under_adam(patients.mlp, 6), {"eps": 1e-12}),
    "UR106": (patients.under_adam(patients.mlp, 6), {"value": 0.9}),
    "UR107": (patients.classes(patients.mlp, 6), {}),
    "UR108": (patients.classes(patients.mlp, 6), {"weight_decay": 0.001}),
    "UR111": (patients.classes(patients.mlp, 6), {"value": 0.5}),
    "UR201": (patients.classes(patients.mlp, 6), {"activation": "tanh"}),
    "UR202": (patients.classes(patients.cnn, 1, 4, 4), {}),
    "UR203": (patients.classes(patients.cnn, 1, 4, 4), {}),
    "UR204": (patients.classes(patients.mlp, 6), {"factor": 0.01}),
    "UR205": (patients.classes(patients.mlp, 6), {}),
    "UR206": (patients.classes(patients.Recurrent, 7, 2), {}),
    "UR207": (patients.classes(lambda: patients.Recurrent(nn.LSTM), 7, 2), {"bias": 2.0}),
    "UR301": (patients.classes(lambda: patients.mlp(end=nn.Sigmoid), 6), {"to": "relu"}),
    "UR302": (patients.classes(patients.cnn, 1, 4, 4), {}),
    "UR303": (patients.classes(patients.mlp, 6), {}),
    "UR304": (patients.classes(patients.cnn, 1, 4, 4, scale=50.0), {}),
    "UR305": (patients.classes(patients.Transformer, 4, 2), {}),
    "UR306": (patients.classes(patients.Recurrent, 7, 2), {}),
    "UR307": (patients.classes(patients.Recurrent, 7, 2), {"bias": 2.0}),
    "UR308": (patients.classes(patients.Listed, 6), {}),
    "UR309": (patients.classes(patients.Transformer, 4, 2), {"p": 0.2}),
    "UR310": (patients.classes(lambda: patients.mlp(nn.Identity), 6), {}),
    "UR311": (patients.classes(lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)), 6), {}),
    "UR312": (patients.classes(patients.TimeFirst, 7, 2), {}),
    "UR314": (patients.with_holes(patients.classes(patients.mlp, 6)), {}),
    "UR317": (patients.classes(patients.Attentive, 7, 2), {}),
    "UR319": (patients.classes(patients.narrow, 6), {"width": 9}),
    "UR325": (patients.classes(patients.mlp, 6), {"periods": 2.0}),
    "UR401": (patients.classes(lambda: patients.mlp(end=lambda: nn.Softmax(1)), 6), {}),
    "UR402": (patients.numbers(lambda: patients.mlp(end=nn.Sigmoid), 3), {}),
    "UR403": (patients.numbers(patients.mlp, 3, scale=100.0), {}),
    "UR404": (
        patients.numbers(
            lambda: nn.Sequential(nn.Linear(6, 1)),
        ),
        {},
    ),
}
"""A training that each remedy changes, and numbers to change it with."""

MODELS = {code: case for code, case in CASES.items() if KINDS[code].level is not Level.A}
IN_THE_LOOP = {
    "UR103", "UR104", "UR109", "UR110", "UR112", "UR113", "UR114", "UR115", "UR116", "UR208", "UR313", "UR315", "UR316",
    "UR318", "UR405", "UR406", "UR407", "UR408", "UR409", "UR410", "UR411", "UR412", "UR413", "UR414", "UR415",
    "UR416", "UR417", "UR418", "UR320", "UR321", "UR322", "UR419", "UR420", "UR421", "UR422", "UR423", "UR424", "UR425",
    "UR426", "UR427", "UR117", "UR323", "UR324", "UR428", "UR429", "UR430", "UR431",
}  # fmt: skip
"""Those whose lines stand in the loop or the loss, and not behind those that make the model and its optimizer."""


def test_no_remedy_is_left_out():
    assert set(CASES) | IN_THE_LOOP == set(KINDS)


LEAVES_A_DIVISION = {"UR403"}
"""Its snippet leaves the division of the loss to the reader; see the test before."""


@pytest.mark.parametrize("code", CASES)
def test_keeps_the_contract_of_remedies(code):
    training, settings = CASES[code]
    check_remedy(code, training, settings, pasted=code not in LEAVES_A_DIVISION)


@pytest.mark.parametrize("code", MODELS)
def test_a_treated_model_differs_can_be_copied_and_every_parameter_is_reached(code):
    training, settings = MODELS[code]
    treated = apply(Remedy(code, settings), training)
    model = patients.made(treated)
    batch = training.sample(1)[0]
    treated.loss(model, batch).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    twin = copy.deepcopy(model)
    model.eval(), twin.eval()
    with torch.no_grad():
        for parameter in model.parameters():  # a copy that leans on its original would change with it
            parameter.zero_()
        assert not torch.equal(twin(batch[0]), model(batch[0])) or code == "UR303"
        before = patients.made(training)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the output that UR404 is a remedy for
            losses = [
                float(t.loss(m.train(), batch)) for t, m in ((training, before), (treated, patients.made(treated)))
            ]
    assert losses[0] != losses[1] or code == "UR308"  # who only tells the optimizer more
    assert look(training, (Remedy(code, settings),)).error == ""


@pytest.mark.parametrize("code", MODELS)
def test_old_names_stay_where_the_level_says_so(code):
    training, settings = MODELS[code]
    before = dict(patients.made(training).named_parameters())
    after = dict(patients.made(apply(Remedy(code, settings), training)).named_parameters())
    replaced = {"UR307", "UR319"}  # another module stands in the place of the old one
    if code not in replaced:
        assert {name: p.shape for name, p in before.items()}.items() <= {n: p.shape for n, p in after.items()}.items()
    if Remedy(code).level is Level.B:
        assert list(before) == list(after)


def test_the_users_own_objects_stay_as_they_are():
    training = CASES["UR301"][0]
    kept = [dict(vars(training)), str(patients.made(training))]
    for code, (patient, settings) in CASES.items():
        apply(Remedy(code, settings), patient)
    assert [dict(vars(training)), str(patients.made(training))] == kept


def test_a_remedy_for_a_model_changes_a_copy():
    model = patients.mlp()
    before = copy.deepcopy(model.state_dict())
    changed = apply(Remedy("UR201", {"activation": "relu"}), model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not torch.equal(changed[0].weight, model[0].weight)
    with pytest.raises(ValueError, match="apply it to a Training"):
        apply(Remedy("UR101", {"factor": 2.0}), model)
    with pytest.raises(TypeError, match="not a int"):
        apply(Remedy("UR201"), 3)


def test_remedies_compose():
    training = patients.classes(patients.mlp, 6, scale=30.0)
    cures = [
        Remedy("UR304"), Remedy("UR301", {"to": "tanh"}), Remedy("UR302"), Remedy("UR303"), Remedy("UR102"),
        Remedy("UR103"), Remedy("UR104", {"steps": 5}), Remedy("UR101", {"factor": 0.5}),
    ]  # fmt: skip
    treated = apply(cures, training)
    trial = treated.run(steps=10)
    assert trial.diverged is None
    assert [p.grad is not None for p in trial.model.parameters()].count(False) == 0
    assert treated.clip_grad_norm == 1.0


class TestArchitecture:
    def test_a_model_without_a_place_for_it_is_refused_in_one_sentence(self):
        linear = patients.classes(lambda: nn.Linear(6, 3), 6)
        for code in ("UR301", "UR302", "UR303", "UR305", "UR306", "UR307", "UR308", "UR402"):
            assert look(linear, (Remedy(code),)).error.startswith("ValueError: "), code


class TestRegistry:
    @pytest.mark.parametrize("code", KINDS)
    def test_every_remedy_can_be_explained(self, code):
        check_explained(code)

    def test_the_page_is_made_from_the_docstrings(self):
        made = (Path(__file__).parents[2] / "docs" / "remedies.md").read_text(encoding="utf-8")
        assert made == page(), "run `make docs`"

    def test_a_code_is_taken_once(self):
        with pytest.raises(ValueError, match="two remedies have the code UR101"):
            remedy("UR101", "another", "A")(lambda training: training)

    @pytest.mark.parametrize("code", CASES)
    def test_a_remedy_survives_json(self, code):
        cure = Remedy(code, CASES[code][1], "why", ("UT101",), 0.5, -1.0).written_for(CASES[code][0])
        back = Remedy.from_dict(json.loads(json.dumps(cure.to_dict())))
        assert back == cure
        assert (back.reason, back.answers, back.urgency, back.predicted, back.snippet) == (
            "why", ("UT101",), 0.5, -1.0, cure.snippet,
        )  # fmt: skip

    def test_an_unknown_code_is_named(self):
        with pytest.raises(KeyError, match="no remedy has the code 'UR999'"):
            Remedy.from_dict({"code": "UR999"})
