"""How fast the lab trains, beside the usual loop, JAX, and what this machine's matrix products allow.

Ratios are of medians over rounds of one run, one thread, everything in turn within each round. `README.md` says what
is measured and what came out; ``python benchmarks/lab.py --help`` how to run it.
"""

import argparse
import json
import platform
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import jitted
from rounds import Run, Times, measure, table
from scaling import scaling
from undertow.lab import Dataset, Ensemble, mnist
from usual import UsualLoop

BATCH, ETA, LMBDA, TRAINING_SET = 10, 0.5, 5.0, 50_000
DECAY = LMBDA / TRAINING_SET
SHAPES = {"1 hidden layer": [784, 30, 10], "4 hidden layers": [784, 30, 30, 30, 30, 10]}
SIDE_BY_SIDE = 16
SGEMM = (1024, 2048)
CHECKED_IMAGES = 200


def flops(sizes: Sequence[int], members: int, m: int) -> int:
    """Floating-point operations of the matrix products of one step: forward, BP2 and BP4."""
    layers = [n_in * n_out for n_in, n_out in pairwise(sizes)]
    return 2 * m * members * (sum(layers) + sum(layers[1:]) + sum(layers))


# --- do they all learn the same? ---


def check_same(data: Dataset, sizes: list[int]) -> dict[str, float]:
    """Largest difference between any two weights after one epoch from one start in one order, in float64."""
    x, labels = data.train.x[:CHECKED_IMAGES].double(), data.train.y[:CHECKED_IMAGES]
    nets, start = (Ensemble(sizes, 2, dtype=torch.float64) for _ in range(2))
    batches: list[Tensor] = []
    nets.train(
        (x, labels), 1, BATCH, ETA, DECAY * len(x),
        observe=lambda _t, signals: batches.append(_numbers_of(signals[0].input, x)),
    )  # fmt: skip
    y, ours = nets.targets(labels), [(layer.w, layer.b.squeeze(1)) for layer in nets.layers]
    usual = UsualLoop(sizes, ETA, DECAY, torch.float64)
    usual.start_from(start)
    usual.train(x, y, batches)
    theirs = [(l.weight.detach(), l.bias.detach()) for l in usual.linears]
    found = {"usual loop": _difference([(w[0], b[0]) for w, b in ours], theirs)}
    if jitted.AVAILABLE:
        rival = jitted.Jitted(_params(start), x.numpy(), y.numpy(), ETA, DECAY)
        rival.train(torch.stack(batches).numpy())
        found["JAX"] = _difference(ours, [(torch.tensor(w), torch.tensor(b)) for w, b in rival.params()])
        rival.close()
    assert max(found.values()) < 1e-12, f"these don't compute the same thing: {found}"
    return found


def _numbers_of(batch: Tensor, x: Tensor) -> Tensor:
    return (batch[:, None] == x).all(-1).int().argmax(1)


def _difference(some: Sequence[tuple[Tensor, Tensor]], others: Sequence[tuple[Tensor, Tensor]]) -> float:
    pairs = zip(some, others, strict=True)
    return max((t - u).abs().max().item() for a, b in pairs for t, u in zip(a, b, strict=True))


def _params(nets: Ensemble, *, alone: bool = False) -> jitted.Params:
    layers = [(layer.w.numpy(), layer.b.squeeze(1).numpy()) for layer in nets.layers]
    return [(w[0], b[0]) for w, b in layers] if alone else layers


def _ensemble(sizes: list[int], params: jitted.Params) -> Ensemble:
    members = params[0][1].size // sizes[1]
    nets = Ensemble(sizes, members)
    for layer, (w, b) in zip(nets.layers, params, strict=True):
        layer.w.copy_(torch.tensor(w).view_as(layer.w))
        layer.b.copy_(torch.tensor(b).view_as(layer.b))
    return nets


# --- the race ---


class Race:
    """All contenders for one shape of network, each with its networks, the data, and an epoch to run."""

    def __init__(self, data: Dataset, sizes: list[int], images: int) -> None:
        self.x, self.labels = data.train.x[:images], data.train.y[:images]
        self.validation, self.steps = data.validation, images // BATCH
        self.ours = {members: Ensemble(sizes, members) for members in (1, SIDE_BY_SIDE)}
        self.y = self.ours[1].targets(self.labels)
        self.usual = UsualLoop(sizes, ETA, DECAY)
        self.usual.start_from(self.ours[1])
        self.order = np.random.default_rng(0)
        self.jax = self._jax() if jitted.AVAILABLE else {}

    def _jax(self) -> dict[str, jitted.Jitted]:
        rest = self.x.numpy(), self.y.numpy(), ETA, DECAY
        return {
            "JAX, 1": jitted.Jitted(_params(self.ours[1], alone=True), *rest),
            f"JAX, {SIDE_BY_SIDE}": jitted.Jitted(_params(self.ours[SIDE_BY_SIDE]), *rest),
        }

    def contenders(self) -> dict[str, Run]:
        runs: dict[str, Run] = {"usual": self._run_usual}
        runs |= {f"lab, {members}": partial(self._run_lab, nets) for members, nets in self.ours.items()}
        return runs | {name: partial(self._run_jax, rival) for name, rival in self.jax.items()}

    def accuracies(self) -> dict[str, float]:
        """On the validation images, mean over members, after as many epochs as there were rounds."""
        x, labels = self.validation.x, self.validation.y
        trained = {f"lab, {members}": nets for members, nets in self.ours.items()}
        trained |= {name: _ensemble(self.usual.sizes, rival.params()) for name, rival in self.jax.items()}
        found = {"usual": self.usual.accuracy(x, labels)}
        return found | {name: nets.accuracy(x, labels).mean().item() for name, nets in trained.items()}

    def _run_usual(self) -> None:
        self.usual.train(self.x, self.y, torch.randperm(len(self.x)).split(BATCH))

    def _run_lab(self, nets: Ensemble) -> None:
        nets.train((self.x, self.y), 1, BATCH, ETA, DECAY * len(self.x))

    def _run_jax(self, rival: jitted.Jitted) -> float:
        return rival.train(self.order.permutation(len(self.x)).reshape(-1, BATCH).astype(np.int32))


def sgemm(n: int) -> Run:
    a, b, out = torch.randn(n, n), torch.randn(n, n), torch.empty(n, n)

    def run() -> None:
        torch.mm(a, b, out=out)

    return run


def first_layer_products(members: int, steps: int) -> Run:
    """w x and δ x^T of the first layer and nothing else: what no engine on these products can go below."""
    rows, n_in = members * SHAPES["1 hidden layer"][1], 784
    w, x, delta, z = torch.randn(rows, n_in), torch.rand(BATCH, n_in), torch.rand(BATCH, rows), torch.empty(BATCH, rows)

    def run() -> None:
        for _ in range(steps):
            torch.mm(x, w.mT, out=z)
            w.addmm_(delta.mT, x, alpha=-1e-9)

    return run


def race(data: Dataset, images: int, rounds: int) -> dict[str, Any]:
    races = {shape: Race(data, sizes, images) for shape, sizes in SHAPES.items()}
    steps = images // BATCH
    contenders: dict[str, Run] = {f"sgemm {n}": sgemm(n) for n in SGEMM}
    contenders |= {f"first layer, {r}": first_layer_products(r, steps) for r in (1, SIDE_BY_SIDE)}
    for shape, each in races.items():
        contenders |= {f"{shape}: {name}": run for name, run in each.contenders().items()}
    times = measure(contenders, rounds)
    gflops = {n: 2 * n**3 / times.best(f"sgemm {n}") / 1e9 for n in SGEMM}
    floors = {r: times.median(f"first layer, {r}") / steps * 1e6 for r in (1, SIDE_BY_SIDE)}
    return {
        "sgemm_gflops": gflops,
        "first_layer_products_us": floors,
        "networks": {shape: _results(times, shape, steps, max(gflops.values())) for shape in SHAPES},
        "accuracy": {shape: each.accuracies() for shape, each in races.items()},
        "seconds": times.seconds,
    }


def _results(times: Times, shape: str, steps: int, gflops: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in (key for key in times.seconds if key.startswith(shape)):
        name = key.removeprefix(f"{shape}: ")
        members = 1 if name == "usual" else int(name.split(", ")[1])
        step = times.median(key) / steps
        found[name] = {
            "us_per_step": step * 1e6,
            "seconds_per_epoch_per_network": step * TRAINING_SET / BATCH / members,
            "times_faster_than_usual": times.ratio(f"{shape}: usual", key) * members,
            "gflops": flops(SHAPES[shape], members, BATCH) / step / 1e9,
            "share_of_sgemm": flops(SHAPES[shape], members, BATCH) / step / 1e9 / gflops,
        }
    return found


# --- what is printed ---


def report(results: dict[str, Any]) -> None:
    for shape, found in results["networks"].items():
        print(f"\n{shape}, {SHAPES[shape]}, mini-batches of {BATCH}\n")
        rows = [
            [
                name,
                f"{r['us_per_step']:.0f}",
                f"{r['seconds_per_epoch_per_network']:.3f}",
                f"{r['times_faster_than_usual']:.1f}",
                f"{r['gflops']:.0f}",
                f"{r['share_of_sgemm']:.0%}",
            ]
            for name, r in found.items()
        ]
        print(table(["members", "µs a step", "s an epoch, network", "x usual", "GFLOP/s", "of sgemm"], rows))
        print("validation accuracy: " + ", ".join(f"{k} {v:.4f}" for k, v in results["accuracy"][shape].items()))
        print("largest difference in float64: " + ", ".join(f"{k} {v:.1e}" for k, v in results["same"][shape].items()))
    print("\nsgemm: " + ", ".join(f"{n}^3 {g:.0f} GFLOP/s" for n, g in results["sgemm_gflops"].items()))
    print(
        "both products of the first layer and nothing else, µs: "
        + ", ".join(f"{r} members {us:.1f}" for r, us in results["first_layer_products_us"].items())
    )
    if not jitted.AVAILABLE:
        print("JAX skipped: it isn't installed (pip install 'undertow[benchmarks]')")


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast the lab trains, on one thread.")
    parser.add_argument("--images", type=int, default=10_000, help="of MNIST's training set, a multiple of 10")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--no-scaling", action="store_true", help="leave out the cost against members, layers, data")
    parser.add_argument("--json", type=Path, help="also write everything there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = mnist()
    results: dict[str, Any] = {
        "environment": {
            "torch": torch.__version__,
            "machine": platform.machine(),
            "cpu": torch.backends.cpu.get_cpu_capability(),
        },
        "same": {shape: check_same(data, sizes) for shape, sizes in SHAPES.items()},
    }
    results |= race(data, options.images, options.rounds)
    report(results)
    if not options.no_scaling:
        results["scaling"] = scaling(data, max(3, options.rounds // 3))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
