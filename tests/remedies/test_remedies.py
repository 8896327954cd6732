"""Every remedy does to the model what it says, and its snippet, pasted, does the same."""

import copy
import json
import math
import warnings
from dataclasses import replace
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
    "UR426", "UR427",
}  # fmt: skip
"""Those whose lines stand in the loop or the loss, and not behind those that make the model and its optimizer."""


def test_no_remedy_is_left_out():
    assert set(CASES) | IN_THE_LOOP == set(KINDS)


def test_what_is_pasted_for_targets_to_scale_leaves_the_division_of_the_loss_to_the_reader():
    training, settings = CASES["UR403"]
    cure = Remedy("UR403", settings).written_for(training)
    treated = apply(cure, training)
    applied, (pasted, _) = patients.made(treated), patients.pasted(cure.snippet, training)
    batch = training.sample(1)[0]
    losses = [float(each.loss(model, batch).detach()) for each, model in ((treated, applied), (training, pasted))]
    scale = float(torch.cat([y for _, y in training.sample(32)]).std())
    assert losses[0] == pytest.approx(losses[1] / scale**2, rel=1e-4)


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


class TestStep:
    training = patients.classes(patients.mlp, 6)

    def group(self, code, **settings):
        treated = apply(Remedy(code, settings), self.training)
        return treated.optimizer(patients.made(treated)).param_groups[0]

    def test_the_learning_rate_is_multiplied(self):
        assert self.group("UR101", factor=0.1)["lr"] == pytest.approx(0.01)

    def test_adam_keeps_the_decay(self):
        assert self.group("UR102", lr=0.002)["weight_decay"] == 0.01

    def test_decay_goes(self):
        assert self.group("UR108")["weight_decay"] == 0.0

    @pytest.mark.filterwarnings("ignore:The epoch parameter in:UserWarning")  # torch 2.6 calls its own schedules so
    def test_a_warm_up_begins_at_a_hundredth_and_hands_on_to_the_users_schedule(self):
        halving = torch.optim.lr_scheduler.StepLR
        training = patients.classes(patients.mlp, 6)
        training = type(training)(**{**vars(training), "scheduler": lambda optimizer: halving(optimizer, 3, 0.5)})
        treated = apply(Remedy("UR104", {"steps": 4}), training)
        optimizer = treated.optimizer(patients.made(treated))
        schedule, rates = treated.scheduler(optimizer), []
        for _ in range(8):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        assert rates[0] == pytest.approx(0.001)
        assert rates[4:] == pytest.approx([0.1, 0.1, 0.1, 0.05])

    def test_no_step_is_longer_than_clipping_allows(self):
        loud = patients.numbers(patients.mlp, 3, scale=1e4)
        plain = type(loud)(**{**vars(loud), "optimizer": lambda model: torch.optim.SGD(model.parameters(), lr=0.1)})
        before = {k: v.clone() for k, v in patients.made(plain).state_dict().items()}
        after = apply(Remedy("UR103", {"norm": 0.5}), plain).run(seed=0, steps=1).model.state_dict()
        length = math.sqrt(sum(float((after[k] - before[k]).square().sum()) for k in before))
        assert length == pytest.approx(0.05, rel=1e-3)

    def test_parameters_that_no_group_holds_are_added_and_a_foreign_optimizer_is_made_anew(self):
        half = type(self.training)(**{**vars(self.training), "optimizer": lambda model: patients.adam(model[0])})
        other = type(self.training)(**{**vars(self.training), "optimizer": lambda _: patients.adam(patients.mlp())})
        for training in (half, other):
            treated = apply(Remedy("UR107"), training)
            model = patients.made(treated)
            optimizer = treated.optimizer(model)
            held = {id(p) for group in optimizer.param_groups for p in group["params"]}
            assert {id(p) for p in model.parameters()} <= held
            assert isinstance(optimizer, torch.optim.Adam)
            assert {group["lr"] for group in optimizer.param_groups} <= {0.1, 1e-3}

    def test_examples_are_dealt_out_anew_and_none_is_lost(self):
        x = torch.arange(24.0)[:, None]
        training = replace(self.training, batches=[(x[i : i + 8], x[i : i + 8, 0]) for i in (0, 8, 16)])
        dealt = list(apply(Remedy("UR113"), training).batches())
        assert [len(batch[0]) for batch in dealt] == [8, 8, 8]
        assert all(torch.equal(a[:, 0], b) for a, b in dealt)
        assert sorted(torch.cat([b for _, b in dealt]).tolist()) == list(range(24))
        assert max(float(b.std()) for _, b in dealt) > 3 * float(training.batches[0][1].std()) / 2

    def test_frozen_parameters_are_trained_and_clipping_and_schedule_go(self):
        def frozen():
            return patients.mlp().requires_grad_(False)

        assert all(
            p.requires_grad
            for p in patients.made(apply(Remedy("UR114"), replace(self.training, model=frozen))).parameters()
        )
        assert apply(Remedy("UR112"), replace(self.training, clip_grad_norm=1.0)).clip_grad_norm is None
        assert apply(Remedy("UR110"), replace(self.training, scheduler=patients.sgd)).scheduler is None


class TestStart:
    def test_variance_orthogonality_and_unit_outputs(self):
        wide = patients.classes(lambda: nn.Sequential(nn.Linear(300, 200), nn.ReLU(), nn.Linear(200, 3)), 300)
        he = patients.made(apply(Remedy("UR201", {"activation": "relu"}), wide))[0].weight
        assert float(he.detach().var()) * 300 == pytest.approx(2.0, rel=0.05)
        square = patients.made(apply(Remedy("UR202", {"activation": "tanh"}), wide))[0].weight
        assert torch.allclose(square @ square.T, torch.eye(200), atol=1e-4)
        treated = apply(Remedy("UR203"), wide)
        assert float(patients.made(treated)[0](wide.sample(1)[0][0]).detach().std()) == pytest.approx(1.0, abs=0.06)

    def test_gates_remember(self):
        training = patients.classes(lambda: patients.Recurrent(nn.LSTM), 7, 2)
        rnn = patients.made(apply(Remedy("UR207", {"bias": 2.0}), training)).rnn
        assert (rnn.bias_ih_l0 + rnn.bias_hh_l0)[4:8].tolist() == [2.0] * 4


class TestArchitecture:
    def test_activations_that_are_functions_are_replaced_and_the_outputs_own_stays(self):
        training = patients.classes(lambda: patients.Functional(squashed=True), 6)
        model = patients.made(apply(Remedy("UR301", {"to": "relu"}), training))
        x = training.sample(1)[0][0]
        hidden = torch.relu(model.second(torch.relu(model.first(x))))
        assert torch.allclose(model(x), torch.softmax(model.head(hidden), 1))

    def test_a_closed_gate_hands_on_what_it_is_given(self):
        training = patients.classes(patients.mlp, 6)
        model = patients.made(apply(Remedy("UR303"), training))
        x = training.sample(1)[0][0]
        assert torch.equal(model[:6](x), model[:2](x))

    def test_inputs_come_in_standard_units(self):
        training = patients.classes(patients.cnn, 1, 4, 4, scale=50.0)
        model, seen = patients.made(apply(Remedy("UR304"), training)), []
        model[0].register_forward_hook(lambda _module, given, _made: seen.append(given[0]))
        for x, _ in training.sample(3):
            model(x)
        assert float(torch.cat(seen).std()) == pytest.approx(1.0, rel=1e-2)

    def test_a_model_without_a_place_for_it_is_refused_in_one_sentence(self):
        linear = patients.classes(lambda: nn.Linear(6, 3), 6)
        for code in ("UR301", "UR302", "UR303", "UR305", "UR306", "UR307", "UR308", "UR402"):
            assert look(linear, (Remedy(code),)).error.startswith("ValueError: "), code


class TestObjective:
    @pytest.mark.parametrize("model", [lambda: patients.mlp(end=lambda: nn.Softmax(1)), patients.Functional])
    def test_outputs_reach_the_loss_unsquashed_and_the_score_as_before(self, model):
        training = patients.classes(lambda: model() if model is not patients.Functional else model(True), 6)
        treated, net = apply(Remedy("UR401"), training), patients.made(training)
        x, y = training.sample(1)[0]
        logits = net(x).log()  # up to a constant, which a softmax doesn't see
        assert float(treated.loss(net, (x, y)).detach()) == pytest.approx(
            float(nn.functional.cross_entropy(logits, y).detach()), rel=1e-5
        )
        assert torch.allclose(net(x).sum(1), torch.ones(8))

    def test_a_softmax_in_the_loss_itself_is_left_out(self):
        training = patients.classes(patients.mlp, 6)
        twice = type(training)(
            **{**vars(training), "loss": lambda m, b: nn.functional.cross_entropy(m(b[0]).softmax(1), b[1])}
        )
        net, batch = patients.made(training), training.sample(1)[0]
        assert float(apply(Remedy("UR401"), twice).loss(net, batch).detach()) == pytest.approx(
            float(training.loss(net, batch).detach())
        )

    def test_likelihoods_are_ones(self):
        training = patients.classes(patients.mlp, 6)
        net, (x, y) = patients.made(training), training.sample(1)[0]
        wanted = float(training.loss(net, (x, y)).detach())
        for bare in (
            lambda m, b: nn.functional.nll_loss(m(b[0]), b[1]),
            lambda m, b: nn.functional.nll_loss(torch.log(m(b[0])), b[1]),
            lambda m, b: nn.functional.nll_loss(m(b[0]).log_softmax(1), b[1]),
            lambda m, b: nn.functional.nll_loss(m(b[0]).softmax(1), b[1]),
        ):
            treated = apply(Remedy("UR408"), replace(training, loss=bare))
            assert float(treated.loss(net, (x, y)).detach()) == pytest.approx(wanted, rel=1e-5)

    def test_squared_error_to_zeros_and_ones_becomes_cross_entropy_and_that_to_numbers_stays(self):
        training = patients.classes(patients.mlp, 6)
        net, (x, y) = patients.made(training), training.sample(1)[0]
        hot = nn.functional.one_hot(y, 3).float()
        wanted = float(training.loss(net, (x, y)).detach())
        for squared in (
            lambda m, b: nn.functional.mse_loss(m(b[0]), b[1]),
            lambda m, b: nn.functional.mse_loss(m(b[0]).softmax(1), b[1]),
        ):
            treated = apply(Remedy("UR409"), replace(training, loss=squared))
            assert float(treated.loss(net, (x, hot)).detach()) == pytest.approx(wanted, rel=1e-4)
            assert float(treated.loss(net, (x, 3 * hot)).detach()) == float(squared(net, (x, 3 * hot)).detach())

    def test_a_softmax_over_one_output_becomes_a_sigmoid(self):
        training = patients.numbers(lambda: nn.Sequential(nn.Linear(6, 1), nn.Softmax(1)), 1)
        model = patients.made(apply(Remedy("UR410"), training))
        x = training.sample(1)[0][0]
        assert torch.allclose(model(x), torch.sigmoid(model[0](x)))
        many = look(patients.classes(lambda: patients.mlp(end=lambda: nn.Softmax(1)), 6), (Remedy("UR410"),))
        assert many.error == "ValueError: the last layer has more than one output"
        labels = [(x, (y[:, None] <= torch.arange(3)).float()) for x, y in patients.classes(patients.mlp, 6).batches]
        several = replace(
            patients.classes(lambda: nn.Sequential(nn.Linear(6, 3), nn.Softmax(1)), 6),
            batches=labels,
            loss=lambda net, batch: nn.functional.binary_cross_entropy(net(batch[0]), batch[1]),
        )
        model = patients.made(apply(Remedy("UR410"), several))
        assert torch.allclose(model(x), torch.sigmoid(model[0](x)))

    @pytest.mark.parametrize("cut", [lambda t: t.detach(), lambda t: t.data])
    def test_a_cut_gradient_gets_through(self, cut):
        class Cut(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

            def forward(self, x):
                return self.head(cut(torch.relu(self.first(x))))

        self.reached(Cut)

    def test_no_grad_within_a_model_is_without_effect(self):
        class Off(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

            def forward(self, x):
                with torch.no_grad():
                    x = torch.relu(self.first(x))
                return self.head(x)

        self.reached(Off)

    def reached(self, kind):
        training = patients.classes(kind, 6)
        net, batch = patients.made(training), training.sample(1)[0]
        training.loss(net, batch).backward()
        assert net.first.weight.grad is None
        apply(Remedy("UR405"), training).loss(net, batch).backward()
        assert net.first.weight.grad.abs().sum() > 0


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
