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


def columns(read: Read, sites: Sequence[Site], edges: Sequence[Edge], names: Sequence[str] = ()) -> Columns:
    """From what was read off the devices to the columns of a Run, each [sites] or [edges].

    An edge that alone feeds its Site carries the whole gradient received there, and nobody had to measure it.

    Args:
        read: what `Meter.read` returned.
        sites, edges: of the graph that was taped.
        names: of the parameters, as `measure_parameters` returned them.
    """
    with np.errstate(all="ignore"):
        raw = _Raw(read, len(sites))
        received = raw.get("received", 0.0)  # 0: autograd had nothing to pass on
        by_edge = _edge_columns(read, edges, received)
        passed = _passed(by_edge["contribution"], edges, len(sites))
        by_site = {**_site_columns(raw, received, passed, sites), **_parameter_columns(read, sites, names)}
    assert by_site.keys() == SITE_COLUMNS.keys()  # noqa: S101  # the two lists are kept by hand
    return Columns(by_site, by_edge)


def _site_columns(raw: "_Raw", received: Array, passed: Array, sites: Sequence[Site]) -> dict[str, Array]:
    n_out = np.array([site.n_out or np.nan for site in sites])
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
        "alignment_w": np.sqrt(n_out) * passed * agreement / (raw["weight"] * received),
        "saturated": (1 - raw["above_less_below"] / raw["values"]) / 2,
        "dead": (1 - raw["alive_less_dead"] / raw["units"]) / 2,
        "nonfinite": raw["nonfinite"],
        "weight_norm": raw["weight"],
    }


def _edge_columns(read: Read, edges: Sequence[Edge], received: Array) -> dict[str, Array]:
    raw = _Raw(read, len(edges))
    target = np.array([edge.target for edge in edges], dtype=int)
    alone = np.bincount(target, minlength=len(received))[target] == 1
    share = np.where(alone, 1.0, raw.get("inner", 0.0) / received[target] ** 2)
    # 0: nothing came along the edge, as autograd passes None for a gradient of zeros.
    return {"contribution": np.where(alone, received[target], raw.get("contribution", 0.0)), "share": share}


def _passed(contribution: Array, edges: Sequence[Edge], size: int) -> Array:
    """Norm of what each Site passes on; nan where it passes nothing on to any Site."""
    source = np.array([edge.source for edge in edges], dtype=int)
    total = np.full(size, np.nan)
    total[source] = 0.0
    np.add.at(total, source, contribution**2)
    return np.sqrt(total)


def _parameter_columns(read: Read, sites: Sequence[Site], names: Sequence[str]) -> dict[str, Array]:
    raw = _Raw(read, len(names))
    grad, norm = raw["grad of parameter"], raw["parameter"]
    descent = -raw["ascent"] if "ascent" in read else grad**2
    own = _Pairs.of(sites, names, lambda site: site.parameters)
    # A parameter that is used at many Sites makes one step: each has an equal part of it.
    uses = np.bincount(own.place, minlength=len(names)).clip(1)
    part = own.total(np.nan_to_num(descent / uses, nan=0.0), len(sites))
    total = np.nansum(part)
    matrices = _Pairs.of(sites, names, _matrices)
    spread = np.sqrt(np.maximum(1 - raw["sum of rows"] ** 2 / (raw["units of parameter"] * norm**2), 0.0))
    lengths = [matrices.length(each, len(sites)) for each in (grad, raw["step"], norm)]
    return {
        "weight_spread": np.where(matrices.count(len(sites)) == 1, matrices.total(spread, len(sites)), np.nan),
        "weight_grad_norm": lengths[0],
        "update_ratio": lengths[1] / np.where(lengths[2] == 0, np.nan, lengths[2]),
        "progress": part / total if total > 0 else np.full(len(sites), np.nan),
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

    def length(self, norms: Array, size: int) -> Array:
        """Norm of a Site's parameters taken together; nan where none is known."""
        known = ~np.isnan(norms[self.place])
        return np.sqrt(_Pairs(self.site[known], self.place[known]).total(norms**2, size))


class _Raw:
    """What was read, by name, as arrays over places; nan where nothing was."""

    def __init__(self, read: Read, size: int) -> None:
        self._read, self._size = read, size

    def __getitem__(self, name: str) -> Array:
        return self.get(name, np.nan)

    def get(self, name: str, default: float) -> Array:
        values = [default] * self._size
        for place, value in self._read.get(name, {}).items():
            values[place] = value
        return np.array(values)
