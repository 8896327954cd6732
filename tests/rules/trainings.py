"""Real training runs of a few seconds: what goes wrong, and its healthy twin. Each is watched at every step."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import undertow
from undertow.record import Run

Loss = Callable[[nn.Module, int], Tensor]


def chain(activation: Callable[[], nn.Module], depth: int, width: int = 24, gain: float | None = None) -> nn.Sequential:
    """Plain layers from 8 inputs to 4 outputs; weights of variance gain / n_in, or torch's own."""
    layers: list[nn.Module] = []
    for number in range(depth):
        layers += [nn.Linear(8 if number == 0 else width, width), activation()]
    net = nn.Sequential(*layers, nn.Linear(width, 4))
    for layer in net:
        if isinstance(layer, nn.Linear) and gain is not None:
            nn.init.normal_(layer.weight, std=math.sqrt(gain / layer.in_features))
            nn.init.zeros_(layer.bias)
    return net


def batches(rows: int = 64, seed: int = 1) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Four classes, told apart by a curved boundary; another batch for every step."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(8, 4, generator=generator)

    def at(step: int) -> tuple[Tensor, Tensor]:
        drawn = torch.Generator().manual_seed(1000 * seed + step)
        x = torch.randn(rows, 8, generator=drawn)
        return x, (torch.tanh(x) @ directions + 0.5 * (x[:, :4] * x[:, 4:])).argmax(1)

    return at


def classified(rows: int = 64) -> Loss:
    data = batches(rows)

    def loss(model: nn.Module, step: int) -> Tensor:
        x, y = data(step)
        return functional.cross_entropy(model(x), y)

    return loss


def learned_by_heart(rows: int = 32) -> Loss:
    """The same few examples again and again."""
    x, y = batches(rows)(0)
    return lambda model, _: functional.cross_entropy(model(x), y)


def adam(model: nn.Module, lr: float = 1e-3, **settings: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=lr, **settings)


def sgd(model: nn.Module, lr: float = 0.1, **settings: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr, **settings)


def train(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Loss,
    steps: int,
    clip: float | None = None,
    lr: Callable[..., float] | None = None,
    before: Callable[[nn.Module, int], object] = lambda *_: None,
    **settings: Any,
) -> Run:
    """Train under the watcher and read the Run back; ``lr``: factor of the learning rate by step and group."""
    base = [group["lr"] for group in optimizer.param_groups]
    with undertow.watch(model, optimizer, folder / "run.undertow", **{"every": 1, **settings}) as watcher:
        for step in range(steps):
            before(model, step)
            for number, (group, full) in enumerate(zip(optimizer.param_groups, base, strict=True)):
                group["lr"] = full * (lr(step, number) if lr is not None else 1.0)
            optimizer.zero_grad()
            value = loss(model, step)
            value.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
    return undertow.open_run(watcher.path)


class Block(nn.Module):
    """A transformer's block; with ``pre`` the normalisation comes first."""

    def __init__(self, width: int, pre: bool) -> None:
        super().__init__()
        self.pre = pre
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def attend(self, x: Tensor) -> Tensor:
        rows, length, width = x.shape
        q, k, v = self.qkv(x).view(rows, length, 3, 4, width // 4).permute(2, 0, 3, 1, 4)
        mixed = (q @ k.transpose(-1, -2) / math.sqrt(width // 4)).softmax(-1) @ v
        return self.out(mixed.transpose(1, 2).reshape(rows, length, width))

    def forward(self, x: Tensor) -> Tensor:
        for norm, branch in zip(
            self.norms, (self.attend, lambda z: self.down(functional.gelu(self.up(z)))), strict=True
        ):
            x = x + branch(norm(x)) if self.pre else norm(x + branch(x))
        return x


class Transformer(nn.Module):
    def __init__(self, depth: int, pre: bool, width: int = 32, words: int = 16, length: int = 16) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Parameter(0.02 * torch.randn(length, width))
        self.blocks = nn.Sequential(*(Block(width, pre) for _ in range(depth)))
        self.norm = nn.LayerNorm(width) if pre else nn.Identity()
        self.head = nn.Linear(width, words)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.words(x) + self.places)))


def added_up(rows: int = 8, length: int = 8, words: int = 8) -> Loss:
    """Every word plus the one before it."""

    def loss(model: nn.Module, step: int) -> Tensor:
        x = torch.randint(words, (rows, length), generator=torch.Generator().manual_seed(step))
        return functional.cross_entropy(model(x).flatten(0, 1), ((x + x.roll(1, 1)) % words).flatten())

    return loss


def warm_up(steps: int) -> Callable[..., float]:
    return lambda step, *_: min(1.0, (step + 1) / steps)


def cosine(steps: int) -> Callable[..., float]:
    return lambda step, *_: 0.5 * (1 + math.cos(math.pi * step / steps))


def adversaries(folder: Path, steps: int = 150) -> Run:
    """Two optimizers that pull against each other."""
    model = nn.ModuleDict(
        {
            "maker": chain(nn.ReLU, 2, gain=2.0),
            "judge": nn.Sequential(
                nn.Linear(4, 24), nn.LeakyReLU(0.2), nn.Linear(24, 24), nn.LeakyReLU(0.2), nn.Linear(24, 1)
            ),
        }
    )
    optimizers = [
        torch.optim.Adam(model[name].parameters(), lr=1e-3, betas=(0.5, 0.999)) for name in ("judge", "maker")
    ]
    with undertow.watch(model, optimizers, folder / "run.undertow", every=1) as watcher:
        for step in range(steps):
            drawn = torch.Generator().manual_seed(step)
            real, noise = torch.randn(64, 4, generator=drawn) * 0.5 + 1, torch.randn(64, 8, generator=drawn)
            optimizers[1].zero_grad()
            functional.softplus(-model["judge"](model["maker"](noise))).mean().backward()
            optimizers[1].step()
            optimizers[0].zero_grad()
            made = model["maker"](noise).detach()
            (functional.softplus(-model["judge"](real)) + functional.softplus(model["judge"](made))).mean().backward()
            optimizers[0].step()
    return undertow.open_run(watcher.path)


def normalised() -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in range(4):
        layers += [nn.Linear(8 if number == 0 else 24, 24), nn.BatchNorm1d(24), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(24, 4))


def headless() -> nn.Sequential:
    """A last layer of zeros, as some begin on purpose."""
    net = chain(nn.ReLU, 4, gain=2.0)
    nn.init.zeros_(net[-1].weight)
    return net


def halves(net: nn.Sequential, lr: float = 0.1) -> torch.optim.Optimizer:
    """Two groups: the front layers and the back ones."""
    layers = [layer for layer in net if isinstance(layer, nn.Linear)]
    middle = (len(layers) + 1) // 2
    groups = [[p for layer in part for p in layer.parameters()] for part in (layers[:middle], layers[middle:])]
    return torch.optim.SGD([{"params": group} for group in groups], lr=lr)


def broken_batch(at: int) -> Loss:
    """One example of one batch is infinite."""
    data = batches()

    def loss(model: nn.Module, step: int) -> Tensor:
        x, y = data(step)
        if step == at:
            x[3, 2] = math.inf
        return functional.cross_entropy(model(x), y)

    return loss


def odd_batch(at: int) -> Loss:
    """One batch of inputs a thousand times too large."""
    data = batches()

    def loss(model: nn.Module, step: int) -> Tensor:
        x, y = data(step)
        return functional.cross_entropy(model(1000 * x if step == at else x), y)

    return loss


def in_turns(folder: Path, steps: int = 45) -> Run:
    """Two of three steps go through one net, the third through another whose gradient vanishes."""
    model = nn.ModuleDict({"often": _relu(), "seldom": _sigmoid()})
    data = batches()

    def loss(model: nn.Module, step: int) -> Tensor:
        x, y = data(step)
        return functional.cross_entropy(model["seldom" if step % 3 == 2 else "often"](x), y)

    return train(folder, model, sgd(model), loss, steps)


def scaled(folder: Path, steps: int = 60) -> Run:
    """A loss scaler that begins far too high, and skips steps until it has found its scale."""
    model = chain(nn.ReLU, 4, gain=2.0)
    optimizer, data = sgd(model), batches()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**30, growth_interval=1000)
    with undertow.watch(model, optimizer, folder / "run.undertow", every=1, scaler=scaler) as watcher:
        for step in range(steps):
            optimizer.zero_grad()
            x, y = data(step)
            scaler.scale(functional.cross_entropy(model(x).half().float(), y)).backward()
            scaler.step(optimizer)
            scaler.update()
    return undertow.open_run(watcher.path)


def in_half(scale: Callable[[int], float], steps: int = 60) -> Callable[[Path], Run]:
    """Weights of float16; the loss is scaled by hand, the gradients divided again before the step."""

    def run(folder: Path) -> Run:
        model = chain(nn.ReLU, 3, gain=2.0).half()
        optimizer, data = sgd(model), batches()
        with undertow.watch(model, optimizer, folder / "run.undertow", every=1) as watcher:
            for step in range(steps):
                optimizer.zero_grad()
                x, y = data(step)
                loss = functional.cross_entropy(model(x.half()).float(), y)
                (scale(step) * loss).backward()
                for parameter in model.parameters():
                    parameter.grad.div_(scale(step))
                optimizer.step()
                watcher.log(loss=loss)
        return undertow.open_run(watcher.path)

    return run


def small_in_half(folder: Path, scale: float, steps: int = 30) -> Run:
    """The gradient of a loss a million times too small, in weights of float16; a scaler makes it large, or doesn't."""
    model = chain(nn.ReLU, 3, gain=2.0).half()
    optimizer, data = adam(model, eps=1e-4, fused=True), batches()
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    settings = {"every": 1, "scaler": scaler, "on_finding": lambda _: None}  # judged while it trains, too
    with undertow.watch(model, optimizer, folder / "run.undertow", **settings) as watcher:
        for step in range(steps):
            optimizer.zero_grad()
            x, y = data(step)
            scaler.scale(1e-6 * functional.cross_entropy(model(x.half()).float(), y)).backward()
            scaler.step(optimizer)
            scaler.update()
    return undertow.open_run(watcher.path)


def transformer(folder: Path, pre: bool, warm: int = 0, steps: int = 80) -> Run:
    model = Transformer(12, pre, width=16, words=8, length=8)
    return train(folder, model, adam(model, 4e-3), added_up(), steps, lr=warm_up(warm) if warm else None, every=4)


def _of(
    make: Callable[[], nn.Module],
    by: Callable[[Any], torch.optim.Optimizer],
    loss: Callable[[], Loss],
    steps: int,
    **settings: Any,
) -> Callable[[Path], Run]:
    def run(folder: Path) -> Run:
        model = make()
        return train(folder, model, by(model), loss(), steps, **settings)

    return run


def _relu() -> nn.Module:
    return chain(nn.ReLU, 4, gain=2.0)


def _tanh() -> nn.Module:
    return chain(nn.Tanh, 5, gain=1.0)


def _sigmoid() -> nn.Module:
    return chain(nn.Sigmoid, 8)


def _jump(at: int, factor: float) -> Callable[..., float]:
    return lambda step, *_: factor if step == at else 1.0


def _still(group: int, since: int, until: int = 10**9) -> Callable[..., float]:
    """A group's learning rate, a millionth for some steps."""
    return lambda step, number: 1e-6 if number == group and since <= step < until else 1.0


HEALTHY: dict[str, Callable[[Path], Run]] = {
    "adam": _of(_relu, lambda m: adam(m, 3e-3), classified, 150),
    "momentum": _of(_tanh, lambda m: sgd(m, 0.05, momentum=0.9), classified, 100),
    "by heart": _of(_relu, lambda m: adam(m, 3e-3), learned_by_heart, 250),
    "warm-up": _of(_relu, lambda m: adam(m, 3e-3), classified, 120, lr=warm_up(60)),
    "decay to nothing": _of(_relu, lambda m: adam(m, 3e-3), classified, 150, lr=cosine(149)),
    "batch norm": _of(normalised, lambda m: sgd(m, momentum=0.9), classified, 120),
    "clipped a little": _of(_relu, lambda m: adam(m, 3e-3), classified, 100, clip=1.0),
    "zero head": _of(headless, sgd, classified, 100),
    "two optimizers": adversaries,
    "scaler": scaled,
    "float16": in_half(lambda _: 0.125),
    "frozen on purpose": _of(_tanh, halves, classified, 60, lr=lambda step, number: float(number == 1 or step > 30)),
    "hard batches": _of(_relu, lambda m: adam(m, 3e-3), lambda: classified(4), 200),
    "pre-norm": lambda folder: transformer(folder, pre=True),
    "post-norm, warmed up": lambda folder: transformer(folder, pre=False, warm=80),
}
FAULTY: dict[str, Callable[[Path], Run]] = {
    "vanishing": _of(_sigmoid, sgd, classified, 60),
    "vanishing, one batch": _of(_sigmoid, sgd, learned_by_heart, 80),
    "front still": _of(_tanh, halves, classified, 120, lr=_still(0, 50)),
    "front still for a while": _of(_tanh, halves, classified, 150, lr=_still(0, 50, 100)),
    "back still": _of(_tanh, halves, classified, 120, lr=_still(1, 50)),
    "thrown away": _of(_relu, sgd, classified, 120, lr=_jump(60, 3000.0)),
    "dying": _of(_relu, sgd, classified, 140, lr=_jump(60, 300.0)),
    "odd batch": _of(_relu, lambda m: adam(m, 0.02), lambda: odd_batch(60), 120),
    "spike": _of(_relu, sgd, classified, 120, lr=_jump(60, 40.0)),
    "infinite": _of(_tanh, sgd, lambda: broken_batch(37), 60),
    "infinite in the middle": _of(_relu, sgd, lambda: broken_batch(37), 60),
    "clipped hard": _of(_relu, sgd, classified, 60, clip=0.01),
    "large epsilon": _of(_relu, lambda m: adam(m, 3e-3, eps=1e-1), classified, 60),
    "in turns": in_turns,
    "float16 runs dry": in_half(lambda step: 1.0 if step < 30 else 1e-7),
    "float16 runs dry early": in_half(lambda step: 1.0 if step < 15 else 1e-7),
    "small in float16": lambda folder: small_in_half(folder, 1.0),
    "small in float16, scaled": lambda folder: small_in_half(folder, 2.0**16),
    "post-norm": lambda folder: transformer(folder, pre=False),
}
