"""What a step costs under examine: against the plain step, against the number of operations, and in memory.

The step is forward, backward and update. Under examine it is taped: every operation hooked, everything measured, and
the numbers brought off the device, as `undertow.examine` does for each of its ``repeats``. A whole call looks closer,
judges, and puts everything back as well.

    OMP_NUM_THREADS=1 python benchmarks/examine.py
    OMP_NUM_THREADS=1 python benchmarks/examine.py --only cost --models wide "wide transformer"
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
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

ASKED = {"book": "taped 3.5", "wide": "1.25", "wide transformer": "1.35"}
"""At most so many times the plain step, of a whole call where nothing else is said."""

LENGTHS = (10, 30, 100, 300, 1000)
LONG = 10_000
"""Operations of the graph that is printed and drawn, too."""


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
            with Tape(self.plans, Meter(inflow=True, lasting=True)) as tape:
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


def transformer(width: int = 128, tokens: int = 64) -> Subject:
    layer = nn.TransformerEncoderLayer(width, width // 32, 4 * width, 0.0, batch_first=True, norm_first=True)
    net = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
    x = torch.randn(16, tokens, width)
    return Subject(net, lambda: net(x).square().mean(), 1)


MODELS: dict[str, Callable[[], Subject]] = {
    "book": book,
    "mlp": mlp,
    "transformer": transformer,
    "wide": lambda: mlp(512, 512),
    "wide transformer": lambda: transformer(256, 128),
}


def chain(operations: int) -> Subject:
    net = nn.Sequential(*(m for _ in range(operations // 2) for m in (nn.Linear(16, 16), nn.Tanh())))
    x = torch.randn(16, 16)
    return Subject(net, lambda: net(x).square().mean(), max(1, 100 // operations))


def costs(rounds: int, names: Sequence[str]) -> dict[str, Any]:
    found = {}
    for name in names:
        subject = MODELS[name]()
        contenders = {each: getattr(subject, each) for each in ("plain", "taped", "first", "examined")}
        times = measure(contenders, rounds)
        found[name] = {
            "plain_ms": times.best("plain") / subject.steps * 1e3,
            **{each: times.ratio(each, "plain") for each in ("taped", "first", "examined")},
            "asked": ASKED.get(name, ""),
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


def long() -> dict[str, float]:
    """Seconds for a graph of many operations: a plain step, a whole call of examine, its text and its page."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        for operations in (10, LONG):  # the short one loads what is loaded once
            subject = chain(operations)
            times = {"plain": _seconds(subject.plain), "examined": _seconds(subject.examined)}
        report = undertow.examine(subject.model, subject.compute_loss)
        str(report), report.save(page)  # loads what drawing takes
        return times | {"text": _seconds(lambda: str(report)), "page": _seconds(lambda: report.save(page))}


def _seconds(act: Callable[[], object]) -> float:
    start = time.process_time()
    act()
    return time.process_time() - start


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


def show_costs(found: dict[str, Any]) -> None:
    kinds = ("taped", "first", "examined", "asked")
    print("\nx the plain step; 'examined' is a whole call of examine, with its judging\n")
    rows = [[n, f"{c['plain_ms']:.2f}", *(f"{c[k]:.2f}" for k in kinds[:3]), c["asked"]] for n, c in found.items()]
    print(table(["", "plain, ms", "taped", "taped, graph unknown", "examined", "asked"], rows))


def show_growth(found: dict[str, Any]) -> None:
    print("\nagainst the number of operations\n")
    rows = [[n, f"{g['ratio']:.1f}", f"{g['us_per_operation']:.0f}"] for n, g in found.items()]
    print(table(["operations", "x plain", "µs more for each"], rows))


def show_long(found: dict[str, float]) -> None:
    print(f"\na graph of {LONG:,} operations, seconds\n")
    print(table(list(found), [[f"{seconds:.2f}" for seconds in found.values()]]))


def show_memory(found: dict[str, Any]) -> None:
    print("\npeak memory\n")
    rows = [[n, f"{m['plain_mb']:.1f}", f"{m['taped_mb']:.1f}", f"{m['extra']:.1%}"] for n, m in found.items()]
    print(table(["", "plain, MB", "taped, MB", "more"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description="What examine costs, on one thread.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", nargs="*", choices=["cost", "growth", "long", "memory"], help="parts; all by default")
    parser.add_argument("--models", nargs="*", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--json", type=Path, help="also write everything there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    parts: dict[str, tuple[Callable[[], Any], Callable[[Any], None]]] = {
        "cost": (lambda: costs(options.rounds, options.models), show_costs),
        "growth": (lambda: growth(max(5, options.rounds // 3)), show_growth),
        "long": (long, show_long),
        "memory": (memory, show_memory),
    }
    results = {}
    for name, (find, show) in parts.items():
        if options.only is None or name in options.only:
            results[name] = find()
            show(results[name])
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
