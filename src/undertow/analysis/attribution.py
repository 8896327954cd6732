"""Why the gradient changes: the gain of every block of the gradient path, as factors by cause.

A block's gain is followed along its main path. Each operation on it contributes what it does to the gradient alone
(what it passes on / what it receives), each join what the other branches add. For activations and weights the factor
is computed from z, W and the gradient received; ``unattributed`` is what the measured gain has beyond that.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from undertow.analysis.gradient_path import GradientPath, find_gradient_path
from undertow.record import BackwardGain, Role, Run, Site

CAUSES = (
    "activation",
    "weights",
    "embedding",
    "normalisation",
    "attention",
    "join",
    "concatenation",
    "pooling",
    "selection",
    "mixing",
    "gating",
    "scaling",
    "loss",
    "other",
    "unattributed",
)
"""``selection`` takes a part or adds up duplicates (index, gather, expand); ``mixing`` multiplies by a constant matrix,
as a graph convolution does by its graph and a Fourier transform by its waves; ``gating`` multiplies two tensors that
both depend on the data; ``scaling`` multiplies by anything else, dropout included."""

_BY_ROLE = {
    Role.ACTIVATION: "activation",
    Role.NORM: "normalisation",
    Role.ATTENTION: "attention",
    Role.LOSS: "loss",
}
_BY_OP = {
    "embedding": {"embedding", "embedding_bag"},
    "concatenation": {"cat", "stack"},
    "pooling": {"mean", "sum", "amax", "max", "logsumexp"},
    "selection": {"index", "gather", "index_select", "expand", "repeat", "index_add", "index_put", "scatter", "where"},
    "mixing": {
        *("mm", "bmm", "mv", "addmm", "addmv", "baddbmm", "addbmm", "sparse_addmm", "grouped_mm", "convolution"),
        *("fft_r2_c", "fft_c2_c", "fft_c2_r", "cumsum"),
    },
    "scaling": {"mul", "div", "neg", "native_dropout", "masked_fill", "constant_pad_nd", "tril", "triu"},
}
_ADDENDS = frozenset({"addmm", "addmv", "baddbmm", "addbmm", "sparse_addmm"})
"""Products whose first input is added on; if gradient goes there, it goes along the first edge."""

_CAUSE_OF_OP = {op: cause for cause, ops in _BY_OP.items() for op in ops}


def attribute(run: Run, step: int = -1, gradient_path: GradientPath | None = None) -> tuple[BackwardGain, ...]:
    """The gain of every block of the gradient path and its factors, the loss's side first; empty without weights.

    Args:
        run: what was measured.
        step: which recorded step; the last unless given.
        gradient_path: of that step, if it is at hand.

    Example:
        >>> from undertow.record import Edge
        >>> sites = (Site(0, "fc2", "addmm", Role.WEIGHT, n_out=1), Site(1, "fc1", "addmm", Role.WEIGHT))
        >>> columns = {"grad_output": np.array([[1.0, 0.5]]), "weight_norm": np.array([[0.5, 2.0]]),
        ...            "alignment_w": np.array([[1.0, np.nan]])}
        >>> run = Run({}, sites, (Edge(0, 1),), columns, {"contribution": np.array([[0.5]]), "share": np.ones((1, 1))})
        >>> dict(attribute(run)[0].factors)
        {'weights': 0.5, 'join': 1.0, 'unattributed': 1.0}
    """
    gradient_path = gradient_path or find_gradient_path(run, step)
    if gradient_path is None:
        return ()
    numbers = _Step(run, step)
    return tuple(_attribute_block(gradient_path, numbers, start, end) for start, end in gradient_path.blocks())


def product(gains: Iterable[BackwardGain]) -> dict[str, float]:
    """Factors of several blocks in a row, multiplied by cause."""
    total: dict[str, float] = defaultdict(lambda: 1.0)
    for gain in gains:
        for cause, factor in gain.factors.items():
            total[cause] *= factor
    return dict(total)


def cause_of(run: Run, site: Site) -> str:
    """Return the name of the cause that a Site's operation counts as."""
    if site.op in _BY_OP["embedding"]:
        return "embedding"
    if site.role is Role.WEIGHT:
        return "weights"
    if site.role in _BY_ROLE:
        return _BY_ROLE[site.role]
    if "pool" in site.op or site.op.startswith("upsample"):
        return "pooling"
    if site.op == "mul" and len(run.outgoing[site.index]) > 1:
        return "gating"
    return _CAUSE_OF_OP.get(site.op, "join" if site.role is Role.JOIN else "other")


class _Step:
    """Hold the numbers of one step as lists, of which Python reads one at a time faster than of columns."""

    def __init__(self, run: Run, step: int) -> None:
        self.received = run.column("grad_output", step).tolist()
        self.contribution = run.edge_column("contribution", step).tolist()
        self.share = run.edge_column("share", step).tolist()
        self.known = _from_the_inside(run, step).tolist()
        self.edges = run.of_graph(_causes)


def _attribute_block(gradient_path: GradientPath, numbers: _Step, start: int, end: int) -> BackwardGain:
    run, received = gradient_path.run, numbers.received
    path = gradient_path.main_path(start, end)
    factors: dict[str, float] = {}
    for edge in path:
        for cause, factor in _factors(numbers, edge):
            factors[cause] = factors.get(cause, 1.0) * factor
    factors["unattributed"] = factors.pop("unattributed", 1.0)
    shares = {edge: numbers.share[edge] for edge in run.incoming[end]}
    main = (start, *(run.edges[edge].target for edge in path))
    return BackwardGain(start, end, _ratio(received[end], received[start]), factors, shares, main)


class _Causes(NamedTuple):
    """Name the causes of what happens at an edge: of the source's operation, and of the sum at the target."""

    source: int
    target: int
    of_source: str
    is_added_on: bool
    of_sum: str


def _causes(run: Run) -> list[_Causes]:
    """Return the causes at every edge."""
    of_sum = [_cause_of_sum(run, site) for site in run.sites]
    found = []
    for number, edge in enumerate(run.edges):
        source = run.sites[edge.source]
        added = _is_added_on(run, source, number)
        cause = "join" if added else cause_of(run, source)
        found.append(_Causes(edge.source, edge.target, cause, added, of_sum[edge.target]))
    return found


def _factors(numbers: _Step, edge: int) -> tuple[tuple[str, float], ...]:
    source, target, cause, is_added_on, sum_cause = numbers.edges[edge]
    arriving, known = numbers.contribution[edge], math.nan if is_added_on else numbers.known[source]
    gain, of_sum = _ratio(arriving, numbers.received[source]), _ratio(numbers.received[target], arriving)
    if math.isnan(known):
        return (cause, gain), ("unattributed", 1.0), (sum_cause, of_sum)
    return (cause, known), ("unattributed", _ratio(gain, known)), (sum_cause, of_sum)


def _is_added_on(run: Run, source: Site, edge: int) -> bool:
    """Tell whether an edge leads to what a product adds on, as in ``addmm(residual, h, W)``, not to its factors."""
    onward = run.outgoing[source.index]
    return source.op in _ADDENDS and len(onward) > 1 and edge == onward[0]


def _from_the_inside(run: Run, step: int) -> NDArray[np.float64]:
    """Return every Site's factor from phi' or W and the gradient received; NaN where one of them is not known."""
    activations, root = run.of_graph(_roles)
    wide = {name: np.asarray(run.column(name, step), np.float64) for name in _INSIDE}
    with np.errstate(all="ignore"):  # what overflows is inf, and what was inf may be nan
        by_weights = wide["weight_norm"] / root * wide["alignment_w"]
        return np.where(activations, wide["derivative_rms"] * wide["alignment_phi"], by_weights)


_INSIDE = ("derivative_rms", "alignment_phi", "weight_norm", "alignment_w")


def _roles(run: Run) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Tell which Sites are activations; the square root of the units of those with weights, of others NaN."""
    roots = [site.n_out**0.5 if site.role is Role.WEIGHT and site.n_out else math.nan for site in run.sites]
    return np.array([site.role is Role.ACTIVATION for site in run.sites], bool), np.array(roots, np.float64)


def _cause_of_sum(run: Run, target: Site) -> str:
    """Gradients that meet inside of one normalisation, or of one attention, are its own affair."""
    sources = [run.sites[run.edges[edge].source] for edge in run.incoming[target.index]]
    if len(sources) > 1 and len({source.role for source in sources}) == 1:
        return {Role.NORM: "normalisation", Role.ATTENTION: "attention"}.get(sources[0].role, "join")
    return "join"


def _ratio(above: float, below: float) -> float:
    if below == 0:
        return 1.0 if above == 0 else float("inf")
    return above / below  # inf / inf is nan, and stays visible
