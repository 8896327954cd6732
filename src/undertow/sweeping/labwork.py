"""Cells that train the lab's networks: those that differ in seed and variances only, side by side in one ensemble."""

import json
import math
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from undertow.lab import Dataset, Ensemble, Initializer, TrainingHistory, load
from undertow.sweeping.cells import Cell, Pack, Tick, unheard
from undertow.sweeping.labsettings import SETTINGS, SIDE_BY_SIDE, complete, optimizer_of, problems, sizes_of
from undertow.sweeping.spec import Settings

CALL = 25e-6
"""Seconds that one layer costs a step however small it is: some ten calls of torch."""

FLOPS = 4e10
"""Operations that a core does a second in products of this size. Both only weigh packs against each other."""

LONGEST = 6.0
"""Seconds a pack shall take by this reckoning: as much is lost with a worker, and idle at the end."""

MOST_MEMBERS, LEAST_MEMBERS = 256, 4
MOST_BYTES = 1.6e7
"""Bytes of a pack's weights: what stays in a core's caches from step to step trains up to half as fast again."""


SIGNALS, LEAST_AT_ONCE = 3, 10
"""z, a and δ are kept of every example in a pass."""


@dataclass(frozen=True)
class Shape:
    """Describe a data set without its images."""

    sha256: str
    n_inputs: int
    n_classes: int
    train: int
    validation: int


@dataclass
class LabWork:
    """The lab's networks; see `undertow.sweeping.cells.Work`.

    Example:
        >>> work = LabWork()
        >>> cells = [{"data": "digits", "images": 100, "seed": s, "activation": "tanh"} for s in range(3)]
        >>> [sorted(result) for result in work.run(cells)][0]
        ['accuracy', 'diverged', 'loss', 'train_accuracy']
    """

    shapes: dict[str, Shape] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    name = "lab"

    def recorded(self, settings: Settings) -> Settings:
        """Return all settings that apply."""
        return {name: value for name, value in complete(settings).items() if value is not None}

    def identity(self, settings: Settings) -> Mapping[str, Any]:
        """Settings that aren't at their defaults, and the data themselves: two paths to one data set are one."""
        cell = complete(settings)
        changed = {n: v for n, v in cell.items() if n != "data" and v is not None and v != SETTINGS[n].default}
        return {"work": "lab", "data": self._shape(cell["data"]).sha256, **changed}

    def problems(self, settings: Settings) -> list[str]:
        """Say what is wrong with the settings, or what the data don't have."""
        found = problems(settings)
        if found:
            return found
        cell = complete(settings)
        self._look_for(cell["data"])
        if cell["data"] in self.missing:
            return [self.missing[cell["data"]]]
        shape = self.shapes[cell["data"]]
        limits = {"images": ("training", shape.train), "evaluated": ("validation", shape.validation)}
        return [
            f"{name} = {cell[name]}: {cell['data']} has {there} {kind} images"
            for name, (kind, there) in limits.items()
            if (cell[name] or 0) > there
        ]

    def packs(self, cells: Sequence[Cell], most: int | None) -> list[Pack]:
        """Cells that can be side by side, in equal packs of as many as memory and time allow."""
        groups: dict[str, list[Cell]] = {}
        for cell in cells:
            groups.setdefault(_group(cell.settings), []).append(cell)
        packs = []
        for alike in groups.values():
            largest = min(most or MOST_MEMBERS, self._largest(alike[0].settings))
            for part in np.array_split(np.arange(len(alike)), math.ceil(len(alike) / largest)):
                chosen = tuple(alike[i] for i in part)
                packs.append(Pack(chosen, self._seconds(complete(chosen[0].settings), len(chosen))))
        return packs

    def prepare(self) -> None:
        """One thread, whatever the machine has."""
        torch.set_num_threads(1)

    def run(self, cells: Sequence[Settings], tick: Tick = unheard) -> list[dict[str, Any]]:
        """Train them side by side.

        Returns:
            For each the accuracies on validation and training images, the loss on these, whether it diverged (and
            where), and with ``curve`` the accuracy after every epoch.
        """
        del tick
        whole = [complete(settings) for settings in cells]
        cell, data = whole[0], loaded(whole[0]["data"])
        self._check_same(cell["data"], data)
        train = data.train.x[: cell["images"]], data.train.y[: cell["images"]]
        judged = data.validation.x[: cell["evaluated"]], data.validation.y[: cell["evaluated"]]
        nets = side_by_side(whole, data.n_inputs, data.n_classes)
        history = nets.train(
            train, cell["epochs"], cell["batch_size"], cell["eta"], cell["lmbda"],
            optimizer=optimizer_of(cell), clip=cell["clip"], evaluate={"curve": judged} if cell["curve"] else {},
        )  # fmt: skip
        return _results(nets, history, train, judged)

    def traceback(self, error: BaseException) -> str:
        """Return all of it: what fails here is ours."""
        return "".join(traceback.format_exception(error))

    def _look_for(self, name: str) -> None:
        """Once for all cells: it may mean asking every mirror."""
        if name in self.shapes or name in self.missing:
            return
        try:
            self._shape(name)
        except (OSError, RuntimeError, ValueError, ImportError) as error:
            self.missing[name] = str(error)

    def _shape(self, name: str) -> Shape:
        if name not in self.shapes:
            data = loaded(name)
            sizes = len(data.train), len(data.validation)
            self.shapes[name] = Shape(data.sha256, data.n_inputs, data.n_classes, *sizes)
        return self.shapes[name]

    def _check_same(self, name: str, data: Dataset) -> None:
        if name in self.shapes and data.sha256 != self.shapes[name].sha256:
            raise ValueError(f"the data {name} here are not those the sweep was started with: their SHA-256 differ")

    def _sizes(self, cell: Settings) -> list[int]:
        shape = self._shape(cell["data"])
        return sizes_of(cell, shape.n_inputs, shape.n_classes)

    def _largest(self, settings: Settings) -> int:
        """Members of the largest sensible pack."""
        cell = complete(settings)
        width = 4 if cell["dtype"] == "float32" else 8
        each = sum((n_in + 1) * n_out for n_in, n_out in pairwise(self._sizes(cell))) * width
        alone = self._seconds(cell, 1)
        one_more = max(self._seconds(cell, 2) - alone, 1e-9)
        by_time = max(LEAST_MEMBERS, int((LONGEST - alone) / one_more) + 1)
        return min(MOST_MEMBERS, by_time, max(LEAST_MEMBERS, int(MOST_BYTES / each)))

    def _seconds(self, cell: Settings, members: int) -> float:
        sizes = self._sizes(cell)
        images = cell["images"] or self._shape(cell["data"]).train
        steps = cell["epochs"] * math.ceil(images / cell["batch_size"])
        flops = 6 * images * (cell["epochs"] + 1) * sum(n_in * n_out for n_in, n_out in pairwise(sizes))
        return steps * (len(sizes) - 1) * CALL + members * flops / FLOPS


def side_by_side(cells: Sequence[Settings], n_inputs: int, n_classes: int) -> Ensemble:
    """One ensemble of complete cells: every member drawn by its seed, then scaled to its variances.

    Example:
        >>> cells = [complete({"seed": s, "weight_var": v, "width": 200}) for v in (1.0, 4.0) for s in (0, 1)]
        >>> nets = side_by_side(cells, 100, 10)
        >>> bool((nets.layers[0].w[2] == 2 * nets.layers[0].w[0]).all())
        True
    """
    cell = cells[0]
    drawn = Initializer(cell["initializer"], biases=None if cell["bias_var"] is None else "normal")
    nets = Ensemble(
        sizes_of(cell, n_inputs, n_classes), seed=cell["order"], numbers=[each["seed"] for each in cells],
        activation=cell["activation"], cost=cell["cost"], initializer=drawn, dtype=getattr(torch, cell["dtype"]),
    )  # fmt: skip
    weights, biases = (_roots(nets, [each[name] for each in cells]) for name in ("weight_var", "bias_var"))
    for layer in nets.layers:
        layer.w.mul_(weights)
        layer.b.mul_(biases)
    return nets


def _roots(nets: Ensemble, variances: Sequence[float | None]) -> Tensor:
    roots = [1.0 if v is None else math.sqrt(v) for v in variances]
    return torch.tensor(roots, dtype=torch.float64).to(nets.dtype).reshape(-1, 1, 1)


def _results(
    nets: Ensemble, history: TrainingHistory, train: tuple[Tensor, Tensor], judged: tuple[Tensor, Tensor]
) -> list[dict[str, Any]]:
    accuracy, loss = evaluated(nets, *train)
    measured = {
        "accuracy": evaluated(nets, *judged)[0].tolist(),
        "train_accuracy": accuracy.tolist(),
        "loss": [v if math.isfinite(v) else None for v in loss.tolist()],
    }
    where = {d.member: f"epoch {d.epoch}, mini-batch {d.mini_batch}, layer {d.layer}, {d.equation}" for d in
             history.divergences}  # fmt: skip
    results = []
    for i in range(nets.members):
        result = {name: values[i] for name, values in measured.items()} | {"diverged": i in where}
        if i in where:
            result["diverged_at"] = where[i]
        if "curve" in history.accuracy:
            result["curve"] = [v if math.isfinite(v) else None for v in history.accuracy["curve"][i].tolist()]
        results.append(result)
    return results


def evaluated(nets: Ensemble, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Share of examples that are right and mean cost, [members] each; a deep ensemble sees few examples at a time.

    Example:
        >>> nets, x, y = Ensemble([2, 3, 2], members=4), torch.rand(50, 2), torch.arange(50) % 2
        >>> accuracy, loss = evaluated(nets, x, y)
        >>> bool((accuracy == nets.accuracy(x, y)).all()), torch.allclose(loss, nets.loss(x, y).double())
        (True, True)
    """
    inputs, labels = nets.labelled(x, y)
    each = nets.members * sum(nets.sizes[1:]) * SIGNALS * inputs.element_size()
    at_once = max(LEAST_AT_ONCE, min(len(inputs), int(MOST_BYTES / each)))
    right, cost = torch.zeros(2, nets.members, dtype=torch.float64)
    for examples, their in zip(inputs.split(at_once), labels.split(at_once), strict=True):
        last = nets.feedforward(examples)[-1]
        right += ((last.a.argmax(-1) == their) & last.a.isfinite().all(-1)).sum(-1)
        cost += nets.cost.value(last.z, last.a, nets.targets(their)).double().sum(-1)
    return right / len(inputs), cost / len(inputs)


def _group(settings: Settings) -> str:
    """All but seed and variances; which initializer of biases is drawn depends on whether there is a variance."""
    shared = {name: value for name, value in settings.items() if name not in SIDE_BY_SIDE}
    return json.dumps([shared, "bias_var" in settings], sort_keys=True)


@cache
def loaded(name: str) -> Dataset:
    """Load a data set once in a process."""
    return load(name)
