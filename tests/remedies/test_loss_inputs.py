"""Remedies for what a loss is given: each makes the right training of a broken one, and is prescribed for it alone."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from remedies import patients
from remedies.treating import codes, loss_of
from undertow.doctoring.blind import blinded
from undertow.doctoring.screening import look
from undertow.remedies import Remedy, apply, prescribe
from undertow.remedies.facts import with_facts
from undertow.testing.remedies import check_remedy

DRAWS = torch.Generator().manual_seed(3)
X, LABELS = torch.randn(8, 6, generator=DRAWS), (torch.rand(8, 3, generator=DRAWS) > 0.4).float()
STEPS, SAID = torch.randn(8, 5, 2, generator=DRAWS), torch.randint(3, (8, 5), generator=DRAWS)
SYMBOLS = torch.randint(4, (8, 5), generator=DRAWS)


def held(model, loss, *batch):
    """How to train a model on one batch."""
    return replace(patients.classes(model, 6), batches=[batch], loss=loss)


def by(function, change=lambda y: y, model=lambda: nn.Linear(6, 3), x=X, y=LABELS, **named):
    """How to train with a function of outputs and changed targets."""
    return held(model, lambda net, batch: function(net(batch[0]), batch[1], **named), x, change(y))


def dice(made, y):
    return 1 - (2 * (made * y).sum() + 1) / (made.sum() + y.sum() + 1)


class Steps(nn.Module):
    """Logits of every step, classes first or last; or of the step that is read."""

    def __init__(self, read=None, classes_first=False):
        super().__init__()
        self.rnn, self.head, self.read, self.first = (
            nn.GRU(2, 4, batch_first=True),
            nn.Linear(4, 3),
            read,
            classes_first,
        )

    def forward(self, x):
        states = self.rnn(x)[0]
        made = self.head(states if self.read is None else states[:, self.read])
        return made.transpose(1, 2) if self.first else made


class Stacked(nn.Module):
    """Reads the last states of both directions, in one way or another."""

    def __init__(self, view):
        super().__init__()
        self.rnn, self.head = nn.GRU(2, 4, batch_first=True, bidirectional=True), nn.Linear(8, 3)
        self.view = view

    def forward(self, x):
        return self.head(self.view(self.rnn(x)[1]))


class Speaker(nn.Module):
    """A decoder that is given symbols besides."""

    def __init__(self):
        super().__init__()
        self.symbols, self.rnn, self.head = nn.Embedding(5, 4), nn.GRU(4, 4, batch_first=True), nn.Linear(4, 4)

    def forward(self, x, given):
        return self.head(self.rnn(self.symbols(given) + x[:, :4].unsqueeze(1))[0])


class Normed(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(6, 5), norm(), nn.Linear(5, 3)

    def forward(self, x):
        z = self.first(x)
        single = getattr(self.norm, "normalized_shape", None) == (1,)
        return self.head(torch.relu(self.norm(z.unsqueeze(-1)).squeeze(-1) if single else self.norm(z)))


class Bare(nn.Module):
    def __init__(self, kept):
        super().__init__()
        self.weight, self.head = kept(torch.ones(6, 5) / 3), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(x @ self.weight)


def flat(net, batch, early=slice(None), late=slice(None)):
    made, wanted = net(batch[0])[:, early], batch[1][:, late]
    return functional.cross_entropy(made.reshape(-1, 3), wanted.reshape(-1))


def says(shift):
    def loss(net, batch):
        before = torch.cat([torch.full_like(batch[1][:, :1], 4), batch[1][:, :-1]], 1)
        return functional.cross_entropy(net(batch[0], before if shift else batch[1]).flatten(0, 1), batch[1].flatten())

    return loss


def own_classes(net, batch, order):
    return functional.cross_entropy(order(net(batch[0])), batch[1].reshape(-1))


BINARY = functional.binary_cross_entropy_with_logits
MARGIN = functional.soft_margin_loss
ENTROPY = functional.cross_entropy
FIRST, LAST = slice(None, -1), slice(1, None)
CLASSES = SAID[:, 0]

PAIRS = {
    "masks of 255": ("UR419", {}, by(BINARY, lambda y: 255 * y), by(BINARY)),
    "labels of 1 and 2": ("UR419", {}, by(BINARY, lambda y: y + 1), by(BINARY)),
    "margins of 0 and 1": ("UR419", {}, by(MARGIN), by(MARGIN, lambda y: 2 * y - 1)),
    "several labels": ("UR420", {}, by(ENTROPY), by(BINARY)),
    "a class left out": ("UR421", {}, by(ENTROPY, y=CLASSES, ignore_index=0), by(ENTROPY, y=CLASSES)),
    "overlap of logits": ("UR422", {"by": "sigmoid"}, by(dice), by(lambda made, y: dice(made.sigmoid(), y))),
    "a cold softmax": (
        "UR423", {"factor": 0.001}, by(lambda made, y: ENTROPY(1000 * made, y), y=CLASSES), by(ENTROPY, y=CLASSES),
    ),
    "tags of the next step": (
        "UR425", {}, held(Steps, lambda net, batch: flat(net, batch, FIRST, LAST), STEPS, SAID),
        held(Steps, flat, STEPS, SAID),
    ),
    "a decoder that is told": (
        "UR426", {"start": 4}, held(Speaker, says(False), X, SYMBOLS), held(Speaker, says(True), X, SYMBOLS),
    ),
    "the first state": (
        "UR321", {}, by(ENTROPY, model=lambda: Steps(0), x=STEPS, y=CLASSES),
        by(ENTROPY, model=lambda: Steps(-1), x=STEPS, y=CLASSES),
    ),
    "states of other examples": (
        "UR313", {}, by(ENTROPY, model=lambda: Stacked(lambda h: h.view(8, -1)), x=STEPS, y=CLASSES),
        by(ENTROPY, model=lambda: Stacked(lambda h: h.transpose(0, 1).reshape(8, -1)), x=STEPS, y=CLASSES),
    ),
    "rows of other classes": (
        "UR313", {},
        held(
            lambda: Steps(classes_first=True), lambda n, b: own_classes(n, b, lambda t: t.reshape(-1, 3)), STEPS, SAID
        ),
        held(
            lambda: Steps(classes_first=True),
            lambda n, b: own_classes(n, b, lambda t: t.transpose(1, 2).reshape(-1, 3)), STEPS, SAID,
        ),
    ),
    "norms of one number": (
        "UR320", {}, by(ENTROPY, model=lambda: Normed(lambda: nn.LayerNorm(1)), y=CLASSES),
        by(ENTROPY, model=lambda: Normed(lambda: nn.LayerNorm(5)), y=CLASSES),
    ),
    "groups of one number": (
        "UR320", {}, by(ENTROPY, model=lambda: Normed(lambda: nn.GroupNorm(5, 5)), y=CLASSES),
        by(ENTROPY, model=lambda: Normed(lambda: nn.LayerNorm(5)), y=CLASSES),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_the_broken_training_becomes_the_right_one(name):
    code, settings, ill, well = PAIRS[name]
    assert code in codes(ill)
    assert code not in codes(well) or code == "UR425"  # of which others are proposed wherever nothing was learned
    assert loss_of(apply(Remedy(code, settings), ill)) == pytest.approx(loss_of(well), rel=1e-5)
    assert loss_of(ill) != pytest.approx(loss_of(well), rel=1e-3)


@pytest.mark.parametrize("name", PAIRS)
def test_keeps_the_contract_of_remedies(name):
    code, settings, ill, _ = PAIRS[name]
    check_remedy(code, ill, settings, pasted=False)


def test_what_is_normalised_by_itself_can_be_handed_on():
    ill = PAIRS["norms of one number"][2]
    model = patients.made(apply(Remedy("UR320", {"over": "nothing"}), ill))
    assert torch.allclose(model(X), model.head(torch.relu(model.first(X))))
    model(X).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("kept", [lambda w: w.requires_grad_(), lambda w: nn.Parameter(w) * 1.0])
def test_weights_that_no_parameter_holds_are_trained(kept):
    ill = patients.classes(lambda: Bare(kept), 6)
    well = patients.classes(lambda: Bare(nn.Parameter), 6)
    if patients.made(ill).weight.is_leaf:  # of others the graph is freed by the first step
        assert "UR322" in codes(ill)
    assert "UR322" not in codes(well)
    treated = apply(Remedy("UR322"), ill)
    assert list(treated.run(0, 6).losses) == pytest.approx(list(well.run(0, 6).losses), rel=1e-5)
    known = {"model": patients.made(ill), "nn": nn}
    exec(Remedy("UR322").written_for(ill).snippet, known)  # noqa: S102  # to be pasted and run is what it is for
    assert {name for name, _ in known["model"].named_parameters()} == {
        n for n, _ in patients.made(well).named_parameters()
    }


@pytest.mark.parametrize(
    "error",
    [functional.mse_loss, lambda made, y: (made - y).square().mean(), lambda made, y: (y - made).square().mean()],
)
def test_prices_of_all_sizes_are_learned_by_their_logarithms(error):
    y = (4 * torch.randn(8, 3, generator=torch.Generator().manual_seed(0))).exp()
    ill = by(error, y=y)
    logs = y.log()
    well = by(functional.mse_loss, y=(logs - logs.mean()) / logs.std(correction=0))
    treated = apply(Remedy("UR424"), ill)
    assert "UR424" in codes(ill)
    assert "UR424" not in codes(by(error, y=y.log()))
    assert loss_of(treated) == pytest.approx(loss_of(well), rel=1e-2)  # deviations of a batch, and of many
    model, plain = patients.made(treated), patients.made(ill)
    assert torch.allclose(model(X).log(), plain(X) * logs.std(correction=0) + logs.mean(), rtol=1e-2)
    pasted, _ = patients.pasted(Remedy("UR424").written_for(ill).snippet, ill)
    assert torch.allclose(model(X), pasted(X), rtol=1e-4)


@pytest.mark.parametrize(("shift", "early", "late"), [(1, FIRST, LAST), (-1, LAST, FIRST)])
@pytest.mark.parametrize("classes_first", [True, False])
def test_outputs_are_held_against_the_targets_of_another_step(shift, early, late, classes_first):
    def whole(net, batch):
        return functional.cross_entropy(net(batch[0]), batch[1])

    plain = held(Steps, flat, STEPS, SAID)
    ill = held(lambda: Steps(classes_first=True), whole, STEPS, SAID) if classes_first else plain
    well = held(Steps, lambda net, batch: flat(net, batch, early, late), STEPS, SAID)
    assert {"shift": shift} in [dict(r.settings) for r in prescribe(with_facts(look(ill).diagnosis, ill, 0.0))]
    assert loss_of(apply(Remedy("UR425", {"shift": shift}), ill)) == pytest.approx(loss_of(well), rel=1e-5)


def test_a_softmax_that_says_next_to_nothing_is_told_only_where_nothing_was_learned():
    faint = by(lambda made, y: ENTROPY(0.01 * made, y), y=CLASSES)
    diagnosis = look(faint).diagnosis
    assert ["UR423" in {r.code for r in prescribe(with_facts(diagnosis, faint, fell))} for fell in (0.0, 0.9)] == [
        True, False,
    ]  # fmt: skip


def test_scores_see_shares_where_they_are_asked_to():
    ill = PAIRS["overlap of logits"][2]
    model = patients.made(apply(Remedy("UR422", {"by": "softmax", "scored": True}), ill))
    assert torch.allclose(model(X).sum(1), torch.ones(8))
    assert not patients.made(apply(Remedy("UR422", {"by": "softmax"}), ill))(X).min() >= 0


@pytest.mark.parametrize("code", ["UR313", "UR320", "UR321", "UR322", "UR425", "UR426"])
def test_a_training_without_a_place_for_it_is_refused_in_one_sentence(code):
    assert look(by(ENTROPY, y=CLASSES), (Remedy(code),)).error.startswith("ValueError: ")


@pytest.mark.parametrize(
    ("code", "settings"), [("UR320", {"over": "all"}), ("UR422", {"by": "relu"}), ("UR425", {"shift": 2})]
)
def test_settings_that_there_are_none_of_are_refused(code, settings):
    ill = next(pair[2] for pair in PAIRS.values() if pair[0] == code)
    with pytest.raises(ValueError, match=f"{next(iter(settings))} is .*: say "):
        apply(Remedy(code, settings), ill)


@pytest.mark.parametrize(
    ("model", "choose", "entropy"),
    [
        (lambda: nn.Linear(6, 3), lambda made: made.argmax(1).float(), functional.cross_entropy),
        (
            lambda: nn.Sequential(nn.Linear(6, 1), nn.Sigmoid(), nn.Flatten(0)),
            lambda made: (made > 0.5).float(), lambda made, y: functional.binary_cross_entropy(made, y.float()),
        ),
        (
            lambda: nn.Sequential(nn.Linear(6, 1), nn.Flatten(0)),
            lambda made: (made > 0).float(), lambda made, y: BINARY(made, y.float()),
        ),
    ],
)  # fmt: skip
def test_a_class_that_is_chosen_gives_way_to_the_outputs_that_choose_it(model, choose, entropy):
    def errors(made, y):
        return (choose(made) - y).abs().mean().requires_grad_()

    y = CLASSES if entropy is functional.cross_entropy else CLASSES % 2
    ill, well = by(errors, model=model, y=y), by(entropy, model=model, y=y)
    unexamined = replace(look(well).diagnosis, findings=())
    assert Remedy("UR427") in prescribe(with_facts(unexamined, ill, 0.0))
    assert Remedy("UR427") not in prescribe(with_facts(unexamined, well, 0.0))
    assert loss_of(apply(Remedy("UR427"), ill)) == pytest.approx(loss_of(well))


def test_all_of_several_targets_are_mixed_up_and_what_a_module_is_given_is_not():
    def loss(net, batch):
        made = net(batch[0] + batch[1] * 0) if len(batch) < 4 else net(batch[1])
        return functional.mse_loss(made, batch[-2]) + functional.mse_loss(made, batch[-1])

    rows = torch.arange(8.0)[:, None]
    for batch, mixed in (
        ((X, X[:, :3] + rows, X[:, 3:] + rows), (1, -1)),
        ((X, X + rows, X[:, :3], X[:, 3:]), (2, -1)),
    ):
        made = blinded(
            held(lambda: nn.Linear(6, 3), lambda net, b: loss(net, b), *batch) if len(batch) > 3 else by_two(batch)
        )
        assert made.batches.places == mixed
        torch.manual_seed(0)
        dealt = next(iter(made.batches()))
        moved = [
            place for place, (one, other) in enumerate(zip(batch, dealt, strict=True)) if not torch.equal(one, other)
        ]
        assert moved == [each % len(batch) for each in mixed]


def by_two(batch):
    """How to train one output for two targets."""

    def loss(net, given):
        made = net(given[0])
        return functional.mse_loss(made, given[1]) + functional.mse_loss(made, given[2])

    return held(lambda: nn.Linear(6, 3), loss, *batch)


@pytest.mark.parametrize(
    "index", [torch.arange(4), (torch.arange(4), 0), torch.ones(8, 3) > 0, (slice(torch.tensor(1), None),)]
)
def test_examples_that_a_tensor_picks_are_no_shift(index):
    training = by(lambda made, y: (made[index] - y[index]).square().mean())
    facts = with_facts(look(training).diagnosis, training, 0.0).run.header["training"]
    assert facts["loss"]["shifted"] == 0
    assert json.loads(json.dumps(facts)) == json.loads(json.dumps(facts))
