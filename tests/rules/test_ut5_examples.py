"""UT505 and UT506: statistics of one value, and examples that meet."""

import torch
from torch import nn
from torch.nn import functional

from rules.fitting import (  # noqa: F401
    Attends,
    Examples,
    Func,
    Sequence,
    adam,
    batch,
    cross_entropy_of,
    mlp,
    normed,
    sequences,
    test_fires,
    test_stays_silent,
)
from undertow.examination import examine

EXAMPLES = Examples()
fires, silent = EXAMPLES.fires, EXAMPLES.silent


fires("UT505")(lambda: cross_entropy_of(nn.Sequential(nn.Linear(6, 1), nn.LayerNorm(1), nn.Linear(1, 4))))
fires("UT505")(lambda: cross_entropy_of(nn.Sequential(nn.Linear(6, 8), nn.GroupNorm(8, 8), nn.ReLU(), nn.Linear(8, 4))))
fires("UT505")(lambda: cross_entropy_of(nn.Sequential(nn.Linear(6, 2), nn.LayerNorm(2), nn.Linear(2, 4))))


fires("UT505")(lambda: normed(nn.BatchNorm2d))
fires("UT505")(lambda: normed(nn.BatchNorm2d, n=2, size=1))
silent("UT505")(lambda: normed(nn.BatchNorm2d, n=4))
silent("UT505")(lambda: normed(nn.InstanceNorm2d))
silent("UT505")(lambda: normed(lambda n: nn.GroupNorm(4, n)))
silent("UT505")(lambda: normed(lambda n: nn.BatchNorm2d(n).eval()))
silent("UT505")(
    lambda: cross_entropy_of(nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.LayerNorm(8), nn.Linear(8, 4)))
)


class Outside(Sequence):
    """The batch is brought to the second place in front of the model."""


def brought(exchange):
    model, g = Outside(), torch.Generator().manual_seed(2)
    x, y = torch.randn(12, 5, 6, generator=g), torch.randint(0, 4, (12,), generator=g)
    return model, lambda: functional.cross_entropy(model(exchange(x)), y), adam(model)


fires("UT506")(lambda: brought(lambda x: x.reshape(5, 12, 6)))
silent("UT506")(lambda: brought(lambda x: x.transpose(0, 1)))
silent("UT506")(lambda: brought(lambda x: x.reshape(60, 6).view(12, 5, 6).permute(1, 0, 2)))

fires("UT506")(lambda: cross_entropy_of(Func(mlp(), lambda z: functional.normalize(z, dim=0))))
silent("UT506")(lambda: cross_entropy_of(Func(mlp(), functional.normalize)))

for kind in (nn.LSTM, nn.GRU, nn.RNN):
    fires("UT506")(lambda kind=kind: sequences(Sequence(kind, lambda x: x.reshape(5, -1, 6))))
    fires("UT506")(lambda kind=kind: sequences(Sequence(kind, after=lambda h: h[:, -1])))
    fires("UT506")(lambda kind=kind: sequences(Sequence(kind, after=lambda h: h.mean(1))))
    silent("UT506")(lambda kind=kind: sequences(Sequence(kind, lambda x: x.transpose(0, 1))))
    silent("UT506")(lambda kind=kind: sequences(Sequence(kind, after=lambda h: h[:, -1], batch_first=True)))
fires("UT506")(lambda: sequences(Sequence(before=lambda x: x.view(5, 12, 6), bidirectional=False, num_layers=2)))


class Encoder(nn.Module):
    def __init__(self, before=lambda x: x, pool=1, **options):
        super().__init__()
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(6, 2, 12, 0.1, **options)
        self.body, self.head, self.before, self.pool = (
            nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
            nn.Linear(6, 4),
            before,
            pool,
        )

    def forward(self, x):
        return self.head(self.body(self.before(x)).mean(self.pool))


fires("UT506")(lambda: sequences(Encoder()))
fires("UT506")(lambda: sequences(Encoder(lambda x: x.reshape(5, 12, 6), pool=0)))
silent("UT506")(lambda: sequences(Encoder(batch_first=True)))
silent("UT506")(lambda: sequences(Encoder(lambda x: x.permute(1, 0, 2), pool=0)))


class Tagger(Encoder):
    """An answer for every token; where examples lie along the second axis of what it is given, so do its answers."""

    def __init__(self, positions, **options):
        super().__init__(**options)
        self.positions = nn.Parameter(torch.randn(positions))

    def forward(self, x):
        return self.head(self.body(x + self.positions))


def tagged(model, examples_first=True):
    g = torch.Generator().manual_seed(2)
    x, y = torch.randn(12, 5, 6, generator=g), torch.randint(0, 4, (12, 5), generator=g)
    x, y = (x, y) if examples_first else (x.transpose(0, 1), y.T)
    return model, lambda: functional.cross_entropy(model(x).flatten(0, 1), y.flatten()), adam(model)


fires("UT506")(lambda: tagged(Tagger((5, 6))))
silent("UT506")(lambda: tagged(Tagger((5, 6), batch_first=True)))
silent("UT506")(lambda: tagged(Tagger((5, 1, 6)), examples_first=False))
silent("UT506")(lambda: tagged(Tagger((1, 6))))  # without positions nobody knows which axis is which


class WrongSoftmax(Attends):
    def forward(self, x):
        scores = self.q(x) @ self.k(x).transpose(-1, -2)
        return self.head(scores.softmax(0) @ self.v(x)).mean(1)


fires("UT506")(lambda: sequences(WrongSoftmax(), labels=(12,)))


class Patches(nn.Module):
    def __init__(self, wrong=False):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head, self.wrong = nn.Linear(6, 8), nn.Linear(40, 4), wrong

    def forward(self, x):
        z = torch.relu(self.embed(x.reshape(-1, 6)))
        z = z.view(5, -1, 8).permute(1, 0, 2) if self.wrong else z.view(-1, 5, 8)
        return self.head(z.flatten(1))


class LastOfAll(nn.Module):
    """As many steps as examples: the last example is taken for the last step, or the last step."""

    def __init__(self, wrong):
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.head, self.wrong = nn.GRU(6, 8, batch_first=True), nn.Linear(8, 4), wrong

    def forward(self, x):
        out = self.rnn(x.repeat(1, 3, 1)[:, : len(x)])[0]
        return self.head(out[-1] if self.wrong else out[:, -1])


fires("UT506")(lambda: sequences(LastOfAll(True)))
silent("UT506")(lambda: sequences(LastOfAll(False)))
fires("UT506")(lambda: sequences(Patches(True)))
silent("UT506")(lambda: sequences(Patches()))
silent("UT506")(lambda: normed(nn.BatchNorm2d, n=6))


@silent("UT506")
def contrastive():
    model, (x, _) = mlp(), batch()

    def loss():
        z = functional.normalize(model(x), dim=1)
        return functional.cross_entropy(z @ z.T / 0.1, torch.arange(12))

    return model, loss, adam(model)


class Words(nn.Module):
    """A language model whose batch comes second."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.rnn, self.head = nn.Embedding(20, 8), nn.LSTM(8, 8), nn.Linear(8, 20)

    def forward(self, tokens):
        return self.head(self.rnn(self.embed(tokens))[0])


@silent("UT506")
def language_model():
    model, tokens = Words(), torch.randint(0, 20, (7, 5))
    return model, lambda: functional.cross_entropy(model(tokens).view(-1, 20), tokens.flatten()), adam(model)


class PooledOverTheBatch(nn.Module):
    """Means over positions, or over the batch by mistake, where there are as many of both."""

    def __init__(self, mistaken):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head, self.axis = nn.Linear(3, 8), nn.Linear(8, 4), 0 if mistaken else 1

    def forward(self, x):
        return self.head(torch.tanh(self.embed(x.reshape(-1, 6, 3))).mean(self.axis))


def pooled(mistaken):
    model, x = PooledOverTheBatch(mistaken), torch.randn(6, 18)
    return model, lambda: functional.cross_entropy(model(x), torch.arange(6) % 4), adam(model)


fires("UT506")(lambda: pooled(True))
silent("UT506")(lambda: pooled(False))
CASES = EXAMPLES.by_code


def test_a_mean_over_examples_in_the_model_is_noted_and_one_in_the_loss_is_none():
    (x, y), plain = batch(), nn.Linear(6, 4)
    centred = Func(plain, lambda z: z - z.mean(0))
    within = examine(centred, lambda: functional.cross_entropy(centred(x), y))
    behind = examine(plain, lambda: (plain(x).mean(0) - 1).square().sum())
    told = [[str(each.severity) for each in report.findings if each.code == "UT506"] for report in (within, behind)]
    assert told == [["note"], []]
