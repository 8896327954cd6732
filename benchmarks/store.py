"""A Run on disk: its size, how long it takes to open, and what a training step pays for writing to it.

A transformer of 6 blocks is examined once, for what is measured at which Site. Its numbers, repeated over as many Sites
and parameters as asked for, go to a `RunWriter` step after step, each with noise of its own: a fifth, at every number
and every step alike, so that nothing is constant that would not be in training.

    python benchmarks/store.py            # about two minutes
    python benchmarks/store.py --steps 2000 --sites 200
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import undertow
from rounds import table
from undertow.record import PARAMETER_COLUMNS, Edge, Run, Site
from undertow.watching import RunWriter

Row = dict[str, NDArray[np.float32]]
FIXED = ("nonfinite", "share", "dead", "saturated")  # zeros, ones and counts stay what they are

OPENED = """
import sys, time, resource
import numpy, undertow.store
def memory():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1e6
before, start = memory(), time.process_time()
run = undertow.store.open_run(sys.argv[1])
opened, first = time.process_time() - start, memory() - before
print(opened, first)
start = time.process_time()
run.columns["grad_output"]
print(time.process_time() - start, memory() - before)
start = time.process_time()
for columns in (run.columns, run.edge_columns, run.parameter_columns):
    for name in columns:
        columns[name]
print(time.process_time() - start, memory() - before, len(run), len(run.sites))
"""


def examined() -> Run:
    """What there is to be measured in a small transformer, with its optimizer."""
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True, norm_first=True)
    model = torch.nn.Sequential(
        torch.nn.TransformerEncoder(layer, 6, enable_nested_tensor=False), torch.nn.Linear(64, 8)
    )
    x, y = torch.randn(8, 16, 64), torch.randn(8, 16, 8)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    return undertow.examine(model, lambda: torch.nn.functional.mse_loss(model(x), y), optimizer).run


def tiled(run: Run, sites: int) -> tuple[list[Site], list[Edge], Row, Row]:
    """The same over and over, until there are ``sites`` Sites."""
    times = -(-sites // len(run.sites))
    places = [replace(site, index=i) for i, site in enumerate([*run.sites] * times)][:sites]
    shifted = [(e.source + k * len(run.sites), e.target + k * len(run.sites)) for k in range(times) for e in run.edges]
    edges = [Edge(*pair) for pair in shifted if max(pair) < sites]
    by_site = {name: np.tile(values[0], times)[:sites].astype(np.float32) for name, values in run.columns.items()}
    by_edge = {
        name: np.tile(values[0], times)[: len(edges)].astype(np.float32) for name, values in run.edge_columns.items()
    }
    return places, edges, by_site, by_edge


def noisy(row: Row, rng: np.random.Generator) -> Row:
    """The row of another step."""
    noise = np.exp(0.2 * rng.standard_normal((len(row), max(map(len, row.values()))), dtype=np.float32))
    return {
        name: values if name in FIXED else values * factors[: len(values)]
        for (name, values), factors in zip(row.items(), noise, strict=True)
    }


def write(path: Path, run: Run, steps: int, sites: int) -> Mapping[str, Any]:
    """All the steps, at the pace of the disk; seconds that the calling thread spent in each call."""
    places, edges, by_site, by_edge = tiled(run, sites)
    names = [f"layers.{i}.weight" for i in range(sites // 2)]
    parameters = {name: np.ones(len(names), np.float32) for name in PARAMETER_COLUMNS if name != "lr"}
    rng, spent, start, cpu = np.random.default_rng(0), [], time.perf_counter(), time.process_time()
    made = 0.0
    with RunWriter(path, {"model": "tiled"}) as writer:
        graph = writer.graph(places, edges)
        for step in range(steps):
            before = time.thread_time()
            rows = noisy(by_site, rng), noisy(by_edge, rng), noisy(parameters, rng)
            noted = {"loss": float(rng.random()), "grad_norm": float(rng.random()), "lr": 1e-3, "step_seconds": 1e-3}
            made += time.thread_time() - before
            given = time.perf_counter()
            writer.taped(step, step / 10, graph, rows[0], rows[1], {"loss": 1.0, "lr": 1e-3})
            writer.parameters(step, names, rows[2])
            writer.scalars(step, step / 10, noted)
            spent.append(time.perf_counter() - given)
            if step % 500 == 499:
                writer.flush(60)
    assert not writer.troubled
    elapsed = time.perf_counter() - start
    return {
        "call": np.median(spent),
        "slowest": np.max(spent),
        "cpu": time.process_time() - cpu - made,
        "wall": elapsed,
    }


def opened(path: Path) -> Iterator[list[float]]:
    """CPU seconds and MB of opening it, of the first column, and of all of them, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", OPENED, path], check=True, capture_output=True, text=True)
    return (list(map(float, line.split())) for line in done.stdout.splitlines())


def report(title: str, run: Run, steps: int, sites: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.undertow")
        wrote = write(path, run, steps, sites)
        seen = np.median([[part[:2] for part in opened(path)] for _ in range(rounds)], axis=0)
        size = path.stat().st_size / 1e6
    measured = sum(float(np.mean(~np.isnan(values))) for values in run.columns.values())
    print(f"\n{title}: {steps} recorded steps x {sites} Sites, {measured:.1f} columns measured at a Site,")
    print(f"{len(run.edges) / len(run.sites):.2f} edges a Site, {sites // 2} parameters; file: {size:.0f} MB\n")
    names = ("opened", "... and one column", "... and all columns")
    rows = [[name, f"{seconds:.3g}", f"{memory:.0f}"] for name, (seconds, memory) in zip(names, seen, strict=True)]
    print(table(["", "s of CPU time", "MB of memory"], rows))
    print(f"\na step's three calls: {1e6 * wrote['call']:.0f} µs (median), {1e3 * wrote['slowest']:.1f} ms (slowest)")
    print(f"CPU time of writing: {1e6 * wrote['cpu'] / steps:.0f} µs a step; {wrote['wall']:.0f} s in all")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--steps", type=int, default=20_000)
    arguments.add_argument("--sites", type=int, default=200)
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    run = examined()
    full = replace(run, columns={name: np.full_like(values, 0.5) for name, values in run.columns.items()})
    for title, measured in {"a transformer's Sites": run, "everything at every Site": full}.items():
        report(title, measured, given.steps, given.sites, given.rounds)


if __name__ == "__main__":
    main()
