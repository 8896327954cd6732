"""Trainings of many tasks as people report them, each broken and mended: model, loss of a step, optimizer."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

Loss = Callable[[int], Tensor]
Made = tuple[nn.Module, Loss, torch.optim.Optimizer]

REPORTED: dict[str, tuple[str, Callable[[bool], Made]]] = {}
"""By what was reported: the code that must come first, and what makes the training, broken or mended."""


def reported(code):
    def take(make):
        REPORTED[make.__name__.replace("_", " ")] = code, make
        return make

    return take


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def batch(step, n=256, rows=32):
    return torch.randint(0, n, (rows,), generator=seeded(1000 + step))


def labelled(n=256, size=16, classes=4):
    g = seeded(1)
    x = torch.randn(n, size, generator=g)
    return x, (x @ torch.randn(size, classes, generator=g)).argmax(1)


def mlp(*sizes):
    layers = [each for a, b in pairwise(sizes) for each in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def adam(model, lr=3e-3):
    return torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr)


def classifying(model, loss=functional.cross_entropy, optimizer=None):
    """Train a model of 16 numbers to tell four classes apart."""
    x, y = labelled()
    return model, lambda step: loss(model(x[batch(step)]), y[batch(step)]), optimizer or adam(model)


def masks():
    images = torch.randn(64, 1, 10, 10, generator=seeded(1))
    return images, (functional.avg_pool2d(images, 3, 1, 1) > 0.1).float()


def segmenting(last, loss):
    images, wanted = masks()
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1), *last)

    def of(step):
        chosen = batch(step, 64, 16)
        return loss(model(images[chosen]), wanted[chosen])

    return model, of, adam(model, 1e-2)


@reported("UT503")
def segmentation_with_sigmoid_and_logits_loss(broken):
    last = [nn.Sigmoid()] if broken else []
    return segmenting(last, functional.binary_cross_entropy_with_logits)


@reported("UT503")
def dice_of_a_softmax_over_one_channel(broken):
    def dice(z, y):
        p = torch.softmax(z, 1) if broken else torch.sigmoid(z)
        return 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)

    return segmenting([], dice)


@reported("UT706")
def detection_with_boxes_in_pixels(broken):
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.kind, self.box = (
                nn.Sequential(mlp(16, 48, 48), nn.ReLU()),
                nn.Linear(48, 4),
                nn.Linear(48, 4),
            )

        def forward(self, x):
            h = self.body(x)
            return self.kind(h), self.box(h)

    model, (x, y) = Heads(), labelled()
    boxes = torch.sigmoid(x[:, :4]) * (640 if broken else 1)

    def loss(step):
        kind, box = model(x[batch(step)])
        return functional.cross_entropy(kind, y[batch(step)]) + functional.mse_loss(box, boxes[batch(step)])

    return model, loss, adam(model)


class Translator(nn.Module):
    """An encoder and a decoder that is told the last word (teacher forcing)."""

    def __init__(self, words=12, size=24):
        super().__init__()
        self.table = nn.Embedding(words, size)
        self.reads, self.writes = nn.GRU(size, size, batch_first=True), nn.GRU(size, size, batch_first=True)
        self.head = nn.Linear(size, words)

    def forward(self, source, told, detached=False):
        state = self.reads(self.table(source))[1]
        return self.head(self.writes(self.table(told), state.detach() if detached else state)[0])


def translating(detached=False, exchange=lambda z: z.transpose(1, 2)):
    model, source = Translator(), torch.randint(1, 12, (256, 4), generator=seeded(1))
    wanted = torch.cat([torch.zeros(256, 1, dtype=torch.long), source.flip(1)], 1)

    def loss(step):
        k = batch(step)
        z = model(source[k], wanted[k][:, :-1], detached)
        return functional.cross_entropy(exchange(z), wanted[k][:, 1:])

    return model, loss, adam(model, 1e-2)


@reported("UT501")
def sequence_to_sequence_over_a_detached_state(broken):
    return translating(detached=broken)


@reported("UT506")
def words_and_positions_exchanged_by_reshape(broken):
    return translating(
        exchange=(lambda z: z.reshape(len(z), z.shape[2], -1)) if broken else lambda z: z.transpose(1, 2)
    )


class Autoencoder(nn.Module):
    def __init__(self, size=64, code=4):
        super().__init__()
        self.body, self.mean, self.spread = nn.Linear(size, 48), nn.Linear(48, code), nn.Linear(48, code)
        self.decoder = mlp(code, 48, size)

    def forward(self, x):
        h = torch.relu(self.body(x))
        mean, spread = self.mean(h), self.spread(h)
        return self.decoder(mean + torch.randn_like(mean) * (spread / 2).exp()), mean, spread


@reported("UT507")
def variational_autoencoder_with_a_summed_divergence(broken):
    g, model = seeded(1), Autoencoder()
    x = torch.sigmoid(2 * torch.randn(256, 4, generator=g) @ torch.randn(4, 64, generator=g))

    def loss(step):
        made, mean, spread = model(x[batch(step)])
        divergence = -0.5 * (1 + spread - mean.square() - spread.exp()).sum(1).mean()
        return functional.mse_loss(made, x[batch(step)]) * (1 if broken else 64) + divergence

    return model, loss, adam(model)


@reported("UT706")
def table_of_raw_numbers_beside_categories(broken):
    g = seeded(1)
    kinds, x = torch.randint(0, 10, (256,), generator=g), torch.randn(256, 5, generator=g)
    y = ((x[:, 0] + kinds % 2 + x[:, 4]) > 0.5).float()
    if broken:
        x = x * torch.tensor([1, 1, 1, 1, 20000.0]) + torch.tensor([0, 0, 0, 0, 60000.0])

    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.kinds, self.net = nn.Embedding(10, 6), mlp(11, 32, 1)

        def forward(self, x, kinds):
            return self.net(torch.cat([x, self.kinds(kinds)], 1)).squeeze(1)

    model = Table()

    def loss(step):
        k = batch(step)
        return functional.binary_cross_entropy_with_logits(model(x[k], kinds[k]), y[k])

    return model, loss, adam(model, 1e-2)


@reported("UT504")
def forecast_of_one_column_against_a_row(broken):
    class Forecast(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.LSTM(1, 12, batch_first=True), nn.Linear(12, 1)

        def forward(self, x):
            return self.head(self.rnn(x)[0][:, -1])

    model, start = Forecast(), 6 * torch.rand(256, 1, generator=seeded(1))
    x, y = torch.sin(start + 0.3 * torch.arange(6)).unsqueeze(2), torch.sin(start + 1.8)

    def loss(step):
        k = batch(step)
        return functional.l1_loss(model(x[k]), y[k].squeeze(1) if broken else y[k])

    return model, loss, adam(model, 1e-2)


@reported("UT503")
def ctc_of_probabilities(broken):
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(8, 16), nn.Linear(16, 6)

        def forward(self, x):
            return self.head(self.rnn(x)[0])

    model, words = Reader(), torch.randint(1, 6, (16, 3), generator=seeded(1))
    frames = torch.randn(6, 8, generator=seeded(2))[words].repeat_interleave(2, 1).transpose(0, 1)
    lengths = torch.full((16,), 6), torch.full((16,), 3)

    def loss(_):
        z = model(frames)
        return functional.ctc_loss(z.softmax(2) if broken else z.log_softmax(2), words, *lengths)

    return model, loss, adam(model, 1e-2)


@reported("UT503")
def distillation_of_probabilities(broken):
    torch.manual_seed(1)
    teacher, student, (x, _) = mlp(16, 32, 4).requires_grad_(False), mlp(16, 32, 4), labelled()

    def loss(step):
        z, wanted = student(x[batch(step)]), (4 * teacher(x[batch(step)])).softmax(1)
        return functional.kl_div(z.softmax(1) if broken else z.log_softmax(1), wanted, reduction="batchmean")

    return student, loss, adam(student)


@reported("UT506")
def softmax_over_the_batch(broken):
    return classifying(mlp(16, 32, 4), lambda z, y: functional.nll_loss(z.log_softmax(0 if broken else 1), y))


@reported("UT503")
def likelihood_of_bare_outputs(broken):
    return classifying(mlp(16, 32, 4), lambda z, y: functional.nll_loss(z if broken else z.log_softmax(1), y))


@reported("UT503")
def loss_of_the_wrong_sign(broken):
    def loss(z, y):
        value = functional.cross_entropy(z, y)
        return -value if broken else value

    return classifying(mlp(16, 32, 4), loss)


class LowRank(nn.Module):
    def __init__(self, size_in, size_out, zero):
        super().__init__()
        self.base = nn.Linear(size_in, size_out).requires_grad_(False)
        self.a, self.b = nn.Parameter(0.1 * torch.randn(4, size_in)), nn.Parameter(torch.zeros(size_out, 4))
        if zero:
            nn.init.zeros_(self.a)

    def forward(self, x):
        return self.base(x) + 2 * x @ self.a.T @ self.b.T


@reported("UT109")
def low_rank_factors_both_zero(broken):
    return classifying(nn.Sequential(LowRank(16, 32, broken), nn.ReLU(), LowRank(32, 4, broken)))


@reported("UT501")
def low_rank_factors_behind_reentrant_checkpoints(broken):
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.adapted, self.head = LowRank(16, 16, False), nn.Linear(16, 4)

        def forward(self, x):
            return self.head(torch.relu(checkpoint(self.adapted, x, use_reentrant=broken)))

    return classifying(Checkpointed())


@reported("UT109")
def dropout_of_everything(broken):
    return classifying(
        nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Dropout(1.0 if broken else 0.1), nn.Linear(32, 4))
    )


@reported("UT109")
def output_minus_its_own_mean(broken):
    model, (x, _) = mlp(16, 32, 1), labelled()

    def loss(step):
        z = model(x[batch(step)])
        return functional.mse_loss(z - z.mean(1 if broken else 0, keepdim=True), x[batch(step), :1] + 1)

    return model, loss, adam(model)


@reported("UT103")
def overflow_of_half_precision_divided_away(broken):
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(16, 32), nn.Linear(32, 4)

        def forward(self, x):
            h = torch.relu(self.body(x)) * 300
            h = h if broken else h.float()
            return self.head(h / (h * h).sum(-1, keepdim=True).sqrt())

    model, (x, y) = Normed(), labelled()

    def loss(step):
        with torch.autocast("cpu", torch.float16):
            z = model(x[batch(step)])
        return functional.cross_entropy(z.float(), y[batch(step)])

    return model, loss, adam(model)


@reported("UT502")
def layers_in_a_dictionary(broken):
    class Held(nn.Module):
        def __init__(self):
            super().__init__()
            layers = {"a": nn.Linear(16, 32), "b": nn.Linear(32, 32)}
            self.layers, self.head = layers if broken else nn.ModuleDict(layers), nn.Linear(32, 4)

        def forward(self, x):
            return self.head(torch.relu(self.layers["b"](torch.relu(self.layers["a"](x)))))

    return classifying(Held())


@reported("UT705")
def distances_under_zero_behind_relu(broken):
    model, (x, _) = mlp(16, 32, 1), labelled()

    def loss(step):
        z = model(x[batch(step)])
        return functional.huber_loss(torch.relu(z) if broken else z, x[batch(step), :1] - 1)

    return model, loss, adam(model)


@reported("UT205")
def graph_averaged_sixteen_times(broken):
    g, n = seeded(1), 48
    kinds = torch.arange(n) % 3
    near = (torch.rand(n, n, generator=g) < 0.3 * (kinds[:, None] == kinds) + 0.05).float()
    near = ((near + near.T) > 0).float() + torch.eye(n)
    near, x = near / near.sum(1, keepdim=True), torch.randn(n, 12, generator=g)

    class Averages(nn.Module):
        def __init__(self, depth):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(24 if k else 12, 24) for k in range(depth))
            self.head = nn.Linear(24, 3)

        def forward(self):
            h = x
            for layer in self.layers:
                h = torch.relu(layer(near @ h))
            return self.head(h)

    model = Averages(16 if broken else 2)
    return model, lambda _: functional.cross_entropy(model(), kinds), adam(model, 1e-2)


@reported("UT407")
def head_replaced_after_the_optimizer(broken):
    model = mlp(16, 32, 32, 10)
    optimizer = adam(model) if broken else None
    model[-1] = nn.Linear(32, 4)
    return classifying(model, optimizer=optimizer)
