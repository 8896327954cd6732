"""UT106: gradient that is lost beside the gradient path."""

from collections import Counter
from collections.abc import Iterator, Sequence
from posixpath import commonpath

from undertow.analysis.attribution import cause_of
from undertow.analysis.gradient_path import Decay
from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Role, Severity, main_activation
from undertow.rules.advice import Advice
from undertow.rules.advice.signal import SQUASHING, against_fading
from undertow.rules.alike import said_once
from undertow.rules.consequences import severity_of
from undertow.rules.registry import rule
from undertow.rules.ut1_scale import PRODUCT_EQUATION, VANISHING_RATE, VANISHING_TOTAL
from undertow.wording import called, times_of_decades

FEWEST_IN_A_BRANCH = 4


@rule("UT106", "starved branch")
def starved(diagnosis: Diagnosis) -> Iterator[Finding]:
    """A deep branch beside the gradient path gets no gradient.

    What:
        The front learns through a short cut, while the gradient vanishes step by step in a branch around it: the
        bottleneck of a U-Net, say.
    Why it is bad:
        The branch's layers stay as they are, and the network is as shallow as its short cut.
    Evidence:
        ``rate`` and ``total`` of the gradient received along the branch's longest way, down to where it is smallest.
    Threshold:
        As for UT101, in branches of four weight layers or more, through depth (through time, that is through the same
        weights again and again, see UT107). A branch that ends in one small factor (zero-initialised, LayerScale) has
        no steady decay and doesn't fire: that factor learns, and opens the branch. Nor does what lies in front of an
        attention's softmax, queries and keys: over nearly equal logits gradients are small in every healthy
        transformer at its start, and adaptive optimizers make up for it. A note for what makes a gate (FocalNet's
        modulation): its gradient is as small as what it lets through.
    What to do:
        What helps against UT101, in the branch.
    References:
        Veit, Wilber, Belongie 2016 (gradient in residual networks comes along short paths).
    """
    yield from said_once(
        _starved(diagnosis, path, found)
        for path, found in branches(diagnosis)
        if found.steady and found.rate <= VANISHING_RATE and found.total <= VANISHING_TOTAL
    )


def branches(diagnosis: Diagnosis) -> Iterator[tuple[Sequence[int], Decay]]:
    """Follow every deep branch beside the gradient path: its edges, and the decay down to where it is smallest."""
    gradient_path = diagnosis.gradient_path
    if gradient_path is None or not diagnosis.finite or diagnosis.starts_at_zero:
        return
    sites, edges = diagnosis.run.sites, diagnosis.run.edges
    for start, end in gradient_path.blocks():
        if end - start < FEWEST_IN_A_BRANCH:  # as between most neighbours: givers stand before receivers
            continue
        path = gradient_path.deepest_path(start, end)
        if sum(sites[edges[edge].source].role is Role.WEIGHT for edge in path) < FEWEST_IN_A_BRANCH:
            continue
        if path == gradient_path.main_path(start, end) or _through_time(diagnosis, path) or _asks(diagnosis, path):
            continue
        found = gradient_path.starvation(path)
        if len(found.waypoints) >= FEWEST_IN_A_BRANCH:
            yield path, found


def _starved(diagnosis: Diagnosis, path: Sequence[int], found: Decay) -> Finding:
    """Return what there is to say of a branch."""
    where = diagnosis.between(found.waypoints[0], found.waypoints[-1])
    run = diagnosis.run
    first, last = (called(run, run.sites[place]) for place in (found.waypoints[0], found.waypoints[-1]))
    less = times_of_decades(found.total)
    text = f"Inside a branch {last} gets {less} gradient than {first}: what goes around it learns."
    numbers = {"rate": found.rate, "total": found.total}
    limits = f"rate <= {VANISHING_RATE} and total <= {VANISHING_TOTAL}"
    sites, equation = found.waypoints, PRODUCT_EQUATION
    severity, outcome = severity_of("UT106", found.total, diagnosis.run)
    if _gated(diagnosis, path):
        severity, outcome = Severity.NOTE, " It ends in a gate, which opens as it learns."
    found_here = Finding("UT106", "starved branch", severity, sites, where, text + outcome, numbers, limits, equation)
    return _advice(diagnosis, path).on(found_here)


def _advice(diagnosis: Diagnosis, path: Sequence[int]) -> Advice:
    run = diagnosis.run
    sites = [run.sites[place] for place in dict.fromkeys(run.edges[edge].target for edge in path)]
    squashes = main_activation(sites) in SQUASHING
    modules = [site.module for site in sites if site.role is Role.WEIGHT]
    inside = commonpath([f"/{each.replace('.', '/')}" for each in modules])[1:].replace("/", ".") if modules else ""
    return against_fading(diagnosis, sites, "activation" if squashes else "weights", inside)


def _gated(diagnosis: Diagnosis, path: Sequence[int]) -> bool:
    """Tell whether what the branch makes multiplies something else that depends on the data."""
    run = diagnosis.run
    return any(cause_of(run, run.sites[run.edges[edge].source]) == "gating" for edge in path)


def _through_time(diagnosis: Diagnosis, path: Sequence[int]) -> bool:
    """Tell whether a path leads through the same weights more than once, however few the steps."""
    run = diagnosis.run
    layers = [run.sites[run.edges[edge].source] for edge in path]
    uses = Counter(site.parameters for site in layers if site.role is Role.WEIGHT and site.parameters)
    return max(uses.values(), default=0) > 1


def _asks(diagnosis: Diagnosis, path: Sequence[int]) -> bool:
    """Tell whether a path leads to the queries or keys of an attention: through its softmax, or a fused kernel's."""
    run = diagnosis.run
    for edge in path:
        source = run.sites[run.edges[edge].source]
        if source.role is not Role.ATTENTION:
            continue
        if "softmax" in source.op:
            return True
        # A fused kernel passes gradient on to queries, keys and values, in this order.
        if source.op.startswith("scaled_dot_product") and edge != run.outgoing[source.index][-1]:
            return True
    return False
