"""Remedies that look at what a loss calls: each does what it says, and is prescribed where its fault is."""

import copy
import warnings
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from remedies import patients
from undertow.doctoring.screening import look
from undertow.remedies import Remedy, apply, prescribe
from undertow.remedies.branches import branches
from undertow.remedies.facts import target_of, with_facts
from undertow.remedies.survey import surveyed
from undertow.training import Training


def codes(training, fell=0.0):
    return {each.code for each in prescribe(with_facts(look(training).diagnosis, training, fell))}


def loss_of(training, seed=0):
    model = patients.made(training, seed)
    return float(training.loss(model, training.sample(1)[0]).detach())


class Told(nn.Module):
    """A recurrence that gets time first in one way or another."""

    def __init__(self, how):
        super().__init__()
        self.rnn, self.head, self.how = nn.GRU(2, 4), nn.Linear(4, 3), how

    def forward(self, x):
        made, _ = self.rnn(self.how(x))
        return self.head(made[-1])


class TestAxes:
    @pytest.mark.parametrize(
        "wrong",
        [lambda x: x.view(7, -1, 2), lambda x: x.reshape(x.shape[1], x.shape[0], 2), lambda x: x.reshape([7, 8, 2])],
    )
    def test_a_reshape_that_exchanges_sizes_becomes_a_transpose(self, wrong):
        ill = patients.classes(lambda: Told(wrong), 7, 2)
        well = patients.classes(lambda: Told(lambda x: x.transpose(0, 1)), 7, 2)
        assert "UR313" in codes(ill)
        assert loss_of(apply(Remedy("UR313"), ill)) == pytest.approx(loss_of(well))
        x = ill.sample(1)[0][0]
        assert torch.allclose(patients.made(apply(Remedy("UR313"), ill))(x), patients.made(well)(x))  # a score sees it
        assert "UR313" not in codes(well)

    def test_a_module_that_takes_the_batch_for_time_is_turned_and_one_that_does_not_is_left(self):
        ill = patients.classes(patients.TimeFirst, 7, 2)
        well = patients.classes(lambda: patients.Recurrent(nn.LSTM), 7, 2)
        assert "UR312" in codes(ill)
        assert loss_of(apply(Remedy("UR312"), ill)) == pytest.approx(loss_of(well))
        assert "UR312" not in codes(well)
        assert look(well, (Remedy("UR312"),)).error.startswith("ValueError: no recurrent or attention module")

    def test_padding_at_the_end_is_left_out(self):
        def padded(x):
            x = x.clone()
            x[:, 3:] = 0.0
            return x

        class Padded(patients.Recurrent):
            def forward(self, x):
                return super().forward(padded(x))

        ill = patients.classes(lambda: Padded(nn.LSTM), 7, 2)
        short = patients.classes(lambda: patients.Recurrent(nn.LSTM), 7, 2)
        short = replace(short, batches=[(x[:, :3], y) for x, y in short.batches])
        assert "UR315" in codes(ill)
        assert loss_of(apply(Remedy("UR315"), ill)) == pytest.approx(loss_of(short), rel=1e-5)
        assert loss_of(apply(Remedy("UR315"), short)) == pytest.approx(loss_of(short), rel=1e-5)


class TestClasses:
    @pytest.mark.parametrize("squash", [functional.softmax, functional.log_softmax])
    def test_a_softmax_over_the_batch_goes_over_classes(self, squash):
        ill = patients.classes(lambda: patients.mlp(end=lambda: Along(squash, 0)), 6)
        well = patients.classes(lambda: patients.mlp(end=lambda: Along(squash, 1)), 6)
        assert "UR413" in codes(ill)
        assert "UR413" not in codes(well)
        assert loss_of(apply(Remedy("UR413"), ill)) == pytest.approx(loss_of(well))

    def test_cross_entropy_of_one_output_becomes_a_yes_or_no(self):
        training = patients.classes(lambda: nn.Linear(6, 1), 6)
        one = replace(training, batches=[(x, (y > 0).float()[:, None]) for x, y in training.batches])
        assert loss_of(one) == 0
        assert "UR414" in codes(one)
        x, y = one.sample(1)[0]
        wanted = functional.binary_cross_entropy_with_logits(patients.made(one)(x), y)
        assert loss_of(apply(Remedy("UR414"), one)) == pytest.approx(float(wanted.detach()))

    def test_classes_count_alike_however_rare_they_are(self):
        training = patients.classes(patients.mlp, 6)
        y = torch.tensor([0] * 7 + [1])
        rare = replace(training, batches=[(x, y) for x, _ in training.batches], model=lambda: patients.mlp()[:-1])
        rare = replace(rare, model=lambda: nn.Linear(6, 2))
        assert "UR415" in codes(
            replace(rare, batches=[(torch.cat([x] * 4), torch.tensor([0] * 31 + [1])) for x, _ in training.batches])
        )
        model, (x, _) = patients.made(rare), rare.sample(1)[0]
        each = functional.cross_entropy(model(x), y, reduction="none")
        wanted = (each[:7].mean() + each[7]) / 2
        assert float(apply(Remedy("UR415"), rare).loss(model, (x, y)).detach()) == pytest.approx(float(wanted.detach()))


class Along(nn.Module):
    def __init__(self, squash, axis):
        super().__init__()
        self.squash, self.axis = squash, axis

    def forward(self, x):
        return self.squash(x, self.axis)


class TestNumbers:
    @pytest.mark.parametrize(
        "edge",
        [
            torch.sqrt, torch.log, lambda t: t**0.5, lambda t: 1 / t, lambda t: torch.ones(1) / t,
            lambda t: (t + 1).acos(), lambda t: (100 * t + 1000).exp() * 0,
        ],
    )  # fmt: skip
    def test_gradients_at_an_edge_are_numbers(self, edge):
        def loss(model, batch):
            return edge((model(batch[0]) * 0).sum(1)).mean() + functional.cross_entropy(model(batch[0]), batch[1])

        ill = replace(patients.classes(lambda: nn.Linear(6, 3), 6), loss=loss)
        for training, finite in ((ill, False), (apply(Remedy("UR411"), ill), True)):
            model = patients.made(training)
            training.loss(model, training.sample(1)[0]).backward()
            assert bool(model.weight.grad.isfinite().all()) is finite
        assert "UR411" in codes(ill, fell=float("nan"))

    def test_a_ctc_loss_leaves_out_what_does_not_fit(self):
        def loss(model, batch):
            made = model(batch[0]).log_softmax(-1).transpose(0, 1)
            long, frames = torch.tensor([1] * 7 + [9]), torch.full((8,), 7)
            return functional.ctc_loss(made, torch.ones(8, 9, dtype=torch.int64), frames, long)

        ill = replace(patients.classes(lambda: nn.Linear(2, 3), 7, 2), loss=loss)
        assert loss_of(ill) == float("inf")
        assert loss_of(apply(Remedy("UR412"), ill)) < 10
        assert "UR412" in codes(ill, fell=float("nan"))

    def test_missing_inputs_become_usual_ones(self):
        ill = patients.with_holes(patients.classes(lambda: nn.Linear(6, 3), 6))
        assert "UR314" in codes(ill)
        treated = apply(Remedy("UR314"), ill)
        assert treated.run(steps=5).diverged is None
        assert ill.run(steps=5).diverged == 0
        both = apply([Remedy("UR304"), Remedy("UR314")], ill)
        assert apply([Remedy("UR314"), Remedy("UR304")], ill).run(steps=5).diverged is None
        assert both.run(steps=5).diverged is None

    @pytest.mark.parametrize("inside", [True, False])
    def test_half_precision_becomes_single(self, inside):
        def loss(model, batch):
            with torch.autocast("cpu", torch.float16, enabled=inside):
                made = model(batch[0])
            return functional.cross_entropy(made.float(), batch[1])

        plain = patients.classes(lambda: nn.Linear(6, 3), 6, scale=1e5)
        ill = replace(plain, loss=loss, autocast=None if inside else torch.float16)
        assert loss_of(apply(Remedy("UR115"), ill)) == pytest.approx(loss_of(plain), rel=1e-6)
        assert "UR115" in codes(ill)
        few = patients.classes(lambda: nn.Linear(6, 3), 6)
        halved = replace(few, model=lambda: nn.Linear(6, 3).half(), batches=[(x.half(), y) for x, y in few.batches])
        treated = apply(Remedy("UR115"), halved)
        assert patients.made(treated).weight.dtype is torch.float32
        assert treated.run(steps=3).diverged is None


class TestSteps:
    @pytest.mark.parametrize("step", [torch.round, torch.sign, lambda t: t.floor()])
    def test_a_rounding_passes_the_gradient_and_stays_one(self, step):
        class Rounded(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

            def forward(self, x):
                return self.head(step(self.first(x)))

        ill = patients.classes(Rounded, 6)
        assert "UR416" in codes(ill)
        model, batch = patients.made(ill), ill.sample(1)[0]
        ill.loss(model, batch).backward()
        assert not model.first.weight.grad.any()
        treated = apply(Remedy("UR416"), ill)
        treated.loss(model, batch).backward()
        assert model.first.weight.grad.any()
        assert loss_of(treated) == pytest.approx(loss_of(ill))


class Book(nn.Module):
    """The nearest of some codes, all of them far away."""

    def __init__(self):
        super().__init__()
        self.encoder, self.book, self.head = nn.Linear(6, 3), nn.Embedding(8, 3), nn.Linear(3, 3)
        self.book.weight.data += 50

    def forward(self, x):
        z = self.encoder(x)
        chosen = self.book((z[:, None] - self.book.weight[None]).square().sum(-1).argmin(1))
        return self.head(z + (chosen - z).detach())


class TestCodes:
    def test_codes_begin_where_they_are_needed(self):
        training = patients.classes(Book, 6)
        assert surveyed(patients.made(training), training).codes == ["book.weight"]
        assert "UR208" in codes(training)
        x = training.sample(1)[0][0]
        models = [patients.made(each) for each in (training, apply(Remedy("UR208"), training))]
        used = [
            len((model.encoder(x)[:, None] - model.book.weight[None]).square().sum(-1).argmin(1).unique())
            for model in models
        ]
        assert used[0] == 1
        assert used[1] > 3


class TestModes:
    @pytest.mark.parametrize("how", ["loss", "train"])
    def test_modules_are_held_in_training_mode(self, how):
        class Still(nn.Sequential):
            def train(self, mode=True):
                return super().train(mode and how != "train")

        def loss(model, batch):
            if how == "loss":
                model.eval()
            return functional.cross_entropy(model(batch[0]), batch[1])

        def make():
            return Still(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3))

        ill = replace(patients.classes(make, 6), loss=loss)
        assert "UR407" in codes(ill)
        moved = [each.run(steps=3).model[1].running_mean.abs().sum() > 0 for each in (ill, apply(Remedy("UR407"), ill))]
        assert [bool(each) for each in moved] == [False, True]
        assert "UR407" not in codes(patients.classes(lambda: nn.Sequential(*make()), 6))

    def test_one_cut_of_several_is_undone(self):
        def loss(model, batch):
            made = model[0](batch[0])
            return functional.cross_entropy(model[1](made.detach()), batch[1]) - made.detach().sum()

        ill = replace(patients.classes(lambda: nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3)), 6), loss=loss)
        slopes = []
        for settings in ({"only": 0}, {"only": 1}, {}):
            model = patients.made(ill)
            apply(Remedy("UR405", settings), ill).loss(model, ill.sample(1)[0]).backward()
            slopes.append(model[0].weight.grad)
        assert torch.allclose(slopes[0] + slopes[1], slopes[2], atol=1e-6)
        assert not torch.allclose(slopes[0], slopes[1])
        asked = [each for each in prescribe(with_facts(look(ill).diagnosis, ill, 0.0)) if each.code == "UR405"]
        assert [dict(each.settings) for each in asked] == [{}, {"only": 0}, {"only": 1}]


class Stack(nn.Module):
    """Layers whose activations are functions, with a sum over neighbours between them."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        for layer in self.layers:
            x = torch.sigmoid(layer(x)).roll(1, 0)
        return self.head(x)


def test_a_gate_goes_around_all_that_is_between_two_layers():
    training = patients.classes(Stack, 6)
    model = patients.made(apply(Remedy("UR303"), training))
    x = training.sample(1)[0][0]
    assert torch.allclose(model(x), model.head(x))
    model.layers[1].residual.gate.data += 1
    assert torch.allclose(
        model(x),
        model.head(x + torch.sigmoid(functional.linear(x, model.layers[1].weight, model.layers[1].bias)).roll(1, 0)),
    )
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert torch.equal(copy.deepcopy(model)(x), model(x))


def test_a_softmax_between_layers_becomes_a_relu_and_that_of_an_attention_stays():
    plain = patients.classes(lambda: patients.mlp(lambda: nn.Softmax(1)), 6)
    assert Remedy("UR301", {"to": "relu"}) in prescribe(with_facts(look(plain).diagnosis, plain, 0.0))
    model = patients.made(apply(Remedy("UR301", {"to": "relu"}), plain))
    assert not any(isinstance(each, nn.Softmax) for each in model)

    class Attentive(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.mix, self.head = nn.Linear(2, 4), nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x):
            q = self.q(x)
            return self.head(torch.relu(self.mix((q @ q.transpose(1, 2)).softmax(-1) @ q)).mean(1))

    attentive = patients.classes(Attentive, 7, 2)
    assert surveyed(patients.made(attentive), attentive).hidden_softmax == 0


def test_a_matrix_of_zeros_that_no_module_draws_is_drawn():
    class Zeros(nn.Module):
        def __init__(self):
            super().__init__()
            self.matrix, self.shift = nn.Parameter(torch.zeros(6, 3)), nn.Parameter(torch.zeros(3))

        def forward(self, x):
            return x @ self.matrix + self.shift

    model = patients.made(apply(Remedy("UR205"), patients.classes(Zeros, 6)))
    assert float(model.matrix.detach().std()) > 0.1
    assert not model.shift.any()


def test_a_training_whose_loss_fails_in_the_survey_still_has_facts():
    def loss(_model, _batch):
        raise RuntimeError

    broken = Training(patients.mlp, [(torch.ones(4, 6), torch.zeros(4, dtype=torch.int64))], loss, patients.sgd)
    known = with_facts(look(patients.classes(patients.mlp, 6)).diagnosis, broken)
    assert known.run.header["training"]["survey"]["calls"] == []


class Dropping(nn.Module):
    """Drops by functions, as a keyword or in its place."""

    def __init__(self, drop):
        super().__init__()
        self.first, self.head, self.drop = nn.Linear(6, 400), nn.Linear(400, 3), drop

    def forward(self, x):
        return self.head(self.drop(torch.relu(self.first(x)), self.training))


@pytest.mark.parametrize(
    "drop",
    [
        lambda x, on: functional.dropout(x, 0.98, on), lambda x, on: functional.dropout(x, p=0.98, training=on),
        lambda x, on: functional.alpha_dropout(x, 0.98, on), lambda x, _: nn.Dropout(0.98)(x),
    ],
)  # fmt: skip
def test_dropout_of_functions_is_lowered(drop):
    training = patients.classes(lambda: Dropping(drop), 6)
    assert "UR309" in codes(training)
    kept = []
    for each in (training, apply(Remedy("UR309", {"p": 0.1}), training)):
        model = patients.made(each)
        model.head.register_forward_pre_hook(lambda _, given: kept.append(len(given[0].unique())))
        model(torch.ones(8, 6))
        model.eval()(torch.ones(8, 6))
    assert kept[2] > 2 * kept[0]  # what is dropped is all of one value


def test_gradients_that_an_optimizer_keeps_are_zeroed():
    class Keeping(torch.optim.SGD):
        def zero_grad(self, set_to_none=True):
            pass

    well = patients.classes(patients.mlp, 6)
    ill = replace(well, optimizer=lambda model: Keeping(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01))
    assert "UR406" in codes(ill)
    assert "UR406" not in codes(well)
    assert list(ill.run(0, 9).losses) != list(well.run(0, 9).losses)
    assert list(apply(Remedy("UR406"), ill).run(0, 9).losses) == list(well.run(0, 9).losses)


@pytest.mark.parametrize(
    "size",
    [
        lambda p: p.abs().sum(), lambda p: (p**2).sum(), lambda p: p.pow(2).sum(), lambda p: (p * p).sum(),
        lambda p: p.norm(), lambda p: torch.linalg.vector_norm(p), lambda p: torch.cat([p.view(-1)] * 2).norm(1),
    ],
)  # fmt: skip
def test_a_penalty_has_no_gradient_and_the_data_have_theirs(size):
    def loss(model, batch):
        return patients.class_loss(model, batch) + 3 * sum(size(p) for p in model.parameters())

    well = replace(patients.classes(Weighing, 6), score=patients.closeness)
    ill = replace(well, loss=loss)
    assert "UR417" in codes(ill)
    assert "UR417" not in codes(well)
    gradients = []
    for training in (well, apply(Remedy("UR417"), ill)):
        model = patients.made(training)
        training.loss(model, training.sample(1)[0]).backward()
        gradients.append([p.grad for p in model.parameters()])
        assert not model._forward_hooks
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


class Weighing(nn.Module):
    """Takes the size of its own weights, which is no penalty."""

    def __init__(self):
        super().__init__()
        self.weight, self.head = nn.Parameter(torch.randn(5, 6)), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(torch.tanh(functional.linear(x, self.weight / self.weight.norm())))


class Own(nn.Module):
    """A layer that nobody else has written: weights the other way round, and a graph beside its input."""

    def __init__(self, given, made):
        super().__init__()
        self.kernel, self.shift = nn.Parameter(torch.randn(given, made) / given**0.5), nn.Parameter(torch.zeros(made))

    def forward(self, x, graph):
        return graph @ x @ self.kernel + self.shift


class Graph(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([Own(6, 5), *[Own(5, 5) for _ in range(8)], Own(5, 3)])

    def forward(self, x):
        graph = torch.full((len(x), len(x)), 1 / len(x)) + torch.eye(len(x))
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x, graph))
        return self.layers[-1](x, graph)


@pytest.mark.parametrize("code", ["UR203", "UR302", "UR303"])
def test_layers_of_the_users_own_are_layers(code):
    training = patients.classes(Graph, 6)
    assert look(training, (Remedy(code),)).error == ""
    remedy = Remedy(code).written_for(training)
    applied, (pasted, _) = patients.made(apply(remedy, training)), patients.pasted(remedy.snippet, training)
    x = training.sample(1)[0][0]
    if code != "UR203":  # its snippet for any model knows torch's layers
        assert torch.allclose(applied(x), pasted(x), atol=1e-5)
    treated = patients.made(apply(Remedy(code), training))
    treated(x).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in treated.parameters())


@pytest.mark.parametrize("shape", [lambda x, y: (x, y), lambda x, y: {"x": x, "y": [y, "kept"]}, lambda x, _: x])
def test_small_batches_are_put_together(shape):
    draws = [(torch.full((2, 3), i), torch.full((2,), i)) for i in range(7)]
    training = replace(patients.classes(patients.mlp, 6), batches=[shape(*each) for each in draws])
    made = list(apply(Remedy("UR116", {"times": 3}), training).batches())
    whole = [shape(*(torch.cat(each) for each in zip(*draws[i : i + 3], strict=True))) for i in (0, 3)]
    assert str(made) == str(whole)  # the seventh is left over


def test_a_norm_over_next_to_nothing_asks_for_larger_batches():
    net = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
    training = patients.classes(lambda: copy.deepcopy(net), 6)
    small = replace(training, batches=[(x[:2], y[:2]) for x, y in training.batches])
    asked = {each.code: each for each in prescribe(with_facts(look(small).diagnosis, small, 0.0))}
    assert asked["UR116"].settings == {"times": 16}
    assert "UR116" not in codes(
        replace(training, batches=[tuple(torch.cat([t] * 4) for t in b) for b in training.batches])
    )


class Late(nn.Module):
    """Makes a layer when it first sees an input."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        if not hasattr(self, "first"):
            self.first = nn.Linear(x.shape[1], 5)
        return self.head(torch.relu(self.first(x)))


def test_layers_that_are_made_at_the_first_pass_are_trained():
    training = patients.classes(Late, 6)
    assert "UR107" in codes(training)
    for each, moved in ((training, False), (apply(Remedy("UR107"), training), True)):
        one, other = each.run(0, 1).model, each.run(0, 4).model
        assert bool((one.first.weight != other.first.weight).any()) is moved


@pytest.mark.parametrize(
    "copied",
    [
        lambda losses: torch.tensor(losses.mean(), requires_grad=True),
        lambda losses: torch.tensor(list(losses), requires_grad=True).mean(),
        lambda losses: torch.tensor(tuple(losses)).requires_grad_().mean(),
        lambda losses: torch.tensor(losses.mean().item(), requires_grad=True),
    ],
)
def test_a_tensor_made_of_tensors_keeps_their_graph(copied):
    well = patients.classes(patients.mlp, 6)

    def loss(model, batch):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.tensor of a tensor
            return copied(functional.cross_entropy(model(batch[0]), batch[1], reduction="none"))

    ill = replace(well, loss=loss)
    unexamined = replace(look(well).diagnosis, findings=())  # a loss without a graph can't be examined
    assert Remedy("UR405") in prescribe(with_facts(unexamined, ill))
    treated = apply(Remedy("UR405"), ill)
    assert list(treated.run(0, 5).losses) == pytest.approx(list(well.run(0, 5).losses), rel=1e-5)


class Named(nn.Module):
    """Takes its input by name, or within a dict."""

    def __init__(self, within):
        super().__init__()
        self.body, self.within = nn.Linear(6, 3), within

    def forward(self, given=None, x=None):
        return self.body(given["x"][0] if self.within else x)


@pytest.mark.parametrize("within", [True, False])
@pytest.mark.parametrize("code", ["UR304", "UR314"])
def test_inputs_by_name_are_changed_as_others_are(code, within):
    plain = patients.classes(lambda: nn.Linear(6, 3), 6, scale=50.0)
    plain = patients.with_holes(plain) if code == "UR314" else plain

    def loss(model, batch):
        made = model({"x": [batch[0]]}) if within else model(x=batch[0])
        return functional.cross_entropy(made, batch[1])

    named = replace(plain, model=lambda: Named(within), loss=loss)
    if not within:
        pasted, _ = patients.pasted(Remedy(code).written_for(named).snippet, named)
        x, y = plain.sample(1)[0]
        assert float(loss(pasted, (x, y)).detach()) == pytest.approx(loss_of(apply(Remedy(code), plain)), rel=1e-4)
    assert loss_of(apply(Remedy(code), named)) == pytest.approx(loss_of(apply(Remedy(code), plain)))


def test_weights_of_examples_are_no_targets():
    x, y = torch.ones(4, 2), torch.arange(4.0)
    assert target_of((x, y, torch.ones(4))) is y
    assert target_of((x, y, torch.tensor([True, True, False, True]))) is y
    assert target_of((x, torch.zeros(4))) is not None
    assert target_of((x, torch.ones(3))) is None


MASKS = {
    "masked_fill": lambda scores, hidden: scores.masked_fill(hidden, -torch.inf),
    "by name": lambda scores, hidden: scores.masked_fill(mask=hidden, value=-1e9),
    "where": lambda scores, hidden: torch.where(~hidden, scores, torch.tensor(-1e9)),
    "product": lambda scores, hidden: scores + -1e9 * hidden.float(),
    "sdpa": "sdpa",
}


class TestAttention:
    @pytest.mark.parametrize("how", MASKS)
    def test_a_mask_is_turned_round(self, how):
        ill = patients.classes(lambda: patients.Attentive(MASKS[how]), 7, 2)
        facts = surveyed(patients.made(ill), ill)
        assert facts.hidden == pytest.approx(5 / 7 if how == "sdpa" else 2 / 7)  # True is "take part" there
        assert how != "where" or "UR316" in codes(ill)
        treated = apply(Remedy("UR316"), ill)
        x = ill.sample(1)[0][0].requires_grad_()
        patients.made(treated)(x)[0].sum().backward()
        assert x.grad.isfinite().all()
        if how != "sdpa":
            well = patients.classes(lambda: patients.Attentive(lambda s, hidden: MASKS[how](s, ~hidden)), 7, 2)
            assert loss_of(treated) == pytest.approx(loss_of(well))
        assert loss_of(treated) != loss_of(ill)

    def test_torchs_own_layers_see_what_padding_was(self):
        class Padded(patients.Transformer):
            def forward(self, x):
                hidden = patients.hidden_steps(x)
                return self.head(self.stack(self.first(x), src_key_padding_mask=hidden ^ self.turned).mean(1))

        losses = []
        for turned in (True, False):
            Padded.turned = turned
            each = apply(Remedy("UR309", {"p": 0.0}), patients.classes(Padded, 7, 2))
            losses.append([loss_of(each), loss_of(apply(Remedy("UR316"), each))])
        assert losses[0] == pytest.approx(losses[1][::-1])
        assert losses[0][0] != losses[0][1]

    def test_a_mask_of_the_future_stays(self):
        def causal(scores, _hidden):
            return scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1).bool(), -torch.inf)

        training = patients.classes(lambda: patients.Attentive(causal), 7, 2)
        assert surveyed(patients.made(training), training).hidden == -1
        assert look(training, (Remedy("UR316"),)).error == "ValueError: the model hides nothing from attention"

    @pytest.mark.parametrize("axis", [1, 2])
    def test_a_softmax_goes_over_the_keys(self, axis):
        ill = patients.classes(lambda: patients.Attentive(axis=axis), 7, 2)
        well = patients.classes(patients.Attentive, 7, 2)
        assert "UR318" in codes(ill)
        assert surveyed(patients.made(well), well).across == 0
        assert loss_of(apply(Remedy("UR318"), ill)) == pytest.approx(loss_of(well))

    def test_places_are_told_where_nothing_tells_them(self):
        training = patients.classes(patients.Attentive, 7, 2)
        assert "UR317" in codes(training)
        treated = apply(Remedy("UR317"), training)
        assert not surveyed(patients.made(treated), treated).placeless
        x = training.sample(1)[0][0]
        for each, same in ((training, True), (treated, False)):
            model = patients.made(each)
            assert torch.allclose(model(x), model(x.flip(1)), atol=1e-6) is same
        assert patients.made(treated)(torch.ones(2, 9, 2)).shape == (2, 3)  # longer than any that was seen


class Block(nn.Module):
    """Two branches of one's own, the norm behind each sum or in front of each branch."""

    def __init__(self, pre):
        super().__init__()
        self.q, self.v, self.out = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.norm1, self.norm2, self.drop = nn.LayerNorm(8), nn.LayerNorm(8), nn.Dropout(0.5)
        self.ff = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
        self.pre = pre

    def attend(self, x):
        q = self.q(x)
        return self.drop(self.out((q @ q.transpose(1, 2)).softmax(-1) @ self.v(x)))

    def forward(self, x):
        if self.pre:
            x = x + self.attend(self.norm1(x))
            return x + self.ff(self.norm2(x))
        x = self.norm1(x + self.attend(x))
        return self.norm2(self.ff(x) + x)


class Blocks(nn.Module):
    def __init__(self, pre):
        super().__init__()
        self.first, self.head = nn.Linear(2, 8), nn.Linear(8, 3)
        self.blocks = nn.Sequential(Block(pre), Block(pre))

    def forward(self, x):
        x = self.blocks(self.first(x))
        return self.head((functional.layer_norm(x, (8,)) if self.blocks[0].pre else x).mean(1))


def test_norms_behind_sums_of_the_users_own_blocks_go_in_front_of_the_branches():
    late, early = (patients.classes(partial(Blocks, pre), 7, 2) for pre in (False, True))
    assert branches(early) == []
    assert "UR305" in codes(late)
    treated = apply(Remedy("UR305"), late)
    model, wanted, x = patients.made(treated).eval(), patients.made(early).eval(), late.sample(1)[0][0]
    assert torch.allclose(model(x), wanted(x), atol=1e-5)
    assert torch.equal(copy.deepcopy(model)(x), model(x))
    twin = copy.deepcopy(model)
    model.blocks[0].norm1.weight.data.zero_()
    assert torch.allclose(twin(x), wanted(x), atol=1e-5)  # a copy leans on its own norms
    twin(x).sum().backward()
    assert all(p.grad is not None for p in twin.parameters())
    assert "blocks.0.norm1" in Remedy("UR305").written_for(late).snippet


@pytest.mark.parametrize(("term", "wanted"), [(0, 0.5 + 2 + 3), (1, 5 + 0.2 + 3), (2, 5 + 2 + 0.3)])
def test_one_term_of_a_loss_counts_less(term, wanted):
    def loss(model, batch):
        nothing = model(batch[0]).sum() * 0
        return (nothing + 5) + 2 * torch.exp(nothing) + 3 * nothing.exp()

    training = replace(patients.classes(patients.mlp, 6), loss=loss, score=patients.closeness)
    assert term or "UR418" in codes(training)
    assert loss_of(apply(Remedy("UR418", {"term": term, "factor": 0.1}), training)) == pytest.approx(wanted)
    with pytest.raises(ValueError, match="adds up no 4 terms"):
        apply(Remedy("UR418", {"term": 3, "factor": 0.1}), training)


class Bare(nn.Module):
    """Layers that are no modules, as Keras has them: an activation behind the last one, too."""

    def __init__(self, end, outputs=1):
        super().__init__()
        self.first, self.last = nn.Parameter(torch.randn(6, 5)), nn.Parameter(torch.randn(5, outputs))
        self.end = end

    def forward(self, x):
        return self.end(torch.sigmoid(x @ self.first) @ self.last)


def test_the_output_of_layers_that_are_no_modules_is_freed_and_its_activation_is_no_hidden_one():
    training = patients.numbers(lambda: Bare(torch.relu), 1)
    x = training.sample(1)[0][0]
    made = {code: patients.made(apply(Remedy(code), training)) for code in ("UR402", "UR410", "UR301")}
    net = patients.made(training)
    hidden = x @ net.first
    assert torch.allclose(made["UR402"](x), hidden.sigmoid() @ net.last)
    assert torch.allclose(made["UR410"](x), (hidden.sigmoid() @ net.last).sigmoid())
    assert torch.allclose(made["UR301"](x), (hidden.relu() @ net.last).relu())
    with pytest.raises(ValueError, match="more than one output"):
        apply(Remedy("UR410"), patients.numbers(lambda: Bare(torch.relu, 3), 3))
