"""From the numbers read off the devices to the columns of a Run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from undertow.record import SITE_COLUMNS, Edge, Role, Site

Array = NDArray[np.float64]
Read = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True, slots=True)
class Columns:
    """One recorded step: columns by name, each [sites] or [edges]."""

    by_site: dict[str, Array]
    by_edge: dict[str, Array]


class Readout:
    """From the numbers read off the devices to the columns of a Run: what is the same for all passes is looked up once.

    Args:
        sites, edges: of the graph that was taped.
        names: of the parameters, as `measure_parameters` returned them.

    Example:
        >>> sites = (Site(0, "fc2", "addmm", Role.WEIGHT), Site(1, "fc1", "addmm", Role.WEIGHT))
        >>> readout = Readout(sites, (Edge(0, 1),))
        >>> readout.columns({"received": {0: 1.0, 1: 0.25}}).by_site["grad_input"].tolist()
        [0.25, nan]
    """

    def __init__(self, sites: Sequence[Site], edges: Sequence[Edge], names: Sequence[str] = ()) -> None:
        self.names = tuple(names)
        self._size = len(sites)
        self._n_out = np.sqrt([site.n_out or np.nan for site in sites])
        self._source = np.array([edge.source for edge in edges], dtype=int)
        self._target = np.array([edge.target for edge in edges], dtype=int)
        self._alone = np.bincount(self._target, minlength=len(sites))[self._target] == 1
        self._passes_on = np.bincount(self._source, minlength=len(sites)) > 0
        self._own = _Pairs.of(sites, names, lambda site: site.parameters)
        # A parameter that is used at many Sites makes one step: each has an equal part of it.
        self._uses = np.bincount(self._own.place, minlength=len(names)).clip(1)
        self._layer = np.array([site.role is Role.WEIGHT and bool(site.parameters) for site in sites], dtype=bool)
        self._matrices = _Pairs.of(sites, names, _matrices)

    def columns(self, read: Read) -> Columns:
        """What `Meter.read` returned, as columns of a Run, each [sites] or [edges].

        An edge that alone feeds its Site carries the whole gradient received there, and nobody had to measure it.
        """
        with np.errstate(all="ignore"):
            raw = _Raw(read, self._size)
            received = raw.get("received", 0.0)  # 0: autograd had nothing to pass on
            by_edge = self._by_edge(_Raw(read, len(self._target)), received)
            by_site = {**self._by_site(raw, received, by_edge), **self._by_parameter(_Raw(read, len(self.names)))}
        assert by_site.keys() == SITE_COLUMNS.keys()  # noqa: S101  # the two lists are kept by hand
        return Columns(by_site, by_edge)

    def _by_site(self, raw: "_Raw", received: Array, by_edge: Mapping[str, Array]) -> dict[str, Array]:
        passed = np.sqrt(np.bincount(self._source, by_edge["contribution"] ** 2, minlength=self._size))
        passed[~self._passes_on] = np.nan
        slope_rms = raw["slope"] / np.sqrt(raw["values"])
        # <expected, arrived> / ||arrived||^2, by the law of cosines.
        agreement = (1 + (raw["expected"] ** 2 - raw["differing"] ** 2) / raw["arrived"] ** 2) / 2
        return {
            "grad_output": received,
            "grad_input": passed,
            "learning_speed": raw["summed"],
            "coherence": raw["summed"] / (np.sqrt(raw["rows"]) * received),
            "derivative_rms": slope_rms,
            "alignment_phi": raw["slope_times_g"] / (slope_rms * received),
            "alignment_w": self._n_out * passed * agreement / (raw["weight"] * received),
            "saturated": (1 - raw["above_less_below"] / raw["values"]) / 2,
            "dead": (1 - raw["alive_less_dead"] / raw["units"]) / 2,
            "nonfinite": raw["nonfinite"],
            "weight_norm": raw["weight"],
            "input_rms": raw["inflow"] / np.sqrt(raw["inputs"]),
            "input_likeness": (raw["sum of examples"] / raw["inflow"]) ** 2 / raw["examples"],
        }

    def _by_edge(self, raw: "_Raw", received: Array) -> dict[str, Array]:
        arriving = received[self._target]
        share = np.where(self._alone, 1.0, raw.get("inner", 0.0) / arriving**2)
        # 0: nothing came along the edge, as autograd passes None for a gradient of zeros.
        return {"contribution": np.where(self._alone, arriving, raw.get("contribution", 0.0)), "share": share}

    def _by_parameter(self, raw: "_Raw") -> dict[str, Array]:
        grad, norm, step, rows = raw["grad of parameter"], raw["parameter"], raw["step"], raw["sum of rows"]
        descent = -raw["ascent"] if "ascent" in raw else grad**2
        part = self._own.total(np.where(np.isnan(descent), 0.0, descent / self._uses), self._size)
        total = np.nansum(part)
        matrices = self._matrices
        spread = np.sqrt(np.maximum(1 - rows**2 / (raw["units of parameter"] * norm**2), 0.0))
        length = matrices.length(norm, self._size)
        looked = "biases" in raw or "inputs" in raw  # a watched step asks for neither
        biases = self._own.length(raw["bias"] / np.sqrt(raw["biases"]), self._size, unknown=0.0)
        return {
            "bias_rms": np.where(self._layer & looked, biases, np.nan),
            "weight_spread": np.where(matrices.count(self._size) == 1, matrices.total(spread, self._size), np.nan),
            "weight_grad_norm": matrices.length(grad, self._size),
            "update_ratio": matrices.length(step, self._size) / np.where(length == 0, np.nan, length),
            "progress": part / total if total > 0 else np.full(self._size, np.nan),
        }


def _matrices(site: Site) -> Sequence[str]:
    """A layer's weights without its bias, where it has weights."""
    if site.role is not Role.WEIGHT:
        return site.parameters
    return [name for name in site.parameters if "bias" not in name.rpartition(".")[2]] or site.parameters


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Which Site has which parameter, as two lists of equal length."""

    site: NDArray[np.intp]
    place: NDArray[np.intp]

    @classmethod
    def of(cls, sites: Sequence[Site], names: Sequence[str], chosen: Callable[[Site], Sequence[str]]) -> "_Pairs":
        places = {name: place for place, name in enumerate(names)}
        found = [(site.index, places[name]) for site in sites for name in chosen(site) if name in places]
        pairs = np.array(found, dtype=np.intp).reshape(-1, 2)
        return cls(pairs[:, 0], pairs[:, 1])

    def count(self, size: int) -> NDArray[np.intp]:
        return np.bincount(self.site, minlength=size)

    def total(self, values: Array, size: int) -> Array:
        """Sum over a Site's parameters; nan where it has none."""
        summed = np.bincount(self.site, values[self.place], minlength=size)
        return np.where(self.count(size) > 0, summed, np.nan)

    def length(self, norms: Array, size: int, unknown: float = np.nan) -> Array:
        """Norm of a Site's parameters taken together; where none is known, ``unknown``."""
        known = ~np.isnan(norms[self.place])
        found = _Pairs(self.site[known], self.place[known])
        return np.where(found.count(size) > 0, np.sqrt(found.total(norms**2, size)), unknown)


class _Raw:
    """What was read, by name, as arrays over places; nan where nothing was."""

    def __init__(self, read: Read, size: int) -> None:
        self._read, self._size = read, size

    def __contains__(self, name: str) -> bool:
        return name in self._read

    def __getitem__(self, name: str) -> Array:
        return self.get(name, np.nan)

    def get(self, name: str, default: float) -> Array:
        values = [default] * self._size
        for place, value in self._read.get(name, {}).items():
            values[place] = value
        return np.array(values)
