"""Networks with a fault that is known: which rule must speak, and of which place."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Adam

from zoo import tasks
from zoo.case import Case, Subject, seeded, train
from zoo.healthy import HE, of
from zoo.parts import Around, Attention, Recurrent, Residual, Transformer, book, cnn, mlp, scaled
from zoo.tasks import CLASSES, classify


def book_net(hidden: int):
    """The book's network with its quadratic cost, on vectors of 784 pixels between 0 and 1."""

    def build(seed: int) -> Subject:
        seeded(seed)
        model = book([784, *[30] * hidden, 10])
        x, y = torch.rand(256, 784) * (torch.rand(256, 784) < 0.2), torch.randint(10, (256,))

        def compute_loss() -> Tensor:
            rows = torch.randint(256, (64,))
            return (model(x[rows]) - functional.one_hot(y[rows], 10)).square().sum(1).mean() / 2

        return Subject(model, compute_loss, SGD(model.parameters(), lr=0.1))

    return build


def spoiled(make: Callable[[], nn.Module], spoil: Callable[[nn.Module], object], task=tasks.vectors, **options):
    """A build of a good network that something is done to."""

    def made() -> nn.Module:
        model = make()
        with torch.no_grad():
            spoil(model)
        return model

    return of(made, task, **options)


class Wrapped(nn.Module):
    """A network whose forward pass is a function of it and x."""

    def __init__(self, net: nn.Module, forward: Callable[[nn.Module, Tensor], Tensor]):
        super().__init__()
        self.net, self.run = net, forward

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self.net, x)


def wrapped(make: Callable[[], nn.Module], forward: Callable[[nn.Module, Tensor], Tensor], task=tasks.vectors):
    return of(lambda: Wrapped(make(), forward), task)


he_mlp = partial(mlp, nn.ReLU, 4, gain=HE)
he_cnn = partial(cnn, nn.ReLU, 4, gain=HE)


def biased(name: str, value: float) -> Callable[[nn.Module], object]:
    return lambda model: nn.init.constant_(model.get_submodule(name).bias, value)


def constant(name: str, value: float = 0.05) -> Callable[[nn.Module], object]:
    return lambda model: nn.init.constant_(model.get_submodule(name).weight, value)


def times(factor: float, *names: str) -> Callable[[nn.Module], object]:
    def spoil(model: nn.Module) -> None:
        for name, p in model.named_parameters():
            if p.dim() > 1 and (not names or name.startswith(names)):
                p.mul_(factor)

    return spoil


def detached_branch(net: nn.Module, x: Tensor) -> Tensor:
    h = net[:2](x)
    return net[4:](h + net[2:4](x).detach())


def under_no_grad(net: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        h = net[:4](x)
    return net[4:](h)


def hard_choice(net: nn.Module, x: Tensor) -> Tensor:
    h = net[:4](x)
    return net[4:](functional.one_hot(h.argmax(1), h.shape[1]).float())


def rounded(net: nn.Module, x: Tensor) -> Tensor:
    return net[4:](net[:4](x).round().detach())


def forgotten(make: Callable[[], nn.Module]) -> nn.Module:
    model = make()
    model.forgotten = nn.Linear(8, 8)
    model.forward = lambda x: nn.Sequential.forward(nn.Sequential(*list(model)[:-1]), x)
    return model


def losing(make: Callable[[], nn.Module], loss: Callable[[Tensor, Tensor], Tensor], task=tasks.vectors):
    """A build with a loss of its own."""

    def build(seed: int) -> Subject:
        seeded(seed)
        model, batches = make(), task()

        def compute_loss() -> Tensor:
            x, y = batches()
            return loss(model(x), y)

        return Subject(model, compute_loss, Adam(model.parameters(), lr=2e-3))

    return build


def log_of_softmax(z: Tensor, y: Tensor) -> Tensor:
    return functional.nll_loss((200 * z).softmax(1).log(), y)


def own_softmax(z: Tensor, y: Tensor) -> Tensor:
    e = (1000 * z).exp()
    return functional.nll_loss(e / e.sum(1, keepdim=True), y)


def masked_too_late(z: Tensor, y: Tensor) -> Tensor:
    x = torch.relu(z)
    return torch.where(x > 0, x.sqrt(), x).mean() + functional.cross_entropy(z, y)


class Normalised(nn.Module):
    """Divides by its own norm, which may be zero."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(x - 3)
        return x / x.norm(dim=-1, keepdim=True)


class RootMean(nn.Module):
    """Standard deviation over channels that are all equal at some places."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(x - 2)
        return x.var(1, keepdim=True).sqrt() + x


class Masked(nn.Module):
    """Attention that leaves out everything."""

    def forward(self, x: Tensor) -> Tensor:
        scores = (x @ x.mT).masked_fill(torch.ones(x.shape[1], x.shape[1], dtype=torch.bool), float("-inf"))
        return scores.softmax(-1) @ x


def with_block(block: nn.Module, at: int = 1) -> nn.Module:
    model = Transformer()
    model.blocks.insert(at, block)
    return model


def one_large_step(model: nn.Module, batches: tasks.Batches, lr: float) -> None:
    loss = classify(model, batches)
    train(Subject(model, loss, SGD(model.parameters(), lr=lr)), 3)


def after_a_large_step(make: Callable[[], nn.Module], lr: float, task=tasks.vectors):
    def build(seed: int) -> Subject:
        seeded(seed)
        model, batches = make(), task()
        one_large_step(model, batches, lr)
        return Subject(model, classify(model, batches), Adam(model.parameters(), lr=1e-3))

    return build


def scaled_loss(make: Callable[[], nn.Module], scale: float, task=tasks.vectors):
    def build(seed: int) -> Subject:
        seeded(seed)
        model = make()
        return Subject(model, classify(model, task(), scale), Adam(model.parameters(), lr=1e-3))

    return build


def grouped(make: Callable[[], nn.Module], frozen: tuple[str, ...], task=tasks.vectors):
    """A parameter group whose learning rate was forgotten at next to nothing."""

    def build(seed: int) -> Subject:
        seeded(seed)
        model = make()
        slow = [p for name, p in model.named_parameters() if name.startswith(frozen)]
        fast = [p for name, p in model.named_parameters() if not name.startswith(frozen)]
        optimizer = Adam([{"params": fast, "lr": 1e-3}, {"params": slow, "lr": 1e-9}])
        return Subject(model, classify(model, task()), optimizer)

    return build


def half_precision(scale: float):
    """Float16 throughout, and a loss too small for it."""

    def build(seed: int) -> Subject:
        seeded(seed)
        model, batches = mlp(nn.ReLU, 4, gain=HE).half(), tasks.vectors()

        def compute_loss() -> Tensor:
            x, y = batches()
            return functional.cross_entropy(model(x.half()), y) * scale

        return Subject(model, compute_loss, SGD(model.parameters(), lr=0.05))

    return build


def bfloat_steps(seed: int) -> Subject:
    """Bfloat16 weights and steps of a thousandth of what it can tell apart."""
    seeded(seed)
    model, batches = mlp(nn.ReLU, 4, gain=HE).bfloat16(), tasks.vectors()

    def compute_loss() -> Tensor:
        x, y = batches()
        return functional.cross_entropy(model(x.bfloat16()).float(), y)

    return Subject(model, compute_loss, SGD(model.parameters(), lr=1e-6))


def u_net(act: type[nn.Module], depth: int = 6) -> nn.Module:
    conv = partial(nn.Conv2d, kernel_size=3, padding=1)
    branch = nn.Sequential(*[m for _ in range(depth) for m in (conv(8, 8), act())])
    head = nn.Sequential(conv(16, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, CLASSES))
    return Around(nn.Sequential(conv(3, 8), nn.ReLU()), branch, head)


def around_mlp() -> nn.Module:
    return Around(nn.Linear(64, 64), mlp(nn.Sigmoid, 6)[:-1], nn.Linear(128, CLASSES))


def around_tokens() -> nn.Module:
    model = Transformer(style="bare")
    model.blocks[1] = Residual(mlp(nn.Sigmoid, 6, width=32)[:-1])
    return model


def bare_residual_cnn(depth: int, gain: float = 2.0, width: int = 16) -> nn.Module:
    """Residual blocks without a norm to keep them in bounds."""
    conv = lambda: scaled(nn.Conv2d(width, width, 3, padding=1), gain)  # noqa: E731  # short
    blocks = [Residual(nn.Sequential(conv(), nn.ReLU(), conv())) for _ in range(depth)]
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES)
    )


def forgetful(model: Recurrent) -> Recurrent:
    """Forget gates that are shut."""
    nn.init.constant_(model.rnn.bias_ih_l0[32:64].data, -4.0)
    return model


class OwnCell(nn.Module):
    """A recurrence written as a loop."""

    def __init__(self, radius: float, act: Callable[[Tensor], Tensor] = torch.tanh):
        super().__init__()
        self.inp, self.rec, self.head = nn.Linear(8, 32), nn.Linear(32, 32, bias=False), nn.Linear(32, CLASSES)
        nn.init.orthogonal_(self.rec.weight, radius)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(len(x), 32)
        for t in range(x.shape[1]):
            h = self.act(self.inp(x[:, t]) + self.rec(h))
        return self.head(h)


UP, DOWN = ("UT102",), ("UT101",)
small = partial(tasks.series, scale=0.02)
sgd10 = partial(SGD, lr=10.0)

TABLE = [
    # the seven of the peers' table (E is healthy) and the book's own
    ("A: book, 4 hidden layers", "mlp", book_net(4), DOWN, "0"),
    ("book, 3 hidden layers", "mlp", book_net(3), DOWN, "0"),
    ("B: sigmoid 10x64, torch default", "mlp", of(lambda: mlp(nn.Sigmoid, 10), tasks.vectors), DOWN, "0"),
    ("C: ReLU 20x64, torch default", "mlp", of(lambda: mlp(nn.ReLU, 20), tasks.vectors), DOWN, "0"),
    ("D: tanh 20x64, torch default", "mlp", of(lambda: mlp(nn.Tanh, 20), tasks.vectors), DOWN, "0"),
    ("F: ReLU 20x64, twice He", "mlp", of(lambda: mlp(nn.ReLU, 20, gain=2 * HE), tasks.vectors), UP, "0"),
    ("G: tanh 30x64, sigma_w 2.5", "mlp", of(lambda: mlp(nn.Tanh, 30, gain=2.5), tasks.vectors), UP, "0"),
    # scale of the weights, depth
    ("ReLU 8x64, a tenth of He", "mlp", of(lambda: mlp(nn.ReLU, 8, gain=0.1 * HE), tasks.vectors), DOWN, "0"),
    ("ReLU 12x64, 3x He", "mlp", of(lambda: mlp(nn.ReLU, 12, gain=3 * HE), tasks.vectors), UP, "0"),
    ("linear 16x64, gain 0.7", "mlp", of(lambda: mlp(nn.Identity, 16, gain=0.7), tasks.vectors), DOWN, "0"),
    ("GELU 16x64, torch default", "smooth-mlp", of(lambda: mlp(nn.GELU, 16), tasks.vectors), DOWN, "0"),
    ("SiLU 16x64, torch default", "smooth-mlp", of(lambda: mlp(nn.SiLU, 16), tasks.vectors), DOWN, "0"),
    ("softplus 10x64, torch default", "smooth-mlp", of(lambda: mlp(nn.Softplus, 10), tasks.vectors), DOWN, "0"),
    ("GELU 16x64, gain 4", "smooth-mlp", of(lambda: mlp(nn.GELU, 16, gain=4.0), tasks.vectors), UP, "0"),
    ("leaky ReLU 20x64, 2x He", "smooth-mlp", of(lambda: mlp(nn.LeakyReLU, 20, gain=2 * HE), tasks.vectors), UP, "0"),
    ("ReLU 40x64, He less a third", "mlp", of(lambda: mlp(nn.ReLU, 40, gain=HE / 1.5), tasks.vectors), DOWN, "0"),
    ("conv 14, torch default", "cnn", of(lambda: cnn(nn.ReLU, 14), tasks.images), DOWN, "0"),
    ("conv 7, sigmoid", "cnn", of(lambda: cnn(nn.Sigmoid, 7), tasks.images), DOWN, "0"),
    ("conv 12, 2x He", "cnn", of(lambda: cnn(nn.ReLU, 12, gain=2 * HE), tasks.images), UP, "0"),
    ("conv 10, a fifth of He", "cnn", of(lambda: cnn(nn.ReLU, 10, gain=0.2 * HE), tasks.images), DOWN, "0"),
    ("conv 30, tanh", "cnn", of(lambda: cnn(nn.Tanh, 30), tasks.images), DOWN, "0"),
    ("residual conv 12, no norm", "residual-cnn", of(lambda: bare_residual_cnn(12), tasks.images), UP, "0"),
    ("residual conv 30, no norm", "residual-cnn", of(lambda: bare_residual_cnn(30), tasks.images), UP, "0"),
    ("residuals missing, conv 20", "residual-cnn", of(lambda: cnn(nn.GELU, 20), tasks.images), DOWN, "0"),
    ("residuals missing, transformer", "transformer", of(partial(Transformer, 4, style="chain"), tasks.tokens), DOWN, "embed"),
    ("residuals missing, transformer, 8", "transformer", of(partial(Transformer, 8, style="chain"), tasks.tokens), DOWN, "embed"),
    ("norm missing, transformer, 12", "transformer", of(partial(Transformer, 10, style="bare", gain=1.8), tasks.tokens), UP, "embed"),
    ("encoder without residuals, images", "vision", of(lambda: vision_chain(5), tasks.images), DOWN, "0.0"),
    # through time
    ("tanh RNN, radius 0.5", "rnn", of(lambda: Recurrent(nn.RNN, 0.5), tasks.series), ("UT107", "UT101"), "rnn"),
    ("tanh RNN, radius 0.5, every step", "rnn", of(lambda: Recurrent(nn.RNN, 0.5, every=True), tasks.series), ("UT107",), "rnn"),
    ("own cell, radius 0.5", "rnn", of(lambda: OwnCell(0.5), small), ("UT107", "UT101"), "rec"),
    ("own cell, sigmoid", "rnn", of(lambda: OwnCell(1.0, torch.sigmoid), tasks.series), ("UT107", "UT101"), "rec"),
    ("tanh RNN, torch default, 60 steps", "rnn", of(lambda: Recurrent(nn.RNN), partial(tasks.series, 60)), ("UT107",), "rnn"),
    ("ReLU RNN, radius 2", "rnn", of(lambda: Recurrent(nn.RNN, 2.0, nonlinearity="relu"), small), UP, "rnn"),
    ("tanh RNN, radius 2, small inputs", "rnn", of(lambda: Recurrent(nn.RNN, 2.0), partial(tasks.series, scale=1e-7)), UP, "rnn"),
    ("own cell, linear, radius 1.5", "rnn", of(lambda: OwnCell(1.5, lambda x: x), small), UP, ""),
    ("LSTM, forget gates shut", "gated-rnn", of(lambda: forgetful(Recurrent(nn.LSTM)), tasks.series), ("UT107", "UT101"), "rnn"),
    ("LSTM, forget gates shut, every step", "gated-rnn", of(lambda: forgetful(Recurrent(nn.LSTM, every=True)), tasks.series), ("UT107",), "rnn"),
    # activations
    ("tanh, inputs x100", "mlp", of(lambda: mlp(nn.Tanh, 3, gain=1.0), partial(tasks.vectors, scale=100.0)), ("UT201",), "1"),
    ("sigmoid, inputs x1000", "mlp", of(lambda: mlp(nn.Sigmoid, 2), partial(tasks.vectors, scale=1000.0)), ("UT201",), "1"),
    ("tanh 4x64, sigma_w 20", "mlp", of(lambda: mlp(nn.Tanh, 4, gain=20.0), tasks.vectors), ("UT201",), "3"),
    ("conv, tanh, pixels 0 to 255", "cnn", of(lambda: cnn(nn.Tanh, 3), partial(tasks.images, scale=60.0, shift=2.0)), ("UT201",), "1"),
    ("tanh RNN, inputs x100", "rnn", of(lambda: Recurrent(nn.RNN, 1.0), partial(tasks.series, scale=100.0)), ("UT201",), "rnn"),
    ("transformer, sigmoid feed-forward x100", "transformer", spoiled(partial(Transformer, act=nn.Sigmoid), times(100.0, "blocks.1.1.branch.0"), tasks.tokens), ("UT201",), "blocks.1.1.branch.1"),
    ("dead ReLU by bias -10", "mlp", spoiled(he_mlp, biased("2", -10.0)), ("UT202",), "3"),
    ("dead ReLU by bias -10, conv", "cnn", spoiled(he_cnn, biased("4", -10.0), tasks.images), ("UT202",), "5"),
    ("dead ReLU, transformer", "transformer", spoiled(partial(Transformer, act=nn.ReLU), biased("blocks.2.1.branch.0", -30.0), tasks.tokens), ("UT202",), "blocks.2.1.branch.1"),
    ("dead ReLU after large steps", "mlp", after_a_large_step(he_mlp, 30.0), ("UT202", "UT103"), ""),
    ("dead ReLU after large steps, conv", "cnn", after_a_large_step(he_cnn, 30.0, tasks.images), ("UT202", "UT103"), ""),
    ("dead ReLU RNN", "rnn", spoiled(lambda: Recurrent(nn.RNN, 1.0, nonlinearity="relu"), lambda m: nn.init.constant_(m.rnn.bias_ih_l0, -30.0), tasks.series), ("UT202",), "rnn"),
    # symmetry
    ("constant layer", "mlp", spoiled(he_mlp, constant("2")), ("UT302",), "2"),
    ("constant kernels", "cnn", spoiled(he_cnn, constant("2"), tasks.images), ("UT302",), "2"),
    ("constant recurrence", "rnn", spoiled(lambda: Recurrent(nn.RNN, 0.9), lambda m: nn.init.constant_(m.rnn.weight_hh_l0, 0.02), tasks.series), ("UT302",), "rnn"),
    ("constant feed-forward", "transformer", spoiled(Transformer, constant("blocks.1.1.branch.0"), tasks.tokens), ("UT302",), "blocks.1.1.branch.0"),
    # branches and graph
    ("U-Net, sigmoid bottleneck", "branched-cnn", of(lambda: u_net(nn.Sigmoid), tasks.images), ("UT106",), "branch.0"),
    ("bottleneck beside a skip", "residual-mlp", of(around_mlp, tasks.vectors), ("UT106",), "branch.0"),
    ("a residual branch of six sigmoids", "transformer", of(around_tokens, tasks.tokens), ("UT106",), "blocks.1.branch.0"),
    ("detached branch", "residual-mlp", wrapped(he_mlp, detached_branch), ("UT501",), "net.2.weight"),
    ("encoder under no_grad", "mlp", wrapped(he_mlp, under_no_grad), ("UT501",), "net.0.weight"),
    ("hard choice", "mlp", wrapped(he_mlp, hard_choice), ("UT501",), "net.0.weight"),
    ("rounded code", "autoencoder", wrapped(he_mlp, rounded), ("UT501",), "net.0.weight"),
    ("forgotten layer", "cnn", of(lambda: forgotten(he_cnn), tasks.images), ("UT501",), "forgotten.weight"),
    ("forgotten position embedding", "transformer", of(lambda: placeless(), tasks.tokens), ("UT501",), "place"),
    ("recurrent state detached from its layer", "rnn", wrapped(lambda: Recurrent(nn.RNN), lambda net, x: net.head(net.rnn(x)[0].detach()[:, -1]), tasks.series), ("UT501",), "net.rnn.weight_hh_l0"),
    # inf and nan
    ("log of softmax", "mlp", losing(he_mlp, log_of_softmax), ("UT103",), "the loss"),
    ("softmax by hand", "mlp", losing(he_mlp, own_softmax), ("UT103",), "the loss"),
    ("sqrt masked too late", "mlp", losing(he_mlp, masked_too_late), ("UT103",), "sqrt"),
    ("division by a norm of zero", "mlp", of(lambda: mlp(Normalised, 2), tasks.vectors), ("UT103",), "1"),
    ("sqrt of a variance of zero", "cnn", of(lambda: cnn(RootMean, 2), tasks.images), ("UT103",), "3"),
    ("attention masked altogether", "transformer", of(lambda: with_block(Masked()), tasks.tokens), ("UT103",), "blocks.1"),
    ("RNN that overflows", "rnn", of(lambda: Recurrent(nn.RNN, 500.0, nonlinearity="relu"), tasks.series), ("UT103",), "rnn"),
    ("float16 overflow", "mlp", half_precision(1e6), ("UT103",), ""),
    ("float16 underflow", "mlp", half_precision(1e-6), ("UT404",), ""),
    # the optimizer
    ("SGD, lr 10", "mlp", of(he_mlp, tasks.vectors, sgd10), ("UT401",), ""),
    ("Adam, lr 0.3", "mlp", of(he_mlp, tasks.vectors, partial(Adam, lr=0.3)), ("UT401",), ""),
    ("Adam, lr 0.1, transformer", "transformer", of(Transformer, tasks.tokens, partial(Adam, lr=0.1)), ("UT401",), ""),
    ("SGD, lr 10, conv", "cnn", of(he_cnn, tasks.images, sgd10), ("UT401",), ""),
    ("Adam, lr 0.3, LSTM", "gated-rnn", of(lambda: Recurrent(nn.LSTM), tasks.series, partial(Adam, lr=0.3)), ("UT401",), ""),
    ("SGD, lr 1e-9", "mlp", of(he_mlp, tasks.vectors, partial(SGD, lr=1e-9)), ("UT401",), ""),
    ("bfloat16, steps rounded away", "mlp", bfloat_steps, ("UT401",), ""),
    ("front layers at lr 1e-9", "mlp", grouped(he_mlp, ("0", "2")), ("UT104",), "0"),
    ("front layers at lr 1e-9, transformer", "transformer", grouped(Transformer, ("embed", "place", "blocks.0", "blocks.1"), tasks.tokens), ("UT104",), "blocks.0.0.branch.out"),
    ("back layers at lr 1e-9, conv", "cnn", grouped(he_cnn, ("4", "6", "10"), tasks.images), ("UT105",), "6"),
    ("loss x1e-9 under Adam", "mlp", scaled_loss(he_mlp, 1e-9), ("UT402",), ""),
    ("loss x1e-8 under Adam, transformer", "transformer", scaled_loss(Transformer, 1e-8, tasks.tokens), ("UT402",), ""),
    ("loss x1e-9 under Adam, conv", "cnn", scaled_loss(he_cnn, 1e-9, tasks.images), ("UT402",), ""),
]  # fmt: skip


def vision_chain(depth: int) -> nn.Module:
    """Patches and a chain of attention and feed-forward without residual connections."""
    width = 32
    blocks = [
        nn.Sequential(Attention(width), nn.Linear(width, 64), nn.GELU(), nn.Linear(64, width)) for _ in range(depth)
    ]
    patches = nn.Sequential(nn.Conv2d(3, width, 4, 4), nn.Flatten(2))
    return nn.Sequential(patches, Turned(), *blocks, Averaged(), nn.Linear(width, CLASSES))


class Turned(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mT


class Averaged(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def placeless() -> nn.Module:
    model = Transformer()
    model.forward = lambda x: model.head(model.norm(nn.Sequential(*model.blocks)(model.embed(x))).mean(1))
    return model


CASES = [Case(name, family, build, codes, place, steps=30) for name, family, build, codes, place in TABLE]
