"""A Run of five Sites that grows step by step, and what must be read of it. Not a test itself."""

from dataclasses import replace

import numpy as np

from undertow.record import Edge, Role, Run, Site

SITES = tuple(Site(i, f"layers.{i}", "addmm", Role.WEIGHT, (8, 4), n_out=4, weight_shape=(4, 4)) for i in range(5))
EDGES = tuple(Edge(i, i + 1) for i in range(4))


def row(step, sites=5):
    rng = np.random.default_rng(step)
    return {name: rng.random(sites, np.float32) for name in ("grad_output", "grad_input", "alignment_w")}


def edges(step):
    return {"contribution": np.random.default_rng(step).random(4, np.float32), "share": np.ones(4, np.float32)}


def write(writer, steps):
    graph = writer.graph(SITES, EDGES)
    for step in steps:
        writer.taped(step, step / 10, graph, row(step), edges(step), {"loss": 1 / (step + 1)})
        writer.parameters(step, ["a", "b"], {"grad_norm": np.full(2, step, np.float32)})
        writer.scalars(step, step / 10, {"loss": 1 / (step + 1)})


def expected(steps):
    steps = list(steps)
    numbers = {
        "step": np.array(steps, float),
        "time": np.array([step / 10 for step in steps]),
        "loss": np.array([1 / (step + 1) for step in steps]),
    }
    return Run(
        {},
        SITES,
        EDGES,
        {name: np.stack([row(step)[name] for step in steps]) for name in row(0)},
        {name: np.stack([edges(step)[name] for step in steps]) for name in edges(0)},
        numbers,
        numbers,
        ("a", "b"),
        {"grad_norm": np.repeat(np.array(steps, np.float32)[:, None], 2, axis=1)},
        np.array(steps, float),
    )


def numbers_of(run):
    return replace(run, events=(), header={})
