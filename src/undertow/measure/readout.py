"""From the numbers read off the devices to the columns of a Run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from undertow.measure.reading import Array, Reading
from undertow.record import SITE_COLUMNS, Edge, Role, Site

ROUNDINGS = 32
"""Roundings of a gradient's norm that a projection of it may be off by: they add up over long sums."""


_AS_THEY_ARE = (
    *("lookups", "target mean", "target spread", "target missed", "output size", "surprise", "classes"),
    *("constant loss", "commonest", "outweighs", "softmax axis"),
)
"""Numbers that are columns as they are read."""


@dataclass(frozen=True, slots=True)
class Columns:
    """One recorded step, or many: columns by name, each [..., sites] or [..., edges]."""

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
        >>> from undertow.measure import index
        >>> read = Reading.of([(index((("received", 0), ("received", 1))), [1.0, 0.25])])
        >>> readout.columns(read).by_site["grad_input"].tolist()
        [0.25, nan]
    """

    def __init__(self, sites: Sequence[Site], edges: Sequence[Edge], names: Sequence[str] = ()) -> None:
        self.names = tuple(names)
        self._size = len(sites)
        self._n_out = np.sqrt([site.n_out or np.nan for site in sites])
        self._source = np.array([edge.source for edge in edges], dtype=int)
        self._target = np.array([edge.target for edge in edges], dtype=int)
        self._alone = np.bincount(self._target, minlength=len(sites))[self._target] == 1
        self._onward = _Sums(self._source, len(sites))
        self._passes_on = self._onward.count > 0
        self._own = _Pairs(sites, names, lambda site: site.parameters)
        # A parameter that is used at many Sites makes one step: each has an equal part of it.
        self._uses = np.maximum(np.bincount(self._own.place, minlength=len(names)), 1)
        self._layer = np.array([site.role is Role.WEIGHT and bool(site.parameters) for site in sites], dtype=bool)
        self._matrices = _Pairs(sites, names, _matrices)

    def columns(self, read: Reading) -> Columns:
        """Return what `Meter.read` returned as columns of a Run, each [..., sites] or [..., edges].

        An edge that alone feeds its Site carries the whole gradient received there, and nobody had to measure it.
        """
        with np.errstate(all="ignore"):
            raw = _Raw(read, self._size)
            received = raw.get("received", 0.0)  # 0: autograd had nothing to pass on
            by_edge = self._by_edge(_Raw(read, len(self._target)), received)
            by_site = {**self._by_site(raw, received, by_edge), **self._by_parameter(_Raw(read, len(self.names)))}
        assert by_site.keys() == SITE_COLUMNS.keys()  # noqa: S101  # the two lists are kept by hand
        return Columns({name: _shaped(column, received.shape) for name, column in by_site.items()}, by_edge)

    def _by_site(self, raw: "_Raw", received: Array, by_edge: Mapping[str, Array]) -> dict[str, Array]:
        passed = np.sqrt(self._onward.total(by_edge["contribution"] ** 2))
        passed[..., ~self._passes_on] = np.nan
        slope_rms = raw["slope"] / np.sqrt(raw["values"])
        through = raw.get("multiplied", passed)
        return {
            "grad_output": received,
            "grad_input": passed,
            "learning_speed": raw["summed"],
            "coherence": raw["summed"] / (np.sqrt(raw["rows"]) * received),
            "derivative_rms": slope_rms,
            "alignment_phi": raw.get("slope_times_g", passed) / (slope_rms * received),
            "alignment_w": self._n_out * through * self._agreement(raw, through) / (raw["weight"] * received),
            "saturated": 1 - raw["steep"] / (2 * raw["values"]),
            "dead": 1 - raw["alive"] / (2 * raw["units"]),
            "nonfinite": raw["nonfinite"],
            "weight_norm": raw["weight"],
            "input_rms": raw["inflow"] / np.sqrt(raw["inputs"]),
            "input_likeness": (raw["sum of examples"] / raw["inflow"]) ** 2 / raw["examples"],
            "input_cosine": _mean_cosine(raw["sum of directions"], raw["directions"]),
            "one_hot": raw.ratio("one-hot", "attending", "heads"),
            "one_hot_head": raw.ratio("one-hot of one head", "attending"),
            "logit_gap": raw.ratio("gap", "attending", "heads"),
            "rows_used": raw.ratio("rows used", "rows of table"),
            **{name.replace(" ", "_"): raw[name] for name in _AS_THEY_ARE},
        }

    def _agreement(self, raw: "_Raw", passed: Array) -> Array | float:
        """Return <expected, arrived> / ||arrived||^2, by the law of cosines; 1 in passes that didn't ask.

        It is 1, too, where rounding explains the difference: if a projection cancels there is little left of it but
        rounding, which goes with the whole gradient's norm.
        """
        if "arrived" not in raw:
            return 1.0
        arrived = raw["arrived"]
        found = (1 + (raw["expected"] ** 2 - raw["differing"] ** 2) / arrived**2) / 2
        scale = passed + raw["weight"] / self._n_out * raw.get("received", 0.0)
        explained = ROUNDINGS * raw["rounding"] * scale >= np.abs(found - 1) * arrived
        return np.where(explained | (arrived == 0), 1.0, found)

    def _by_edge(self, raw: "_Raw", received: Array) -> dict[str, Array]:
        arriving = received[..., self._target]
        share = np.where(self._alone, 1.0, raw.get("inner", 0.0) / arriving**2)
        # 0: nothing came along the edge, as autograd passes None for a gradient of zeros.
        return {"contribution": np.where(self._alone, arriving, raw.get("contribution", 0.0)), "share": share}

    @property
    def _nothing(self) -> Array:
        return np.full(self._size, np.nan)

    def _rows_reached(self, raw: "_Raw") -> Array:
        if "rows reached" not in raw:
            return self._nothing
        reached = self._own.total(np.nan_to_num(raw.ratio("rows reached", "rows to reach")))
        return np.where(reached > 0, reached, np.nan)

    def _by_parameter(self, raw: "_Raw") -> dict[str, Array]:
        grad, norm, units = raw["grad of parameter"], raw["parameter"], raw["units of parameter"]
        descent = -raw["ascent"] if "ascent" in raw else grad**2
        part = self._own.total(np.where(np.isnan(descent), 0.0, descent / self._uses))
        total = np.nansum(part, axis=-1, keepdims=True)
        matrices = self._matrices
        spread = np.sqrt(np.maximum(1 - raw["sum of units"] ** 2 / (units * norm**2), 0.0))
        pulled_apart = np.sqrt(np.maximum(1 - raw["sum of units' grads"] ** 2 / (units * grad**2), 0.0))
        length = matrices.length(norm)
        looked = "biases" in raw or "inputs" in raw  # a watched step asks for neither
        biases = self._own.length(raw["bias"] / np.sqrt(raw["biases"]), unknown=0.0)
        return {
            "rows_reached": self._rows_reached(raw),
            "bias_rms": np.where(self._layer & looked, biases, np.nan),
            "weight_spread": np.where(matrices.count == 1, matrices.total(spread), np.nan),
            "grad_spread": np.where(matrices.count == 1, matrices.total(pulled_apart), np.nan),
            "weight_grad_norm": matrices.length(grad),
            "update_ratio": self._nothing
            if "step" not in raw
            else matrices.length(raw["step"]) / np.where(length == 0, np.nan, length),
            "progress": np.where(total > 0, part / total, np.nan),
        }


def _mean_cosine(total: Array, each: Array) -> Array:
    """Return the mean cosine of two of n vectors, from the norm of the sum of their directions; those of 0 have none.

    ||sum of u||^2 = n + n (n - 1) c, and the directions' own norm tells n.
    """
    count = np.round(each**2)
    return np.where(count > 1, (total**2 - count) / (count * (count - 1)), np.nan)


def _shaped(column: Array, shape: tuple[int, ...]) -> Array:
    """Give what was measured nowhere an axis of no passes."""
    return column if column.shape == shape else np.broadcast_to(column, shape).copy()


def _matrices(site: Site) -> Sequence[str]:
    """A layer's weights without its bias, where it has weights."""
    if site.role is not Role.WEIGHT:
        return site.parameters
    return [name for name in site.parameters if "bias" not in name.rpartition(".")[2]] or site.parameters


class _Sums:
    """Adds up values by where they belong.

    Args:
        at: for every value the place it is added to.
        size: how many places there are.
    """

    def __init__(self, at: NDArray[np.intp], size: int) -> None:
        self.count = np.bincount(at, minlength=size)
        self._order = np.argsort(at, kind="stable")
        self._at = np.flatnonzero(self.count)
        self._starts = (np.cumsum(self.count) - self.count)[self._at]

    def total(self, values: Array) -> Array:
        """Sums, [..., places], of values, [..., values]."""
        found = np.zeros((*values.shape[:-1], len(self.count)))
        if len(self._at):
            found[..., self._at] = np.add.reduceat(values[..., self._order], self._starts, axis=-1)
        return found


class _Pairs:
    """Know which Site has which parameter."""

    def __init__(self, sites: Sequence[Site], names: Sequence[str], chosen: Callable[[Site], Sequence[str]]) -> None:
        places = {name: place for place, name in enumerate(names)}
        found = [(site.index, places[name]) for site in sites for name in chosen(site) if name in places]
        pairs = np.array(found, dtype=np.intp).reshape(-1, 2)
        self.place = pairs[:, 1]
        self._sums = _Sums(pairs[:, 0], len(sites))
        self.count = self._sums.count

    def total(self, values: Array) -> Array:
        """Sum over a Site's parameters; nan where it has none."""
        return np.where(self.count > 0, self._sums.total(values[..., self.place]), np.nan)

    def length(self, norms: Array, unknown: float = np.nan) -> Array:
        """Norm of a Site's parameters taken together; where none is known, ``unknown``."""
        each = norms[..., self.place]
        missing = np.isnan(each)
        found = np.sqrt(self._sums.total(np.where(missing, 0.0, each**2)))
        return np.where(self._sums.total(~missing * 1.0) > 0, found, unknown)


class _Raw:
    """Hold what was read, by name, as arrays over places; nan where nothing was."""

    def __init__(self, read: Reading, size: int) -> None:
        self._read, self._size = read, size

    def __contains__(self, name: str) -> bool:
        return name in self._read

    def __getitem__(self, name: str) -> Array:
        return self._read.column(name, self._size)

    def get(self, name: str, default: float | Array) -> Array:
        return self._read.column(name, self._size, default)

    def ratio(self, above: str, *below: str) -> Array:
        """Divide by a product; of what nobody took, as of attention in a network without, nothing is worked out."""
        if above not in self._read:
            return np.full(self._size, np.nan)
        product = self[below[0]]
        for name in below[1:]:
            product = product * self[name]
        return self[above] / product
