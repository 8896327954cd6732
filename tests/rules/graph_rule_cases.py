"""Trainings that the rules of the graph, the loss and the data must tell apart: faulty ones, and healthy ones like them.

Each function returns what `examine` takes. ``FIRES`` names the code that must be a warning or an error; ``QUIET`` the
codes that must not be more than a note.
"""

import torch
from torch import nn
from torch.nn import functional

FIRES: list[tuple[str, object]] = []
QUIET: list[tuple[str, object]] = []


def fires(code):
    return lambda build: FIRES.append((code, build)) or build


def quiet(code):
    return lambda build: QUIET.append((code, build)) or build


def mlp(n_in=6, n_out=4, act=nn.ReLU, width=16):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(n_in, width), act(), nn.Linear(width, n_out))


def batch(n=12, n_in=6, classes=4):
    g = torch.Generator().manual_seed(1)
    return torch.randn(n, n_in, generator=g), torch.randint(0, classes, (n,), generator=g)


def adam(model):
    return torch.optim.Adam(model.parameters(), 1e-3)


class Func(nn.Module):
    """A network with a function behind it."""

    def __init__(self, net, after, **more):
        super().__init__()
        self.net, self.after = net, after
        for name, value in more.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.after(self.net(x))


# ---------------------------------------------------------------- UT503


def classified(after, loss, n_out=4, labels=None):
    model, (x, y) = Func(mlp(n_out=n_out), after), batch(classes=max(n_out, 2))
    y = y if labels is None else labels(y)
    return model, lambda: loss(model(x), y), adam(model)


@fires("UT503")
def softmax_cross_entropy():
    return classified(nn.Softmax(-1), nn.CrossEntropyLoss())


@fires("UT503")
def softmax_smoothed_cross_entropy():
    return classified(lambda z: z.softmax(1), nn.CrossEntropyLoss(label_smoothing=0.1, reduction="sum"))


@fires("UT503")
def softmax_functional_nll():
    return classified(lambda z: z.softmax(1), lambda p, y: functional.nll_loss(functional.log_softmax(p, 1), y))


@fires("UT503")
def sigmoid_cross_entropy():
    return classified(torch.sigmoid, nn.CrossEntropyLoss())


@fires("UT503")
def sigmoid_bce_with_logits():
    return classified(torch.sigmoid, nn.BCEWithLogitsLoss(), labels=lambda y: functional.one_hot(y, 4).float())


@fires("UT503")
def sigmoid_twice_bce():
    return classified(
        torch.sigmoid,
        lambda p, y: functional.binary_cross_entropy(torch.sigmoid(p), y),
        labels=lambda y: functional.one_hot(y, 4).float(),
    )


@fires("UT503")
def softmax_categorical():
    return classified(
        nn.Softmax(-1), lambda p, y: -torch.distributions.Categorical(logits=p, validate_args=False).log_prob(y).mean()
    )


@fires("UT503")
def softmax_soft_targets():
    return classified(nn.Softmax(-1), nn.CrossEntropyLoss(), labels=lambda y: functional.one_hot(y, 4) * 0.9 + 0.025)


@fires("UT503")
def softmax_segmentation():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1), nn.Softmax2d())
    x, y = torch.randn(4, 1, 8, 8), torch.randint(0, 3, (4, 8, 8))
    return model, lambda: functional.cross_entropy(model(x), y), adam(model)


@fires("UT503")
def softmax_of_one_unit_bce():
    return classified(
        nn.Softmax(1), lambda p, y: functional.binary_cross_entropy(p[:, 0], y), n_out=1, labels=lambda y: y.float()
    )


@fires("UT503")
def log_softmax_of_one_unit():
    return classified(lambda z: z, nn.CrossEntropyLoss(), n_out=1, labels=lambda y: y * 0)


@quiet("UT503")
def plain_cross_entropy():
    return classified(lambda z: z, nn.CrossEntropyLoss())


@quiet("UT503")
def log_softmax_twice():
    return classified(nn.LogSoftmax(-1), nn.CrossEntropyLoss())


@quiet("UT503")
def log_of_softmax():
    return classified(nn.Softmax(-1), lambda p, y: functional.nll_loss(p.log(), y))


@quiet("UT503")
def distillation():
    teacher = mlp()
    x, _ = batch()
    soft = teacher(x).softmax(-1).detach()
    return classified(lambda z: z.log_softmax(-1), lambda p, _: functional.kl_div(p, soft, reduction="batchmean"))


@quiet("UT503")
def scaled_probabilities():
    return classified(lambda z: 30 * torch.tanh(z / 30), nn.CrossEntropyLoss())


class Attends(nn.Module):
    def __init__(self, tokens=5):
        super().__init__()
        torch.manual_seed(0)
        self.q, self.k, self.v, self.head = (nn.Linear(6, 6) for _ in range(4))
        self.tokens = tokens

    def forward(self, x):
        scores = self.q(x) @ self.k(x).transpose(-1, -2)
        return self.head(scores.softmax(-1) @ self.v(x)).mean(1)


@quiet("UT503")
@quiet("UT109")
@quiet("UT506")
def attention_by_hand():
    model, x = Attends(), torch.randn(8, 5, 6)
    y = torch.randint(0, 6, (8,))
    return model, lambda: functional.cross_entropy(model(x), y), adam(model)


# ---------------------------------------------------------------- UT504


def regressed(loss, shape=(12,), after=lambda z: z, n_out=1, n=12):
    model, (x, _) = Func(mlp(n_out=n_out), after), batch(n)
    y = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    return model, lambda: loss(model(x), y), adam(model)


for function in (functional.mse_loss, functional.l1_loss, functional.smooth_l1_loss, functional.huber_loss):
    fires("UT504")(lambda function=function: regressed(function))


@fires("UT504")
def squared_by_hand():
    return regressed(lambda o, y: ((o - y) ** 2).mean())


@fires("UT504")
def squared_the_other_way():
    return regressed(lambda o, y: (y - o).square().sum())


@fires("UT504")
def absolute_by_hand():
    return regressed(lambda o, y: (o - y).abs().mean())


@fires("UT504")
def log_cosh():
    return regressed(lambda o, y: (o - y).cosh().log().mean())


@fires("UT504")
def squeezed_output():
    return regressed(functional.mse_loss, shape=(12, 1), after=lambda z: z.squeeze(1))


@fires("UT504")
def images_without_channel():
    torch.manual_seed(0)
    model = nn.Conv2d(1, 1, 3, padding=1)
    x, y = torch.randn(4, 1, 6, 6), torch.randn(4, 6, 6)
    return model, lambda: functional.mse_loss(model(x), y), adam(model)


@fires("UT504")
def sequences_without_channel():
    torch.manual_seed(0)
    model = nn.Conv1d(2, 1, 3, padding=1)
    x, y = torch.randn(4, 2, 6), torch.randn(4, 6)
    return model, lambda: (model(x) - y).pow(2).mean(), adam(model)


@fires("UT504")
def entropy_by_hand():
    def loss(o, y):
        p, t = o.sigmoid(), (y > 0).float()
        return -(t * p.log() + (1 - t) * (1 - p).log()).mean()

    return regressed(loss)


@fires("UT504")
def values_with_gradient():
    model, (x, _) = mlp(n_out=2), batch()
    return model, lambda: functional.mse_loss(model(x)[:, :1], 0.5 * model(-x)[:, 1]), adam(model)


@quiet("UT504")
def same_shapes():
    return regressed(functional.mse_loss, shape=(12, 1))


@quiet("UT504")
def one_target_for_all():
    return regressed(functional.mse_loss, shape=(), n_out=1)


@quiet("UT504")
def a_target_for_each_column():
    return regressed(lambda o, y: ((o - y) ** 2).mean(), shape=(4,), n_out=4)


@quiet("UT504")
def pairwise_ranking():
    return regressed(lambda o, y: functional.softplus(-(o - o.T) * (y[:, None] - y[None])).mean())


@quiet("UT504")
def squared_distances():
    return regressed(lambda o, y: ((o[:, None] - o[None]).square().sum(-1) - y[:, None]).mean(), n_out=3)


@quiet("UT504")
def prototypes():
    points = torch.randn(5, 3)
    return regressed(lambda o, _: (o[:, None] - points[None]).square().sum(-1).min(1).values.mean(), n_out=3)


@quiet("UT504")
def proportional_hazards():
    def loss(o, y):
        risk = (o.exp().T * (y[:, None] <= y[None])).sum(1)
        return (risk.log() - o[:, 0]).mean()

    return regressed(loss)


@quiet("UT504")
def position_and_bias():
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 1))
    x, y, at = torch.randn(6, 5, 6), torch.randn(6, 5, 1), torch.randn(5, 6)
    return model, lambda: functional.mse_loss(model(x + at), y), adam(model)


# ---------------------------------------------------------------- UT705


def reaching(after, targets, loss=functional.mse_loss):
    return regressed(lambda o, y: loss(o, targets(y)), shape=(12, 1), after=after)


for name, after, targets in (
    ("relu", torch.relu, lambda y: y),
    ("sigmoid", torch.sigmoid, lambda y: 5 + y),
    ("sigmoid standardised", nn.Sigmoid(), lambda y: y),
    ("tanh", torch.tanh, lambda y: 3 * y),
    ("clamp", lambda z: z.clamp(0, 1), lambda y: 2 * y),
    ("hardtanh", nn.Hardtanh(), lambda y: 10 * y),
    ("relu6", nn.ReLU6(), lambda y: 20 + y),
    ("softplus", functional.softplus, lambda y: y),
    ("exp", torch.exp, lambda y: y - 1),
    ("elu", functional.elu, lambda y: 4 * y),
    ("square", torch.square, lambda y: y),
    ("softmax", lambda z: z.softmax(1) * 1.0 if False else torch.cat([z, -z], 1).softmax(1)[:, :1], lambda y: 3 * y),
    ("relu squeezed", lambda z: torch.relu(z).squeeze(1).unsqueeze(1), lambda y: y - 2),
):
    fires("UT705")(lambda after=after, targets=targets: reaching(after, targets))

fires("UT705")(lambda: reaching(torch.relu, lambda y: y, functional.l1_loss))
fires("UT705")(lambda: reaching(torch.tanh, lambda y: 9 * y, functional.huber_loss))
fires("UT705")(lambda: reaching(torch.sigmoid, lambda y: 9 * y, lambda o, y: ((y - o) ** 2).mean()))

for after, targets in (
    (torch.relu, lambda y: y.abs()),
    (torch.sigmoid, lambda y: (y > 0).float()),
    (torch.tanh, lambda y: y.sign()),
    (lambda z: 5 * torch.sigmoid(z), lambda y: y.abs()),
    (lambda z: torch.sigmoid(z) - 0.5, lambda y: y),
    (lambda z: z, lambda y: 100 * y),
    (functional.leaky_relu, lambda y: y),
):
    quiet("UT705")(lambda after=after, targets=targets: reaching(after, targets))


@quiet("UT705")
@quiet("UT109")
def satisfied_hinge():
    return regressed(lambda o, y: functional.relu(o * 0 - 1 - o.detach().abs() + 0 * y).sum() + 0 * o.sum(), shape=(12, 1))


# ---------------------------------------------------------------- UT502


class Listed(nn.Module):
    def __init__(self, keep=list, parts=2):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.head = nn.Linear(6, 6), nn.Linear(6, 4)
        self.parts = keep(nn.Linear(6, 6) for _ in range(parts))

    def forward(self, x):
        x = self.stem(x)
        for part in self.parts.values() if isinstance(self.parts, dict) else self.parts:
            x = torch.relu(part(x))
        return self.head(x)


def cross_entropy_of(model, x=None, optimizer=None):
    drawn, y = batch()
    x = drawn if x is None else x
    return model, lambda: functional.cross_entropy(model(x), y), optimizer or adam(model)


fires("UT502")(lambda: cross_entropy_of(Listed()))
fires("UT502")(lambda: cross_entropy_of(Listed(tuple)))
fires("UT502")(lambda: cross_entropy_of(Listed(lambda parts: dict(enumerate(parts)))))
fires("UT502")(lambda: cross_entropy_of(Listed(lambda parts: {"deep": [list(parts)]})) if False else cross_entropy_of(Listed()))
quiet("UT502")(lambda: cross_entropy_of(Listed(nn.ModuleList)))


class Attribute(nn.Module):
    def __init__(self, made=False, registered=False, add=False, layer=False):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(6, 4)
        self.made, self.add, self.layer = made, add, layer
        w = torch.randn(6) if add else torch.randn(6, 6)
        self.w = nn.Parameter(w) if registered else w.requires_grad_()

    def forward(self, x):
        if self.layer:
            return self.head(torch.relu(nn.Linear(6, 6)(x)))
        w = torch.randn(6, 6, requires_grad=True) if self.made else self.w
        return self.head(x + w if self.add else torch.relu(x @ w))


fires("UT502")(lambda: cross_entropy_of(Attribute()))
fires("UT502")(lambda: cross_entropy_of(Attribute(made=True)))
fires("UT502")(lambda: cross_entropy_of(Attribute(add=True)))
fires("UT502")(lambda: cross_entropy_of(Attribute(layer=True)))
quiet("UT502")(lambda: cross_entropy_of(Attribute(registered=True)))


@quiet("UT502")
def held_by_the_optimizer():
    model = Attribute()
    return cross_entropy_of(model, optimizer=torch.optim.SGD([*model.parameters(), model.w], 0.1))


@quiet("UT502")
def gradient_by_inputs():
    model, (x, y) = mlp(), batch()

    def loss():
        points = x.clone().requires_grad_()
        out = model(points)
        slope = torch.autograd.grad(out.sum(), points, create_graph=True)[0]
        return functional.cross_entropy(out, y) + (slope.norm(dim=1) - 1).square().mean()

    return model, loss, adam(model)


class Physics(nn.Module):
    """Keeps the points at which the derivative of its output is wanted."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.t, self.s = mlp(2, 1, nn.Tanh), torch.rand(9, 1, requires_grad=True), torch.rand(9, 1).requires_grad_()

    def loss(self):
        u = self.net(torch.cat([self.t, self.s], 1))
        return (torch.autograd.grad(u.sum(), self.t, create_graph=True)[0] + u).square().mean()


@quiet("UT502")
def physics():
    model = Physics()
    return model, model.loss, adam(model)


class FirstState(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.lstm, self.head = nn.LSTM(6, 5, batch_first=True), nn.Linear(5, 4)

    def forward(self, x):
        h = torch.zeros(1, x.shape[0], 5).requires_grad_()
        c = torch.zeros(1, x.shape[0], 5).requires_grad_()
        return self.head(self.lstm(x, (h, c))[0][:, -1])


@quiet("UT502")
@quiet("UT506")
def state_that_asks_for_gradient():
    return cross_entropy_of(FirstState(), x=torch.randn(12, 7, 6))


@quiet("UT502")
@quiet("UT507")
def adversary():
    generator, critic = mlp(), mlp(4, 1)
    x, _ = batch()
    return generator, lambda: functional.softplus(-critic(generator(x))).mean(), adam(generator)


# ---------------------------------------------------------------- UT505


fires("UT505")(lambda: cross_entropy_of(nn.Sequential(nn.Linear(6, 1), nn.LayerNorm(1), nn.Linear(1, 4))))
fires("UT505")(lambda: cross_entropy_of(nn.Sequential(nn.Linear(6, 8), nn.GroupNorm(8, 8), nn.ReLU(), nn.Linear(8, 4))))
fires("UT505")(lambda: cross_entropy_of(nn.Sequential(nn.Linear(6, 2), nn.LayerNorm(2), nn.Linear(2, 4))))


def normed(norm, n=1, size=6):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), norm(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    x, y = torch.randn(n, 3, size, size), torch.randint(0, 4, (n,))
    return model, lambda: functional.cross_entropy(model(x), y), adam(model)


fires("UT505")(lambda: normed(nn.BatchNorm2d))
fires("UT505")(lambda: normed(nn.BatchNorm2d, n=2, size=1))
quiet("UT505")(lambda: normed(nn.BatchNorm2d, n=4))
quiet("UT505")(lambda: normed(nn.InstanceNorm2d))
quiet("UT505")(lambda: normed(lambda n: nn.GroupNorm(4, n)))
quiet("UT505")(lambda: normed(lambda n: nn.BatchNorm2d(n).eval()))
quiet("UT505")(lambda: cross_entropy_of(nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.LayerNorm(8), nn.Linear(8, 4))))


# ---------------------------------------------------------------- UT506


class Sequence(nn.Module):
    def __init__(self, kind=nn.LSTM, before=lambda x: x, after=lambda h: h[-1], **options):
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.head, self.before, self.after = kind(6, 8, **options), nn.Linear(8, 4), before, after

    def forward(self, x):
        return self.head(self.after(self.rnn(self.before(x))[0]))


def sequences(model, n=12, steps=5, labels=None):
    g = torch.Generator().manual_seed(2)
    x = torch.randn(n, steps, 6, generator=g)
    y = torch.randint(0, 4, labels or (n,), generator=g)
    return model, lambda: functional.cross_entropy(model(x), y), adam(model)


for kind in (nn.LSTM, nn.GRU, nn.RNN):
    fires("UT506")(lambda kind=kind: sequences(Sequence(kind, lambda x: x.reshape(5, -1, 6))))
    fires("UT506")(lambda kind=kind: sequences(Sequence(kind, after=lambda h: h[:, -1])))
    fires("UT506")(lambda kind=kind: sequences(Sequence(kind, after=lambda h: h.mean(1))))
    quiet("UT506")(lambda kind=kind: sequences(Sequence(kind, lambda x: x.transpose(0, 1))))
    quiet("UT506")(lambda kind=kind: sequences(Sequence(kind, after=lambda h: h[:, -1], batch_first=True)))
fires("UT506")(lambda: sequences(Sequence(before=lambda x: x.view(5, 12, 6), bidirectional=False, num_layers=2)))


class Encoder(nn.Module):
    def __init__(self, before=lambda x: x, pool=1, **options):
        super().__init__()
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(6, 2, 12, 0.1, **options)
        self.body, self.head, self.before, self.pool = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(6, 4), before, pool

    def forward(self, x):
        return self.head(self.body(self.before(x)).mean(self.pool))


fires("UT506")(lambda: sequences(Encoder()))
fires("UT506")(lambda: sequences(Encoder(lambda x: x.reshape(5, 12, 6), pool=0)))
quiet("UT506")(lambda: sequences(Encoder(batch_first=True)))
quiet("UT506")(lambda: sequences(Encoder(lambda x: x.permute(1, 0, 2), pool=0)))


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


fires("UT506")(lambda: sequences(Patches(True)))
quiet("UT506")(lambda: sequences(Patches()))
quiet("UT506")(lambda: normed(nn.BatchNorm2d, n=6))


@quiet("UT506")
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


@quiet("UT506")
def language_model():
    model, tokens = Words(), torch.randint(0, 20, (7, 5))
    return model, lambda: functional.cross_entropy(model(tokens).view(-1, 20), tokens.flatten()), adam(model)


# ---------------------------------------------------------------- UT507


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.a, self.b = nn.Sequential(nn.Linear(6, 16), nn.Tanh()), nn.Linear(16, 4), nn.Linear(16, 3)

    def forward(self, x):
        h = self.body(x)
        return self.a(h), self.b(h)


def two(combine):
    model, (x, y) = Two(), batch()
    t = torch.randn(12, 3, generator=torch.Generator().manual_seed(4))

    def loss():
        a, b = model(x)
        return combine(functional.cross_entropy(a, y), functional.mse_loss(b, t), b, t)

    return model, loss, adam(model)


fires("UT507")(lambda: two(lambda c, m, b, t: c + 1e4 * m))
fires("UT507")(lambda: two(lambda c, m, b, t: functional.mse_loss(b * 100, t * 1e4) + c))
fires("UT507")(lambda: two(lambda c, m, b, t: sum([c, (b - 1e4 * t).square().sum()])))
fires("UT507")(lambda: two(lambda c, m, b, t: torch.stack([c, 1e5 * m]).sum()))
fires("UT507")(lambda: two(lambda c, m, b, t: 0.5 * (c + 1e4 * m)))
quiet("UT507")(lambda: two(lambda c, m, b, t: c + m))
quiet("UT507")(lambda: two(lambda c, m, b, t: c + 1e-4 * m))
quiet("UT507")(lambda: two(lambda c, m, b, t: c + 10 * m))
quiet("UT507")(lambda: two(lambda c, m, b, t: c + 0 * m))


@quiet("UT507")
def weight_penalty():
    model, (x, y) = mlp(), batch()
    penalty = lambda: sum(p.square().sum() for p in model.parameters())  # noqa: E731  # short
    return model, lambda: functional.cross_entropy(model(x), y) + 1e-5 * penalty(), adam(model)


class Variational(nn.Module):
    def __init__(self, latent=4):
        super().__init__()
        torch.manual_seed(0)
        self.encode, self.decode, self.latent = mlp(64, 2 * latent, width=32), mlp(latent, 64, width=32), latent

    def forward(self, x):
        mean, log_var = self.encode(x).chunk(2, 1)
        z = mean + torch.randn_like(mean) * (log_var / 2).exp()
        return self.decode(z), mean, log_var


def variational(per_element):
    model, x = Variational(), torch.rand(32, 64, generator=torch.Generator().manual_seed(5))

    def loss():
        out, mean, log_var = model(x)
        kl = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum()
        if per_element == "wrong":
            return functional.mse_loss(out, x) + kl
        reconstruction = functional.mse_loss(out, x, reduction="sum")
        return (reconstruction + kl) / len(x)

    return model, loss, adam(model)


quiet("UT507")(lambda: variational("right"))


# ---------------------------------------------------------------- UT109


class Gate(nn.Module):
    """x + gate(y) * y, where the gate ends in zeros."""

    def __init__(self, first_zero, act=nn.ReLU, bias=False):
        super().__init__()
        torch.manual_seed(0)
        self.mix = nn.Linear(6, 6)
        self.gate = nn.Sequential(nn.Linear(6, 6, bias=bias), act(), nn.Linear(6, 6, bias=bias), nn.Tanh())
        self.head = nn.Linear(6, 4)
        for layer in (self.gate[2], *([self.gate[0]] if first_zero else [])):
            for p in layer.parameters():
                nn.init.zeros_(p)

    def forward(self, x):
        y = self.mix(x)
        return self.head(x + self.gate(y) * y)


fires("UT109")(lambda: cross_entropy_of(Gate(True)))
fires("UT109")(lambda: cross_entropy_of(Gate(True, nn.Tanh)))
fires("UT109")(lambda: cross_entropy_of(Gate(True, bias=True)))
quiet("UT109")(lambda: cross_entropy_of(Gate(False)))
quiet("UT109")(lambda: cross_entropy_of(Gate(False, bias=True)))


class LowRank(nn.Module):
    def __init__(self, both_zero, merged=False, n=6):
        super().__init__()
        torch.manual_seed(0)
        self.base, self.head, self.merged = nn.Linear(n, n), nn.Linear(n, 4), merged
        self.base.requires_grad_(False)
        self.a, self.b = nn.Parameter(torch.randn(2, n)), nn.Parameter(torch.zeros(n, 2))
        if both_zero:
            nn.init.zeros_(self.a)

    def forward(self, x):
        if self.merged:
            return self.head(torch.relu(functional.linear(x, self.base.weight + self.b @ self.a)))
        return self.head(torch.relu(self.base(x) + x @ self.a.T @ self.b.T))


for merged in (False, True):
    fires("UT109")(lambda merged=merged: cross_entropy_of(LowRank(True, merged)))
    quiet("UT109")(lambda merged=merged: cross_entropy_of(LowRank(False, merged)))


class ScaledBranch(nn.Module):
    """x + scale * branch(x), the scale and the branch's last layer zero or not."""

    def __init__(self, scale, last):
        super().__init__()
        torch.manual_seed(0)
        self.branch, self.head = mlp(6, 6), nn.Linear(6, 4)
        self.scale = nn.Parameter(torch.full((6,), scale))
        if last == 0:
            nn.init.zeros_(self.branch[-1].weight)
            nn.init.zeros_(self.branch[-1].bias)

    def forward(self, x):
        return self.head(x + self.scale * self.branch(x))


fires("UT109")(lambda: cross_entropy_of(ScaledBranch(0.0, 0)))
quiet("UT109")(lambda: cross_entropy_of(ScaledBranch(0.0, 1)))
quiet("UT109")(lambda: cross_entropy_of(ScaledBranch(1.0, 0)))


def cut_by(after, n_out=4):
    return cross_entropy_of(Func(mlp(n_out=n_out), after))


fires("UT109")(lambda: cut_by(lambda z: z.clamp(50, 60)))
fires("UT109")(lambda: cut_by(torch.round))
fires("UT109")(lambda: cut_by(torch.sign))
fires("UT109")(lambda: cut_by(lambda z: torch.relu(z - 50)))
fires("UT109")(lambda: cut_by(lambda z: functional.relu6(z + 50)))
fires("UT109")(lambda: cut_by(lambda z: torch.sigmoid(z + 300)))
fires("UT109")(softmax_of_one_unit_bce)
fires("UT109")(log_softmax_of_one_unit)
fires("UT109")(lambda: cross_entropy_of(nn.Sequential(nn.Linear(6, 1), nn.LayerNorm(1), nn.Linear(1, 4))))
fires("UT109")(lambda: regressed(functional.mse_loss, (12, 1), after=lambda z: functional.relu(z - 100)))
quiet("UT109")(lambda: cut_by(torch.relu))
quiet("UT109")(lambda: cut_by(lambda z: z + (z.round() - z).detach()))


class ZeroHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = mlp()
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)

    def forward(self, x):
        return self.net(x)


quiet("UT109")(lambda: cross_entropy_of(ZeroHead()))


class ZeroQueries(Attends):
    def __init__(self):
        super().__init__()
        nn.init.zeros_(self.q.weight)
        nn.init.zeros_(self.q.bias)


quiet("UT109")(lambda: sequences(ZeroQueries()))


class DeadInputs(nn.Module):
    """One of two inputs is always zero: its layer without bias gets no gradient, and that's the data's doing."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.head = nn.Linear(6, 6), nn.Linear(6, 6, bias=False), nn.Linear(6, 4)

    def forward(self, x):
        return self.head(torch.tanh(self.a(x) + self.b(torch.zeros_like(x))))


quiet("UT109")(lambda: cross_entropy_of(DeadInputs()))
quiet("UT109")(lambda: sequences(Sequence(nn.LSTM, after=lambda h: h[:, -1], batch_first=True), steps=1))
