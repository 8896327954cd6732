"""Trainings that remedies are applied to: small, each of another kind."""

from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional

from undertow.training import Training


class Functional(nn.Module):
    """Activations that no module holds."""

    def __init__(self, squashed=False):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.squashed = squashed

    def forward(self, x):
        x = torch.sigmoid(self.second(torch.sigmoid(self.first(x))))
        return functional.softmax(self.head(x), 1) if self.squashed else self.head(x)


class Recurrent(nn.Module):
    def __init__(self, kind=nn.RNN):
        super().__init__()
        self.rnn, self.head = kind(2, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


class Listed(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.head = [nn.Linear(6, 6), nn.Linear(6, 6)], nn.Linear(6, 3)

    def forward(self, x):
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return self.head(x)


class TimeFirst(nn.Module):
    """A recurrence that expects time first and is given the batch."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.LSTM(2, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.5)
        self.first, self.stack, self.head = nn.Linear(2, 8), nn.TransformerEncoder(layer, 2), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.stack(self.first(x)).mean(1))


class Attentive(nn.Module):
    """Tokens that attend to one another: behind a mask of padding, along an axis, with nothing that tells places."""

    def __init__(self, mask=None, axis=-1):
        super().__init__()
        self.embedding, self.mix, self.head = nn.Linear(2, 8), nn.Linear(8, 24), nn.Linear(8, 3)
        self.mask, self.axis = mask, axis

    def forward(self, x):
        q, k, v = (t.unflatten(-1, (2, 4)).transpose(1, 2) for t in self.mix(self.embedding(x)).chunk(3, -1))
        if self.mask == "sdpa":
            made = functional.scaled_dot_product_attention(q, k, v, attn_mask=hidden_steps(x)[:, None, None])
        else:
            scores = q @ k.transpose(-1, -2)
            scores = scores if self.mask is None else self.mask(scores, hidden_steps(x)[:, None, None])
            made = scores.softmax(self.axis) @ v
        return self.head(made.transpose(1, 2).flatten(2).mean(1))


def hidden_steps(x):
    """Which steps are hidden: the last two."""
    return (torch.arange(x.shape[1]) > x.shape[1] - 3).expand(len(x), -1)


def mlp(activation=nn.Sigmoid, end=None):
    hidden = [layer for _ in range(2) for layer in (nn.Linear(5, 5), activation())]
    return nn.Sequential(nn.Linear(6, 5), activation(), *hidden, nn.Linear(5, 3), *([end()] if end else []))


def narrow():
    hidden = [nn.Linear(6, 2), nn.BatchNorm1d(2), nn.Tanh(), nn.Linear(2, 2, bias=False), nn.Tanh()]
    return nn.Sequential(*hidden, nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 3))


def cnn():
    convolutions = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(64, 3))


def classes(model, *shape, scale=1.0):
    """How to train a classifier on made-up examples of a shape."""
    draws = torch.Generator().manual_seed(0)
    batches = [
        (scale * torch.randn(8, *shape, generator=draws) + 2, torch.randint(3, (8,), generator=draws)) for _ in range(3)
    ]
    return Training(model, batches, class_loss, sgd, steps=20)


def with_holes(training, every=7):
    """The same with some inputs missing."""
    holed = []
    for x, y in training.batches:
        x = x.clone()
        x.view(-1)[::every] = torch.nan
        holed.append((x, y))
    return replace(training, batches=holed)


def under_adam(model, *shape):
    return replace(classes(model, *shape), optimizer=adam)


def numbers(model, *shape, scale=1.0):
    """How to train a regression on made-up examples, targets of a shape."""
    draws = torch.Generator().manual_seed(0)
    batches = [
        (torch.randn(8, 6, generator=draws), scale * torch.randn(8, *shape, generator=draws) - 2 * scale)
        for _ in range(3)
    ]
    return Training(model, batches, number_loss, sgd, score=closeness, steps=20)


def class_loss(model, batch):
    return functional.cross_entropy(model(batch[0]), batch[1])


def number_loss(model, batch):
    return functional.mse_loss(model(batch[0]), batch[1])


def closeness(model):
    return -float(model(torch.ones(4, 6)).square().mean())


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=0.1)


def made(training, seed=0):
    """The model of a training, of a seed."""
    torch.manual_seed(seed)
    return training.model()


def pasted(snippet, training, seed=0):
    """The model and the optimizer after a snippet was run behind the lines that make them."""
    model = made(training, seed)
    x, y = ([batch[i] for batch in training.sample(32)] for i in (0, 1))
    known = {
        "torch": torch, "nn": nn, "F": functional, "model": model, "optimizer": training.optimizer(model),
        "x": training.sample(1)[0][0], "x_train": torch.cat(x), "y_train": torch.cat(y),
    }  # fmt: skip
    exec(snippet, known)  # noqa: S102  # to be pasted and run is what it is for
    return known["model"], known["optimizer"]
