"""Why the gradient changes: the gain of every block of the gradient path, as factors by cause.

A block's gain is followed along its main path. Each operation on it contributes what it does to the gradient alone
(what it passes on / what it receives), each join what the other branches add. For activations and weights the factor
is computed from z, W and the gradient received; ``unattributed`` is what the measured gain has beyond that.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np

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
    return tuple(_attribute_block(gradient_path, start, end) for start, end in gradient_path.blocks())


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


def _attribute_block(gradient_path: GradientPath, start: int, end: int) -> BackwardGain:
    run, step = gradient_path.run, gradient_path.step
    received = run.column("grad_output", step)
    path = gradient_path.main_path(start, end)
    factors: dict[str, float] = defaultdict(lambda: 1.0)
    for edge in path:
        for cause, factor in _factors(run, step, edge):
            factors[cause] *= factor
    factors["unattributed"] = factors.pop("unattributed", 1.0)
    share = run.edge_column("share", step)
    shares = {edge: float(share[edge]) for edge in run.incoming[end]}
    main = (start, *(run.edges[edge].target for edge in path))
    return BackwardGain(start, end, _ratio(received[end], received[start]), dict(factors), shares, main)


def _factors(run: Run, step: int, edge: int) -> Iterable[tuple[str, float]]:
    source, target = run.sites[run.edges[edge].source], run.sites[run.edges[edge].target]
    received, arriving = run.column("grad_output", step), run.edge_column("contribution", step)[edge]
    gain, cause = _ratio(arriving, received[source.index]), cause_of(run, source)
    if _is_added_on(run, source, edge):
        cause, known = "join", float("nan")
    else:
        known = _from_the_inside(run.reading(source.index, step), source)
    yield cause, gain if np.isnan(known) else known
    yield "unattributed", 1.0 if np.isnan(known) else _ratio(gain, known)
    yield _cause_of_sum(run, target), _ratio(received[target.index], arriving)


def _is_added_on(run: Run, source: Site, edge: int) -> bool:
    """Tell whether an edge leads to what a product adds on, as in ``addmm(residual, h, W)``, not to its factors."""
    onward = run.outgoing[source.index]
    return source.op in _ADDENDS and len(onward) > 1 and edge == onward[0]


def _from_the_inside(reading: Mapping[str, float], site: Site) -> float:
    """The factor from phi' or W and the gradient received; NaN where one of them is not known."""
    if site.role is Role.ACTIVATION:
        return reading["derivative_rms"] * reading["alignment_phi"]
    if site.role is Role.WEIGHT and site.n_out:
        return reading["weight_norm"] / site.n_out**0.5 * reading["alignment_w"]
    return float("nan")


def _cause_of_sum(run: Run, target: Site) -> str:
    """Gradients that meet inside of one normalisation, or of one attention, are its own affair."""
    sources = [run.sites[run.edges[edge].source] for edge in run.incoming[target.index]]
    if len(sources) > 1 and len({source.role for source in sources}) == 1:
        return {Role.NORM: "normalisation", Role.ATTENTION: "attention"}.get(sources[0].role, "join")
    return "join"


def _ratio(above: float, below: float) -> float:
    above, below = float(above), float(below)
    if below == 0:
        return 1.0 if above == 0 else float("inf")
    return above / below  # inf / inf is nan, and stays visible
