"""UT201 and UT202: units that don't respond."""

from collections.abc import Iterator, Sequence

import numpy as np

from undertow.diagnosis import Diagnosis
from undertow.pytorch_code import spelled
from undertow.record import Finding, Role, Run, Severity, Site
from undertow.rules.advice.losses import slope_where_sure
from undertow.rules.advice.signal import against_dead_units, against_saturation
from undertow.rules.consequences import severity_of
from undertow.rules.registry import Blocks, rule
from undertow.wording import called, sentence

SATURATED_ABOVE, SATURATED_AT_FIRST = 0.85, 0.75
OPEN_ABOVE = 0.5
DEAD_ABOVE = 0.65
ALL_OF_THEM = 0.999
ROWS_TO_CALL_DEAD = 20
NEVER_OFF = frozenset({"softplus", "log_sigmoid"})
"""Activations whose derivative is small where they are near their limit, and never 0."""


_LOGS = frozenset({"log", "log1p", "binary_cross_entropy"})
_AROUND = frozenset({"mean", "sum", "neg", "rsub", "sub", "add", "clamp", "clamp_min", "mul", "div"})


@rule(
    "UT201",
    "saturated activations",
    columns=("saturated",),
    explains=("UT101", "UT104", "UT704"),
)
def saturated(diagnosis: Diagnosis) -> Iterator[Finding]:
    """An activation works mostly where it is flat.

    What:
        For most values of a sigmoid, tanh or the like the derivative is under a tenth of its peak. A gate that stands
        open is no such case: what it multiplies passes, as an LSTM's forget gate of 1 keeps the memory.
    Why it is bad:
        The gradient is multiplied by that derivative: little of it gets through.
    Evidence:
        ``saturated``: the share of values with |phi'(z)| under a tenth of its peak (|z| > 3.64 for the sigmoid, 1.82
        for tanh).
    Threshold:
        More than 85 %, and 75 % before the first step (10 of 12 twins needed half the steps). With the book's
        initialisation it is under 1 %; sigma_w = 2.5 with tanh makes it 1 in 3, and an LSTM that learned its task was
        seen at 81 %. At the output it is a note: a network that has learned is sure, too. But a warning where a
        log-likelihood is minimised, just under 0.
    What to do:
        Scale the inputs to mean 0 and variance 1, make the initial weights smaller, or normalise before activating.
    References:
        Glorot, Bengio 2010, section 3; LeCun et al. 1998 (Efficient BackProp), section 4.
    """
    share = diagnosis.column("saturated")
    untrained = _is_untrained(diagnosis)
    limit_now = SATURATED_AT_FIRST if untrained else SATURATED_ABOVE
    found = flat_sites(diagnosis, limit_now, untrained)
    if not found:
        return
    worst = max(found, key=lambda site: share[site.index])
    name, kind = called(diagnosis.run, worst), spelled(worst.activation)
    text = (
        f"{sentence(name)} is saturated{_as_others(found)}: {share[worst.index]:.0%} of its values lie where {kind} "
        "is flat, and hardly any gradient passes there."
    )
    numbers = {
        "saturated": float(share[worst.index]),
        "derivative_rms": float(diagnosis.column("derivative_rms")[worst.index]),
        "activations": float(len(found)),
    }
    limit = f"more than {limit_now:.0%} with |phi'| under a tenth of its peak"
    equation = "Nielsen, BP2: delta^l = ((w^{l+1})^T delta^{l+1}) * sigma'(z^l)"
    sites = tuple(site.index for site in found)
    minimax = _lowers_a_likelihood(diagnosis, worst)
    severity, outcome = _matters(diagnosis, found, float(share[worst.index]), minimax)
    made = Finding("UT201", "saturated", severity, sites, worst.name, text + outcome, numbers, limit, equation)
    advice = slope_where_sure(worst) if minimax else against_saturation(diagnosis, worst, diagnosis.run.sites)
    yield advice.on(made)


def _matters(diagnosis: Diagnosis, found: Sequence[Site], share: float, minimax: bool) -> tuple[Severity, str]:
    """Return how much it matters that activations are saturated, and a sentence that says why."""
    if any(diagnosis.depth[site.index] for site in found):
        return severity_of("UT201", share, diagnosis.run)
    if not minimax:  # an output that is sure, as after training
        return Severity.NOTE, " It is the output: that is how a network that has learned looks, too."
    return Severity.WARNING, (
        " The loss is a log-likelihood that is minimised, as log(1 - D(G(z))) is: it is flat where the network "
        "that it is taken of is sure, and that is where there is most to learn."
    )


def _is_untrained(diagnosis: Diagnosis) -> bool:
    """Tell whether no step was taken yet, as far as is known."""
    run = diagnosis.run
    if "rates" in run.header:
        return not run.header["rates"]["begun"]
    taken = run.steps.get("step")
    return run.header.get("optimizer steps before") == 0 and taken is not None and taken[diagnosis.step] == 0


def _lowers_a_likelihood(diagnosis: Diagnosis, site: Site) -> bool:
    """Tell whether the loss is just under 0 and nothing but the log of an output, or of 1 minus it."""
    run = diagnosis.run
    if diagnosis.depth[site.index]:
        return False
    known = float(run.steps["loss"][diagnosis.step]) if "loss" in run.steps else run.header.get("loss")
    if known is None or not -1 < known < 0:
        return False
    ops = set[str]()
    while run.incoming[site.index]:
        if len(run.incoming[site.index]) > 1:
            return False
        site = run.sites[run.edges[run.incoming[site.index][0]].source]
        ops.add(site.op)
    return bool(ops & _LOGS) and ops <= _LOGS | _AROUND


@rule(
    "UT202",
    "dead units",
    columns=("dead",),
    blocks_converged=Blocks.BEFORE,
    explains=("UT101", "UT104", "UT108", "UT205", "UT704"),
)
def dead(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Units that no example of the batch gets a gradient through.

    What:
        For many units of a layer the activation's derivative is zero for every row of the batch.
    Why it is bad:
        Such a unit's weights get no gradient, so that nothing can bring it back as long as the inputs stay the same.
    Evidence:
        ``dead``: the share of units with |phi'| under a thousandth of its peak in every row.
    Threshold:
        More than 65 % of the units over at least 20 rows. A healthy ReLU is off for about half of the rows, each
        unit for other ones; trained ones were seen with 56 % of their units off for every row.
    What to do:
        A smaller learning rate, biases that start at 0 or a little above, a leaky activation, or normalisation.
    References:
        Maas, Hannun, Ng 2013; Lu et al. 2019 (dying ReLU and initialization).
    """
    share = diagnosis.column("dead")
    found = [s for s in diagnosis.run.sites if share[s.index] > DEAD_ABOVE and _rows(s) >= ROWS_TO_CALL_DEAD]
    if not found:
        return
    worst = max(found, key=lambda site: share[site.index])
    name = called(diagnosis.run, worst)
    text = (
        f"{share[worst.index]:.0%} of the units of {name} are dead{_more(found)}: no example gets a gradient through."
    )
    numbers = {"dead": float(share[worst.index]), "activations": float(len(found))}
    limit = f"more than {DEAD_ABOVE:.0%} of the units over {ROWS_TO_CALL_DEAD} rows or more"
    equation = "delta^l = ((w^{l+1})^T delta^{l+1}) * phi'(z^l), phi' = 0"
    severity, outcome = severity_of("UT202", float(share[worst.index]), diagnosis.run)
    if share[worst.index] > ALL_OF_THEM:  # no gradient passes: what lies before it can't learn at all
        severity = Severity.ERROR
    if all(site.op in NEVER_OFF and diagnosis.depth[site.index] == 0 for site in found):
        severity, outcome = Severity.NOTE, " It is the output, near its limit: a small variance is told so."
    sites = tuple(site.index for site in found)
    made = Finding("UT202", "dead units", severity, sites, worst.name, text + outcome, numbers, limit, equation)
    yield against_dead_units(diagnosis, found).on(made)


def flat_sites(diagnosis: Diagnosis, above: float, untrained: bool = False) -> list[Site]:
    """Return activations of which a larger share of values lies where they are flat, without gates that stand open.

    A tanh is no gate before the first step: what it multiplies passes, and what it was made of learns nothing, unless
    that has a way around.
    """
    share = diagnosis.column("saturated")
    flat = [s for s in diagnosis.run.sites if s.role is Role.ACTIVATION and share[s.index] > above]
    if not flat or not untrained:
        return [site for site in flat if not _is_open_gate(diagnosis, site)]
    kept = _kept_aside(diagnosis.run)
    shut = [site for site in flat if site.op == "tanh" and _kind(diagnosis.run, site) not in kept]
    return [site for site in flat if site in shut or not _is_open_gate(diagnosis, site)]


def _kept_aside(run: Run) -> set[tuple[str, str]]:
    """Return kinds of tanh of which one at least takes a sum that goes elsewhere, too: a memory, to the next step."""
    tanhs = [site for site in run.sites if site.role is Role.ACTIVATION and site.op == "tanh"]
    return {_kind(run, site) for site in tanhs if any(len(run.incoming[s.index]) > 1 for s in _sums_into(run, site))}


def _kind(run: Run, site: Site) -> tuple[str, str]:
    """Return what activations of the same place have in common at all steps of time: the module, and what they take."""
    return site.module, " ".join(sorted(each.op for each in _sums_into(run, site)))


def _sums_into(run: Run, site: Site) -> list[Site]:
    sources = [run.sites[run.edges[edge].target] for edge in run.outgoing[site.index]]
    return [each for each in sources if each.role is Role.JOIN]


def _is_open_gate(diagnosis: Diagnosis, site: Site) -> bool:
    """Tell whether an activation multiplies other data, and lets most of that data's gradient through.

    One that receives no gradient at all, as the gate of an LSTM's first, empty memory, holds none up either.
    """
    run = diagnosis.run
    carried, received = run.edge_column("contribution", diagnosis.step), diagnosis.column("grad_output")
    products = {run.edges[edge].source for edge in run.incoming[site.index]}
    beside = [
        float(carried[edge]) >= OPEN_ABOVE * float(received[product])
        for product in products
        if run.sites[product].op == "mul" and received[product] > 0
        for edge in run.outgoing[product]
        if run.edges[edge].target != site.index
    ]
    return any(beside) or received[site.index] == 0


def _rows(site: Site) -> float:
    units = site.shape[1] if len(site.shape) > 3 else site.shape[-1] if site.shape else 1
    return float(np.prod(site.shape) / max(units, 1))


def _more(found: Sequence[Site]) -> str:
    others = len(found) - 1
    return f", and more than half at {others} other{'s' if others > 1 else ''}" if others else ""


def _as_others(found: Sequence[Site]) -> str:
    others = len(found) - 1
    return f", as {'is another' if others == 1 else f'are {others} others'}" if others else ""
