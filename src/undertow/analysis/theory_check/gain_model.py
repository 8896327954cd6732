"""Theory's gain of one block of the gradient path, and how far chance may take it.

A layer with independent weights of mean zero: ||W||_F^2 / n_out. An activation whose pre-activations are normal with
variance q: E[φ'(√q u)²]. Branches around a skip connection: their squares add up, 1 + k. (Poole et al. 2016,
Schoenholz et al. 2017, Yang & Schoenholz 2017; see `undertow.theory`.) The spread is that of one example: a batch of
many unlike ones has less.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from undertow.analysis.attribution import cause_of
from undertow.analysis.theory_check.activations import known
from undertow.analysis.theory_check.statistics import LAYERS, Moments, Statistics
from undertow.record import Role, Site

PASSING = ("add", "sub")
RESHAPES = frozenset(
    [
        "view",
        "unsafe_view",
        "reshape_alias",
        "t",
        "transpose",
        "permute",
        "squeeze",
        "unsqueeze",
        "alias",
        "clone",
        "to_copy",
        "view_as_real",
        "view_as_complex",
        "lift_fresh",
        "backward_hook_function",
        "register_post_backward_function",
        "split",
        "split_with_sizes",
        "unsafe_split",
        "unbind",
        "chunk",
        "slice",
        "select",
        "narrow",
    ]
)
"""Operations that move numbers: what several consumers give them, they pass on whole."""

SQUARES = 2 * math.log(10)
"""From decades of the norm to nepers of its square."""

BY_CHANCE = 4.0
"""Standard deviations up to which a gain counts as what theory expects."""

BY_CHANCE_IN_ALL = 3.0
"""The same for a whole network, of which there is one and not many segments."""

ROUNDING = 0.03
"""Decades that theory itself may be off: it leaves out what is of higher order in 1/width."""


class NoTheory(Exception):  # noqa: N818  # it is no error, but what theory has to say
    """Say why nothing is expected here: what it is that theory doesn't cover, as a noun."""


@dataclass(frozen=True)
class GainModel:
    """The expected gain of one or more operations in a row.

    Attributes:
        decades: log10 of the root mean square gain.
        variance: over random weights, of ln of the squared gain.
        deviation: decades by which the measured factors differ, by cause: ``weights``, ``slope``, ``alignment``.
        layers: Sites of the layers that are in it, the loss's side first.
        residual: whether a skip connection goes around it.
        q: variance of the pre-activations of the last activation in it; nan without one.
    """

    decades: float = 0.0
    variance: float = 0.0
    deviation: Mapping[str, float] = field(default_factory=dict)
    layers: tuple[int, ...] = ()
    residual: bool = False
    q: float = math.nan

    def __add__(self, after: "GainModel") -> "GainModel":
        causes = {**self.deviation, **after.deviation}
        both = {c: self.deviation.get(c, 0.0) + after.deviation.get(c, 0.0) for c in causes}
        decades, variance = self.decades + after.decades, self.variance + after.variance
        q = self.q if math.isnan(after.q) else after.q
        return GainModel(decades, variance, both, self.layers + after.layers, self.residual or after.residual, q)


def gain_model(statistics: Statistics, start: int, end: int) -> GainModel:
    """Work out the expected gain of the block between two neighbours on the gradient path.

    Raises:
        NoTheory: with what stands in the way.
    """
    run = statistics.run
    edges = run.incoming[end]
    straight = [edge for edge in edges if run.edges[edge].source == start]
    if len(edges) == 1 and straight:
        return _operation(statistics, straight[0], in_branch=False)
    if _attends(statistics, start, end):
        raise NoTheory("attention")
    if len(edges) != 2 or len(straight) != 1 or run.sites[start].op not in PASSING:
        raise NoTheory("joins of several branches")
    (beside,) = set(edges) - set(straight)
    return _around(_branch(statistics, start, beside), statistics)


def _branch(statistics: Statistics, start: int, edge: int) -> GainModel:
    run, found = statistics.run, GainModel()
    while run.edges[edge].source != start:
        source = run.edges[edge].source
        found = _operation(statistics, edge, in_branch=True) + found
        if len(run.incoming[source]) != 1:
            raise NoTheory("branches within branches")
        edge = run.incoming[source][0]
    return found


def _around(branch: GainModel, statistics: Statistics) -> GainModel:
    """A skip connection around a branch of squared gain k: 1 + k, and what chance makes of their inner product."""
    k = math.exp(SQUARES * branch.decades) if branch.decades > -math.inf else 0.0
    width = min((statistics.run.sites[layer].n_out for layer in branch.layers), default=0)
    crossing = 4 * k / width if width else 0.0
    variance = (k**2 * branch.variance + crossing) / (1 + k) ** 2
    return GainModel(math.log10(1 + k) / 2, variance, branch.deviation, branch.layers, residual=True, q=branch.q)


def _operation(statistics: Statistics, edge: int, in_branch: bool) -> GainModel:
    """Work out the expected gain of the operation that gives along an edge."""
    run = statistics.run
    source, target = (run.sites[end] for end in (run.edges[edge].source, run.edges[edge].target))
    if source.role is Role.WEIGHT:
        return _layer(statistics, source, target)
    if source.role is Role.ACTIVATION:
        return _activation(statistics, source, target)
    if _passes_on(source, target):
        return GainModel()
    cause = cause_of(run, source)
    if cause == "scaling" or (in_branch and source.role is Role.NORM):
        return GainModel(_measured(statistics, source, edge))
    raise NoTheory(source.op if cause == "other" else cause)


def _passes_on(source: Site, target: Site) -> bool:
    """Tell whether the operation hands gradient on unchanged: sums, a bias added, reshapes with several consumers."""
    if source.role is Role.JOIN and source.op in PASSING:
        return True
    return source.op in (*PASSING, *RESHAPES) and math.prod(source.shape) == math.prod(target.shape)


def _measured(statistics: Statistics, source: Site, edge: int) -> float:
    """Factors that theory takes as they are: of dropout, of a scale, of a normalisation in a branch."""
    received = float(statistics.run.column("grad_output", statistics.step)[source.index])
    passed = float(statistics.run.edge_column("contribution", statistics.step)[edge])
    return _log(passed / received) if received > 0 else 0.0


def _layer(statistics: Statistics, layer: Site, target: Site) -> GainModel:
    weight_var = float(statistics.weight_var[layer.index])
    if layer.op not in LAYERS or math.isnan(weight_var) or _is_transposed(layer):
        raise NoTheory(_which(layer))
    if layer.index in statistics.reused:
        raise NoTheory("weights that are used more than once")
    alignment = float(statistics.run.column("alignment_w", statistics.step)[layer.index])
    deviation = _log(alignment) - _log(layer.inside) / 2 if alignment > 0 else 0.0
    behind_activation = target.role is Role.ACTIVATION
    variance = 0.0 if behind_activation else 2 / _inputs(layer)
    return GainModel(_log(weight_var * layer.inside) / 2, variance, {"weights": deviation}, (layer.index,))


def _which(layer: Site) -> str:
    if layer.op not in LAYERS:
        return layer.op
    if _is_transposed(layer):
        return "transposed convolutions"
    return "weights out of reach" if layer.weight_shape else "frozen weights"


def _activation(statistics: Statistics, site: Site, target: Site) -> GainModel:
    found = statistics.moments.get(site.index)
    if found is None:
        raise NoTheory(_why_unsized(statistics, site))
    reading = statistics.run.reading(site.index, statistics.step)
    slope, aligned = reading["derivative_rms"], reading["alignment_phi"]
    expected = _log(found.slope2) / 2
    deviation = {
        "slope": _log(slope) - expected if slope > 0 else 0.0,
        "alignment": _log(aligned) if aligned > 0 else 0.0,
    }
    return GainModel(expected, _variance(found, target), deviation, q=found.q)


def _variance(found: Moments, layer: Site) -> float:
    """κ/n: of φ'(z_i)² g_i² averaged over n units, g normal (Hanin & Nica 2020)."""
    return (3 * found.slope4 / found.slope2**2 - 1) / layer.n_out if found.slope2 > 0 and layer.n_out else 0.0


def _why_unsized(statistics: Statistics, site: Site) -> str:
    if site.activation is None or known(site.activation) is None:
        return f"{site.activation or site.op}"
    layer = statistics.layer_below(site)
    if layer is not None:
        unknown = math.isnan(statistics.weight_var[layer.index])
        return "weights out of reach" if unknown else "inputs that autograd didn't keep"
    run = statistics.run
    below = {run.sites[run.edges[edge].target].role for edge in run.outgoing[site.index]}
    return "normalisation" if Role.NORM in below else "activations that don't follow a layer"


def _attends(statistics: Statistics, start: int, end: int) -> bool:
    return any(site.role is Role.ATTENTION for site in statistics.run.sites[start : end + 1])


def _inputs(layer: Site) -> float:
    return max(1.0, math.prod(layer.weight_shape) / max(layer.n_out, 1))


def _is_transposed(layer: Site) -> bool:
    return layer.op == "convolution" and (
        "Transpose" in layer.module_type or (bool(layer.weight_shape) and layer.weight_shape[0] != layer.n_out)
    )


def _log(value: float) -> float:
    return math.log10(value) if value > 0 else -math.inf
