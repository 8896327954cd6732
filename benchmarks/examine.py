"""What a step costs under examine: against the plain step, against the number of operations, and in memory.

The step is forward, backward and update. Under examine it is taped: every operation hooked, everything measured, and
the numbers brought off the device, as `undertow.examine` does for each of its ``repeats``. The judging afterwards is
given as a time of its own.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import undertow
from rounds import measure, table
from undertow.measure import Meter, measure_parameters
from undertow.tape import Plans, Tape

ASKED = {"book": 3.0, "mlp": 1.5, "transformer": 1.5}
LENGTHS = (10, 30, 100, 300, 1000)


@dataclass
class Subject:
    """A model with its loss; ``steps`` are timed together, so that the clock's grain doesn't show."""

    model: nn.Module
    compute_loss: Callable[[], Tensor]
    steps: int

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-6)
        self.parameters = dict(self.model.named_parameters())
        self.plans = Plans(self.model)

    def plain(self) -> None:
        for _ in range(self.steps):
            self.optimizer.zero_grad()
            self.compute_loss().backward()
            self.optimizer.step()

    def taped(self) -> None:
        for _ in range(self.steps):
            self.optimizer.zero_grad()
            with Tape(self.plans, Meter(inflow=True)) as tape:
                loss = self.compute_loss()
                tape.attach(loss)
                loss.backward()
                measure_parameters(self.parameters, None, tape.meter)
                tape.meter.read()
            self.optimizer.step()

    def first(self) -> None:
        """The same by a Tape that knows nothing of the graph yet."""
        for _ in range(self.steps):
            self.plans = Plans(self.model)
            self.taped_once()

    def taped_once(self) -> None:
        steps, self.steps = self.steps, 1
        self.taped()
        self.steps = steps

    def examined(self) -> None:
        for _ in range(self.steps):
            undertow.examine(self.model, self.compute_loss)


def book() -> Subject:
    sizes = [784, 30, 30, 30, 30, 10]
    net = nn.Sequential(*(m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.Sigmoid())))
    for layer in net[::2]:
        nn.init.normal_(layer.weight, 0, layer.in_features**-0.5)
        nn.init.normal_(layer.bias)
    x, y = torch.rand(10, 784), torch.eye(10)
    return Subject(net, lambda: functional.binary_cross_entropy(net(x), y, reduction="sum") / 10, 100)


def mlp(width: int = 256, batch: int = 128) -> Subject:
    net = nn.Sequential(*(m for _ in range(20) for m in (nn.Linear(width, width), nn.ReLU())), nn.Linear(width, 10))
    for layer in net[::2]:
        nn.init.kaiming_normal_(layer.weight)
    x, y = torch.randn(batch, width), torch.randint(10, (batch,))
    return Subject(net, lambda: functional.cross_entropy(net(x), y), 5)


def transformer() -> Subject:
    layer = nn.TransformerEncoderLayer(128, 4, 512, 0.0, batch_first=True, norm_first=True)
    net = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
    x = torch.randn(16, 64, 128)
    return Subject(net, lambda: net(x).square().mean(), 1)


def chain(operations: int) -> Subject:
    net = nn.Sequential(*(m for _ in range(operations // 2) for m in (nn.Linear(16, 16), nn.Tanh())))
    x = torch.randn(16, 16)
    return Subject(net, lambda: net(x).square().mean(), max(1, 100 // operations))


def costs(rounds: int) -> dict[str, Any]:
    found = {}
    for name, make in (("book", book), ("mlp", mlp), ("transformer", transformer)):
        subject = make()
        contenders = {each: getattr(subject, each) for each in ("plain", "taped", "first", "examined")}
        times = measure(contenders, rounds)
        found[name] = {
            "plain_ms": times.best("plain") / subject.steps * 1e3,
            **{each: times.ratio(each, "plain") for each in ("taped", "first", "examined")},
            "asked": ASKED[name],
        }
    return found


def growth(rounds: int) -> dict[str, Any]:
    found = {}
    for operations in LENGTHS:
        subject = chain(operations)
        times = measure({"plain": subject.plain, "taped": subject.taped}, rounds)
        extra = (times.best("taped") - times.best("plain")) / subject.steps
        found[operations] = {"ratio": times.ratio("taped", "plain"), "us_per_operation": extra / operations * 1e6}
    return found


def peak(step: Callable[[], None]) -> int:
    """Most bytes that torch's allocator held at once during a step."""
    with torch.profiler.profile(profile_memory=True) as profile:
        step()
    held = most = 0
    for event in profile.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def memory() -> dict[str, Any]:
    found = {}
    for name, make in (("mlp", lambda: mlp(512, 1024)), ("transformer", transformer)):
        subject = make()
        subject.steps = 1
        for step in (subject.plain, subject.taped, subject.taped):
            peak(step)
        plain, taped = peak(subject.plain), peak(subject.taped)
        found[name] = {"plain_mb": plain / 1e6, "taped_mb": taped / 1e6, "extra": taped / plain - 1}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="What examine costs, on one thread.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="also write everything there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    results = {"cost": costs(options.rounds), "growth": growth(max(5, options.rounds // 3)), "memory": memory()}
    kinds = ("taped", "first", "examined", "asked")
    print("\nx the plain step; 'examined' is a whole call of examine, with its judging\n")
    rows = [[n, f"{c['plain_ms']:.2f}", *(f"{c[k]:.2f}" for k in kinds)] for n, c in results["cost"].items()]
    print(table(["", "plain, ms", "taped", "taped, graph unknown", "examined", "asked of taped"], rows))
    print("\nagainst the number of operations\n")
    rows = [[n, f"{g['ratio']:.1f}", f"{g['us_per_operation']:.0f}"] for n, g in results["growth"].items()]
    print(table(["operations", "x plain", "µs more for each"], rows))
    print("\npeak memory\n")
    rows = [
        [n, f"{m['plain_mb']:.1f}", f"{m['taped_mb']:.1f}", f"{m['extra']:.1%}"] for n, m in results["memory"].items()
    ]
    print(table(["", "plain, MB", "taped, MB", "more"], rows))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
