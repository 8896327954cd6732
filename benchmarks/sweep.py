"""How fast a sweep trains a map of networks, beside the loop that everybody writes; what a cell costs besides its work.

    python benchmarks/sweep.py                 # networks a second against the plain loop, overhead a cell: some minutes
    python benchmarks/sweep.py --efficiency    # one process against two: on a machine with nothing else to do
    python benchmarks/sweep.py --ray           # overhead a cell on a Ray cluster started here

`README.md` says what is measured and what came out.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rounds import table
from undertow.lab import Dataset, load
from undertow.studies.trainability import config
from undertow.sweeping import Spec, sweep
from undertow.sweeping.labsettings import complete
from undertow.sweeping.labwork import side_by_side

THINNED = {"activation": ["tanh"], "eta": [0.006], "bias_var": [0.05]}
RACED = {**THINNED, "depth": [5, 20, 50, 100], "weight_var": [0.8, 1.2, 1.6, 2.0, 2.7, 4.0]}
NOTHING = 20_000


def nothing(number: int) -> int:
    """A cell without work."""
    return number


def raced(seeds: int, grid: Mapping[str, Any]) -> Spec:
    """A thinned trainability map: the study's settings, fewer of them."""
    shared = dict(config(quick=False).spec("mnist").cell) | {"curve": False}
    return Spec.of({"name": "a thinned map", "seeds": seeds, "cell": shared, "grid": grid})


# --- the loop that everybody writes ---


def plain_network(settings: Mapping[str, Any]) -> nn.Sequential:
    """The same start as the sweep's network, as nn.Sequential."""
    nets = side_by_side([complete(settings)], 784, 10)
    layers: list[nn.Module] = []
    for layer in nets.layers:
        linear = nn.Linear(layer.w.shape[2], layer.w.shape[1])
        with torch.no_grad():
            linear.weight.copy_(layer.w[0])
            linear.bias.copy_(layer.b[0, 0])
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def plain(settings: Mapping[str, Any], data: Dataset) -> float:
    """Train one network by autograd and torch.optim; returns its accuracy on the training images."""
    net, images, batch = plain_network(settings), settings["images"], settings["batch_size"]
    x, y = data.train.x[:images], data.train.y[:images]
    cost, descent = nn.CrossEntropyLoss(), torch.optim.SGD(net.parameters(), lr=settings["eta"])
    for _ in range(settings["epochs"]):
        for chosen in torch.randperm(images).split(batch):
            descent.zero_grad()
            cost(net(x[chosen]), y[chosen]).backward()
            descent.step()
    with torch.no_grad():
        net(data.validation.x[: settings["evaluated"]])
        return float((net(x).argmax(-1) == y).double().mean())


def race(seeds: int, folder: Path) -> dict[str, Any]:
    """The thinned map, depth by depth: the sweep, then the plain loop; CPU seconds of this process, one thread."""
    data = load("mnist")
    seconds: dict[int, dict[str, float]] = {}
    accuracy: dict[str, list[float]] = {"sweep": [], "plain loop": []}
    for depth in RACED["depth"]:
        spec = raced(seeds, {**RACED, "depth": [depth]})
        cells = list(spec.cells())
        ours, results = timed(lambda spec=spec, depth=depth: sweep(spec, folder / f"{depth}.sweep", processes=0))
        theirs, found = timed(lambda cells=cells: [plain(cell, data) for cell in cells])
        accuracy["sweep"] += [row["train_accuracy"] for row in results.rows()]
        accuracy["plain loop"] += found
        seconds[depth] = {"sweep": ours, "plain loop": theirs, "networks": len(cells)}
        print(f"depth {depth}: sweep {ours:.1f} s, plain loop {theirs:.1f} s for {len(cells)} networks", flush=True)
    return {"seconds": seconds, "accuracy": {k: sum(v) / len(v) for k, v in accuracy.items()}}


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


# --- one process and two ---


def efficiency(seeds: int, folder: Path) -> dict[str, Any]:
    """A thinned map on one process, then on two."""
    spec, found = raced(seeds, {**RACED, "depth": [5, 10, 15, 20, 30, 40, 50, 65, 80, 100]}), {}
    for processes in (1, 2):
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        results = sweep(spec, folder / f"on{processes}.sweep", processes=processes)
        wall = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime
        found[processes] = {"wall": wall, "in_cells": results.seconds(), "cpu": cpu, "networks": len(results.rows())}
        print(f"{processes} process: {wall:.1f} s, {results.seconds():.1f} s in cells, {cpu:.1f} s of CPU", flush=True)
    return found


# --- what a cell costs besides its work ---


def overhead(folder: Path, ray: str | None) -> dict[str, float]:
    """Microseconds a cell of a sweep over a function that does nothing."""
    spec = {"function": f"{__file__}:nothing", "grid": {"number": list(range(NOTHING))}}
    one = {**spec, "grid": {"number": [0]}}
    found: dict[str, float] = {}
    given: dict[str, Any] = {"ray": ray} if ray else {"processes": 2}
    wall: dict[int, float] = {}
    cpu: dict[int, float] = {}
    for count, asked in ((1, one), (NOTHING, spec)):
        start, busy = time.perf_counter(), time.process_time()
        sweep(asked, folder / f"nothing{count}.sweep", **given)
        wall[count], cpu[count] = time.perf_counter() - start, time.process_time() - busy
    found["wall"] = (wall[NOTHING] - wall[1]) / NOTHING * 1e6
    found["driver"] = (cpu[NOTHING] - cpu[1]) / NOTHING * 1e6
    start = time.process_time()
    sweep(spec, folder / f"nothing{NOTHING}.sweep", **given)
    found["already there"] = (time.process_time() - start) / NOTHING * 1e6
    found["bytes"] = Path(folder, f"nothing{NOTHING}.sweep").stat().st_size / NOTHING
    return found


def report_race(found: dict[str, Any]) -> None:
    rows = []
    for depth, s in found["seconds"].items():
        n = s["networks"]
        rows.append(
            [depth, f"{n / s['sweep']:.2f}", f"{n / s['plain loop']:.2f}", f"{s['plain loop'] / s['sweep']:.1f}"]
        )
    n, ours, theirs = (sum(s[k] for s in found["seconds"].values()) for k in ("networks", "sweep", "plain loop"))
    rows.append(["all", f"{n / ours:.2f}", f"{n / theirs:.2f}", f"{theirs / ours:.1f}"])
    print(table(["depth", "networks a second, sweep", "plain loop", "ratio"], rows))
    print("mean training accuracy: " + ", ".join(f"{k} {v:.3f}" for k, v in found["accuracy"].items()))


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast a sweep is.")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--efficiency", action="store_true", help="one process against two, on an idle machine")
    parser.add_argument("--ray", action="store_true", help="overhead a cell on a Ray cluster started here")
    parser.add_argument("--json", type=Path, help="also write everything there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.efficiency:
            results["efficiency"] = efficiency(options.seeds, folder)
        elif options.ray:
            results["overhead on Ray"] = overhead(folder, "local")
            print(results["overhead on Ray"])
        else:
            results["overhead"] = overhead(folder, None)
            print("microseconds (and bytes) a cell:", {k: round(v, 1) for k, v in results["overhead"].items()})
            results["race"] = race(options.seeds, folder)
            report_race(results["race"])
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
