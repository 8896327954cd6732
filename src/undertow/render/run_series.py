"""A Run through time, as a page draws it: every quantity of every layer, in as few numbers as a screen has room for."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.record import Role, Run, Site
from undertow.render.buckets import Buckets, Numbers
from undertow.render.labels import site_names
from undertow.render.loss_end import LossEnd

SCALAR_BUCKETS = 1024
CLOCK_BUCKETS = 256
"""Of the time at each step, by which an axis may be drawn."""

MOST_CELLS, MOST_BUCKETS, FEWEST_BUCKETS = 80_000, 512, 32
"""Of one quantity: layers times buckets, and buckets."""

HARDLY_CURVES = frozenset({"step", "time"})


@dataclass(frozen=True)
class Quantity:
    """Something to read at every layer.

    Attributes:
        title: what it is called.
        meaning: in a sentence.
        column: of ``run.columns``.
        log: whether it spans decades; else it is a share from 0 to 1.
        at: which Sites it is shown at.
        usual: what networks that train well show, in a few words; empty where there is no such range.
    """

    title: str
    meaning: str
    column: str
    log: bool
    at: Callable[[Site], bool]
    usual: str = ""


def _weights(site: Site) -> bool:
    return site.role is Role.WEIGHT


def _learns(site: Site) -> bool:
    return bool(site.parameters)


def _activation(site: Site) -> bool:
    return site.role is Role.ACTIVATION


def _forward(site: Site) -> bool:
    return site.role is not Role.LOSS


QUANTITIES = {
    "speed": Quantity(
        "learning speed", "Norm of the loss's gradient by a layer's bias, ‖∂C/∂b‖.", "learning_speed", True, _weights,
        usual="layers within a factor of 100 of each other",
    ),
    "progress": Quantity(
        "share of progress",
        "Part of what a step takes off the loss that is due to a layer, to first order; a gap where it raised it.",
        "progress",
        True,
        _learns,
        usual="0.09 to 0.91 for the front half of the layers together",
    ),
    "gradient": Quantity(
        "gradient", "Norm of the whole gradient that an operation receives.", "grad_output", True, _forward,
        usual="within a factor of 20 from the last layer to the first",
    ),
    "update": Quantity(
        "update-to-weight ratio", "How far a step moves a layer's weights, ‖Δw‖ / ‖w‖.", "update_ratio", True, _learns,
        usual="0.01 at the start, 0.001 later",
    ),
    "saturated": Quantity(
        "saturated", "Share of activations where the slope is under a tenth of its peak.", "saturated", False,
        _activation, usual="under 0.35; a fault above 0.85",
    ),
    "dead": Quantity(
        "dead units", "Share of units whose slope is next to nothing for every example.", "dead", False, _activation,
        usual="under 0.56; a fault above 0.65",
    ),
    "weight": Quantity("weight norm", "‖W‖ of what a layer multiplies with.", "weight_norm", True, _learns),
}  # fmt: skip
"""What can be read through time, by the name that pages use."""

OF_PARAMETERS = ("progress", "update", "weight")
"""Read off the optimizer, if it was: that is done more often than looking at the graph."""


class RunSeries:
    """Hold what pages draw of a Run, and bring it up to date as it grows.

    Attributes:
        taped: steps at which every operation was read, in order.
        noted: how many steps there are numbers of.
        began, latest: the first and the last number of every scalar.
        loss_end: whether the loss ended in inf or nan.
        order: names of all Sites, the input's side first.

    Example:
        >>> from undertow.record import Role
        >>> sites = (Site(0, "fc2", "addmm", Role.WEIGHT), Site(1, "fc1", "addmm", Role.WEIGHT))
        >>> run = Run({}, sites, (), {"learning_speed": np.array([[1.0, 0.25]])}, steps={"step": np.array([7.0])})
        >>> series = RunSeries(run)
        >>> series.names("speed"), series.taped
        (['fc1', 'fc2'], [7.0])
    """

    def __init__(self, run: Run) -> None:
        self._sites = run.sites
        self.taped: list[float] = []
        self.noted = 0
        self._noted_last = np.nan
        self.began: dict[str, float] = {}
        self.latest: dict[str, float] = {}
        self.loss_end = LossEnd()
        self.order = site_names(run.sites)[::-1]
        self._chosen = {key: _places(run.sites, each.at) for key, each in QUANTITIES.items()}
        self._by_site = {key: Buckets(len(chosen), _capacity(len(chosen))) for key, chosen in self._chosen.items()}
        self._scalars: dict[str, Buckets] = {}
        self._clock = Buckets(1, CLOCK_BUCKETS)
        self._layers: list[str] = []
        self._by_layer: dict[str, Buckets] = {}
        self.add(run)

    def add(self, run: Run) -> None:
        """Take in the rows of ``run``, which follow those before."""
        self._add_scalars(run.scalars if len(run.scalars) else run.steps)
        if len(run.parameter_steps):
            self._add_parameters(run)
        if run.columns and len(run):
            self._add_taped(run)

    def names(self, key: str) -> list[str]:
        """Return the names of a quantity's rows, the input's side first."""
        if self._from_parameters(key):
            return self._layers
        return [self.order[~place] for place in self._chosen[key]]

    def scalar(self, name: str) -> Numbers:
        """Return a scalar through time, the largest of every bucket."""
        return self._scalars[name].high[:, 0]

    def rows(self, key: str) -> dict[str, tuple[float, Numbers]]:
        """Return by name the last value and the largest of every bucket; rows that nobody measured are left out."""
        series = self._series(key)
        read = zip(self.names(key), series.latest, series.high.T, strict=True)
        return {name: (float(last), values) for name, last, values in read if not np.isnan(last)}

    def to_dict(self) -> dict[str, Any]:
        """Return everything there is to draw, as JSON values; quantities nobody measured are left out."""
        drawn = {key: self._drawn(key) for key in QUANTITIES}
        return {
            "scalars": {name: series.to_dict() for name, series in self._scalars.items() if series.rows},
            "quantities": {key: each for key, each in drawn.items() if each["names"]},
            "clock": self._clock.to_dict() if self._clock.rows else None,
        }

    def _drawn(self, key: str) -> dict[str, Any]:
        about, series = QUANTITIES[key], self._series(key)
        seen = np.asarray((~np.isnan(series.high)).any(axis=0))
        names = [name for name, kept in zip(self.names(key), seen.tolist(), strict=True) if kept]
        described = {name: getattr(about, name) for name in ("title", "meaning", "usual", "log")}
        return {**described, "rows": series.rows, "names": names, **series.to_dict(seen)}

    def _series(self, key: str) -> Buckets:
        return self._by_layer[key] if self._from_parameters(key) else self._by_site[key]

    def _from_parameters(self, key: str) -> bool:
        return key in self._by_layer

    def _add_scalars(self, scalars: Mapping[str, Numbers]) -> None:
        count = max(map(len, scalars.values()), default=0)
        steps = scalars.get("step", self.noted + np.arange(count, dtype=float))
        self.noted += len(np.unique(steps[steps != self._noted_last]))
        self._noted_last = float(steps[-1]) if count else self._noted_last
        self.loss_end.add(scalars)
        for name, values in scalars.items():
            noted = ~np.isnan(values)
            if noted.any():
                self.began.setdefault(name, float(values[noted][0]))
                self.latest[name] = float(values[noted][-1])
            if name == "time":
                self._clock.add(steps[noted], values[noted, None])
            if name not in HARDLY_CURVES and noted.any():
                series = self._scalars.setdefault(name, Buckets(1, SCALAR_BUCKETS))
                series.add(steps[noted], values[noted, None])

    def _add_taped(self, run: Run) -> None:
        steps = steps_of(run)
        self.taped += steps.tolist()
        for key, about in QUANTITIES.items():
            if self._from_parameters(key):  # columns of a file are read when they are asked for
                continue
            column = run.columns.get(about.column)
            if column is None:
                column = np.broadcast_to(np.float32(np.nan), (len(steps), len(run.sites)))
            self._by_site[key].add(steps, column[:, self._chosen[key]])

    def _add_parameters(self, run: Run) -> None:
        if not self._layers:
            self._layers = list(dict.fromkeys(map(layer_of, run.parameters)))
            self._by_layer = {key: Buckets(n := len(self._layers), _capacity(n)) for key in OF_PARAMETERS}
        for key, values in by_layer(run, self._layers).items():
            self._by_layer[key].add(run.parameter_steps, values)


def steps_of(run: Run) -> Numbers:
    """Return the optimizer steps that were taped, [taped]; their places where no one counted."""
    return np.asarray(run.steps.get("step", np.arange(len(run))), float)


def layer_of(parameter: str) -> str:
    """Return the module that a parameter belongs to.

    Example:
        >>> layer_of("layers.0.weight"), layer_of("scale")
        ('layers.0', 'scale')
    """
    return parameter.rpartition(".")[0] or parameter


def by_layer(run: Run, layers: Sequence[str]) -> dict[str, Numbers]:
    """Return per layer what was read per parameter, [steps, layers]: shares add up, norms by their squares."""
    place = {name: k for k, name in enumerate(layers)}
    of = np.array([place[layer_of(name)] for name in run.parameters], int)
    weight, update = (np.sqrt(_summed(run, name, of, 2)) for name in ("weight_norm", "update_norm"))
    with np.errstate(divide="ignore", invalid="ignore"):
        return {"progress": _summed(run, "progress", of, 1), "update": update / weight, "weight": weight}


def _summed(run: Run, name: str, of: NDArray[np.intp], power: int) -> Numbers:
    """Return powers of a parameters' column, summed over what ``of`` says is one layer; NaN where nothing was read."""
    total = np.full((len(run.parameter_steps), int(of.max(initial=-1)) + 1), np.nan)
    column = run.parameter_columns.get(name)
    if column is None or not len(of):
        return total
    which = np.array([np.count_nonzero(of[: k + 1] == layer) for k, layer in enumerate(of)])
    for turn in range(1, int(which.max()) + 1):  # the first parameter of every layer, then the second ones, ...
        chosen = np.flatnonzero(which == turn)
        parts = np.asarray(column[:, chosen], float) ** power
        so_far = total[:, of[chosen]]
        total[:, of[chosen]] = np.where(np.isnan(so_far), parts, np.where(np.isnan(parts), so_far, so_far + parts))
    return total


def _places(sites: Iterable[Site], fits: Callable[[Site], bool]) -> Sequence[int]:
    return [site.index for site in sites if fits(site)][::-1]


def _capacity(width: int) -> int:
    return 2 * int(np.clip(MOST_CELLS / max(width, 1), FEWEST_BUCKETS, MOST_BUCKETS) // 2)
