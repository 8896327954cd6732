"""Remedies for what stands in the wrong place: each makes the right training, and is prescribed where it is one."""

import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from remedies import patients
from remedies.treating import codes, loss_of
from undertow.remedies import Remedy, apply
from undertow.testing.remedies import check_remedy

DRAWS = torch.Generator().manual_seed(5)
X, SIDES = torch.randn(12, 6, generator=DRAWS), (torch.rand(12, 3, generator=DRAWS) > 0.5).float()
CLASSES = torch.arange(12) % 3
STEPS = torch.randn(12, 5, 2, generator=DRAWS)
FILLED = torch.randint(1, 3, (12, 5), generator=DRAWS) * (torch.arange(5) < 2)
SYMBOLS = torch.randint(3, (12, 6), generator=DRAWS)
BINARY, ENTROPY = functional.binary_cross_entropy_with_logits, functional.cross_entropy


def held(model, loss, *batch):
    """How to train a model on one batch, by a loss of its outputs and what else is in the batch."""
    training = patients.classes(model, 6)
    return replace(training, batches=[batch], loss=lambda net, b: loss(net(b[0]), *b[1:]))


def linear():
    return nn.Linear(6, 3)


class Steps(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(2, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


def shares(made, y):
    return functional.kl_div(made.log_softmax(1), (y + 0.5).softmax(1), reduction="batchmean")


def shares_exchanged(made, y):
    return functional.kl_div((y + 0.5).softmax(1), made.log_softmax(1), reduction="batchmean")


def entropy(**named):
    return lambda made, y: ENTROPY(made, y, **named)


def of_steps(index):
    return lambda made, y: ENTROPY(made.flatten(0, 1), y.flatten(), ignore_index=index)


def slope(kept):
    """A loss of a derivative, beside one that there is in any case."""

    def loss(net, batch):
        x = batch[0].clone().requires_grad_()
        made = torch.autograd.grad(net(x).square().sum(), x, create_graph=kept)[0]
        return made.square().mean() + net(batch[0]).square().mean()

    return replace(patients.classes(linear, 6), batches=[(X,)], loss=loss)


WEIGHTS = torch.tensor([0.2])
PAIRS = {
    "logits and targets": (
        "UR428", {}, held(linear, lambda m, y: BINARY(y, m), X, SIDES), held(linear, BINARY, X, SIDES),
    ),
    "named targets": (
        "UR428", {}, held(linear, lambda m, y: BINARY(target=m, input=y), X, SIDES), held(linear, BINARY, X, SIDES),
    ),
    "divergence": ("UR428", {}, held(linear, shares_exchanged, X, SIDES), held(linear, shares, X, SIDES)),
    "smoothed": (
        "UR429", {}, held(linear, entropy(label_smoothing=0.9), X, CLASSES), held(linear, ENTROPY, X, CLASSES),
    ),
    "padding": (
        "UR430", {"index": 0}, held(Steps, of_steps(-100), STEPS, FILLED), held(Steps, of_steps(0), STEPS, FILLED),
    ),
    "weights turned round": (
        "UR415", {}, held(linear, lambda m, y: BINARY(m, y, pos_weight=WEIGHTS), X, SIDES),
        held(
            linear, lambda m, y: BINARY(m, y, weight=y / (2 * SIDES.mean()) + (1 - y) / (2 - 2 * SIDES.mean())), X,
            SIDES,
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_the_broken_training_becomes_the_right_one(name):
    code, settings, ill, well = PAIRS[name]
    assert code in codes(ill)
    assert code not in codes(well) or code == "UR415"  # whoever weighs classes may weigh the wrong ones
    assert loss_of(apply(Remedy(code, settings), ill)) == pytest.approx(loss_of(well), rel=1e-5)
    assert loss_of(ill) != pytest.approx(loss_of(well), rel=1e-3)
    check_remedy(code, ill, settings, pasted=False)


def test_derivatives_are_trained_on():
    ill, well = slope(False), slope(True)
    treated = apply(Remedy("UR431"), ill)
    assert "UR431" in codes(ill)
    assert "UR431" not in codes(well)
    assert list(treated.run(0, 6).losses) == pytest.approx(list(well.run(0, 6).losses))
    assert list(ill.run(0, 6).losses) != pytest.approx(list(well.run(0, 6).losses))
    check_remedy("UR431", ill, {}, pasted=False)


class Passing(nn.Module):
    """Makes two layers at every pass, or keeps them."""

    def __init__(self, once):
        super().__init__()
        self.kept = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)]) if once else None
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        for place in range(2):
            x = torch.relu((self.kept[place] if self.kept else nn.Linear(6, 6))(x))
        return self.head(x)


def test_layers_that_a_pass_makes_are_kept_and_trained():
    ill, well = patients.classes(lambda: Passing(False), 6), patients.classes(lambda: Passing(True), 6)
    assert "UR323" in codes(ill)
    assert "UR323" not in codes(well) | codes(patients.classes(patients.Listed, 6))
    treated = apply(Remedy("UR323"), ill)
    model = patients.made(treated)
    assert torch.equal(model(X), model(X))
    assert [p.shape for p in model.made_once] == [(6, 6), (6,), (6, 6), (6,)]
    before = [p.clone() for p in model.parameters()]
    optimizer = treated.optimizer(model)
    treated.loss(model, treated.sample(1)[0]).backward()
    optimizer.step()
    assert not any(torch.equal(one, p) for one, p in zip(before, model.parameters(), strict=True))
    check_remedy("UR323", ill, {}, pasted=False)


class Attending(nn.Module):
    """Says the next symbol: by torch's own attention, by its function, or by hand; with a mask or none."""

    def __init__(self, kind, masked=False):
        super().__init__()
        self.symbols, self.head, self.kind, self.masked = nn.Embedding(3, 4), nn.Linear(4, 3), kind, masked
        self.own = nn.MultiheadAttention(4, 2, batch_first=True) if kind == "module" else None

    def forward(self, x):
        z = self.symbols(x)
        mask = torch.full((x.shape[1], x.shape[1]), -torch.inf).triu(1) if self.masked else None
        if self.own:
            return self.head(self.own(z, z, z, attn_mask=mask)[0])
        if self.kind == "function":
            return self.head(functional.scaled_dot_product_attention(z, z, z, is_causal=self.masked))
        scores = z @ z.transpose(1, 2) / 2
        return self.head((scores if mask is None else scores + mask).softmax(-1) @ z)


def speaking(kind, masked=False):
    return held(
        lambda: Attending(kind, masked), lambda m, y: ENTROPY(m.flatten(0, 1), y.flatten()), SYMBOLS[:, :-1],
        SYMBOLS[:, 1:],
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["module", "function", "hand"])
def test_attention_sees_nothing_of_what_it_is_to_say(kind):
    ill, well = speaking(kind), speaking(kind, True)
    treated = apply(Remedy("UR324"), ill)
    assert "UR324" in codes(ill)
    assert "UR324" not in codes(well)
    assert loss_of(treated) == pytest.approx(loss_of(well), rel=1e-5)
    assert loss_of(ill) != pytest.approx(loss_of(well), rel=1e-4)
    model = patients.made(treated).eval()
    x, other = SYMBOLS.clone(), SYMBOLS.clone()
    other[:, 3:] = (other[:, 3:] + 1) % 3
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert torch.allclose(model(x)[:, :3], model(other)[:, :3])
        assert not torch.allclose(model(x)[:, 3:], model(other)[:, 3:])
    check_remedy("UR324", ill, {}, pasted=False)


def test_a_sampler_with_weights_of_classes_is_replaced():
    data = TensorDataset(torch.randn(40, 6), torch.arange(40) % 3)
    few = DataLoader(data, 10, sampler=WeightedRandomSampler([0.3, 0.3, 0.4], 40), drop_last=True)
    each = DataLoader(data, 10, sampler=WeightedRandomSampler([0.5] * 40, 40))
    ill, well = (replace(patients.classes(linear, 6), batches=loader) for loader in (few, each))
    assert "UR117" in codes(ill)
    assert "UR117" not in codes(well)
    treated = apply(Remedy("UR117"), ill).batches
    assert len({tuple(row.tolist()) for x, _ in treated for row in x}) == 40
    assert (treated.batch_size, treated.drop_last) == (10, True)
    check_remedy("UR117", ill, {}, pasted=False)
    with pytest.raises(ValueError, match="no sampler"):
        apply(Remedy("UR117"), well)


def test_waves_are_asked_for_where_few_numbers_go_in_and_nothing_is_learned():
    def numbers(features):
        x = torch.randn(20, features, generator=torch.Generator().manual_seed(0))
        return held(lambda: nn.Sequential(nn.Linear(features, 5), nn.Tanh(), nn.Linear(5, 1)),
                    functional.mse_loss, x, x[:, :1])  # fmt: skip

    assert "UR325" in codes(numbers(1))
    assert "UR325" not in codes(numbers(1), fell=0.9) | codes(numbers(8))
