"""UT507: terms of a loss that are added up, one of which drowns another."""

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

import numpy as np

from undertow.diagnosis import Diagnosis
from undertow.operations import spoken
from undertow.record import Finding, Role, Run, Severity, Site
from undertow.rules.advice.losses import called_term, classes_balanced, terms_balanced, weaker_penalty
from undertow.rules.registry import rule
from undertow.wording import amount, times

DROWNED_BELOW = 1 / 300
LOST_BELOW = 1e-4
AT_ITS_MINIMUM_BELOW = 1e-9
PRIOR_ABOVE = 1.5
"""Of six weightings of a small VAE's divergence those over it (1.9 to 240) collapsed, those under 0.8 did not."""

FAIR_SHARE = 10.0
PENALTY_ABOVE = 1.5
"""Without a penalty it is 1 at most. Of 18 trainings with an L1 or L2 penalty by hand (digits, regression; Adam, SGD)
none of the nine over it learned anything."""

OUTWEIGHS = 100.0
"""Times that a class may weigh all others: at 9 a rare digit was found as well as without weights, at 550 all were."""

MOST_TERMS = 8
MATRICES = frozenset({"addmm", "mm", "linear", "mkldnn_linear"})
SPREADS = frozenset({"exp", "log", "softplus"})


@rule(
    "UT507",
    "one loss drowns another",
    first_step_only=True,
    explains=(
        "UT101", "UT104", "UT105", "UT108", "UT109", "UT202", "UT205", "UT401", "UT406", "UT408", "UT409", "UT704",
    ),
)  # fmt: skip
def drowned(diagnosis: Diagnosis) -> Iterator[Finding]:
    """One term of the loss sends the shared layers next to no gradient beside another.

    What:
        The loss is a sum, and where the paths of its terms have come together the gradient of one is orders of
        magnitude smaller than another's.
    Why it is bad:
        The shared layers learn for the large term alone. The small one is trained by what is left over, if by
        anything, though its value in the log may look as important as the other's.
    Evidence:
        ``ratio`` of the two gradients' norms at the parameters that both reach; ``small`` and ``large``, the norms;
        ``factor``, the constant that the small term is multiplied by. `examine` takes a backward pass for every term. A
        watched run, at its first step, holds those against each other that arrive where the terms' paths meet; and
        the gradient that weights get against the largest that can come to them through their layer: what goes beyond
        it is a penalty's (``penalty``).
    Threshold:
        Under 1/300: beside a balanced twin, a classification beside a regression of two shared layers took 5 times the
        steps at a ratio of 1/30, 8 times at 1/100, 12 times or was never learned at 1/300 (Adam), and SGD lost it from
        1/30 on. Under 1/10,000 nothing learned it: error. A term that was multiplied by a constant under 1 is judged
        by its gradient before that, as somebody wanted it small; a penalty on weights alone is no term, and neither is
        one that sends less than 1e-9 of the other's gradient: it is at its minimum (a divergence between equals), or
        cut off. A term that looks like a latent code's divergence from its prior (noise was drawn, and it reaches the
        encoder alone, through a spread) drowns the others from 1.5 times their gradient at the encoder on. A penalty on
        weights from 1.5 times what the loss can send to half of the layers. A class that weighs 100 times all others of
        the batch by the weights that the loss is given (``outweighs``).
    What to do:
        Compare the terms' reductions first (a sum over elements beside a mean: KL in a VAE), then their units.
        Weight the terms so that their gradients at the shared layers are of one size, or learn the weights.
    References:
        Kendall, Gal, Cipolla 2018 (uncertainty to weigh losses); Chen et al. 2018 (GradNorm); Lucas et al. 2019 (Don't
        blame the ELBO: collapse by the decoder's variance).
    """
    if (penalty := _penalty(diagnosis)) is not None:
        yield penalty
        return
    if (outweighed := _outweighed(diagnosis)) is not None:
        yield outweighed
        return
    header = diagnosis.run.header
    known = header.get("terms", ()) if "pairs" in header else None  # an examination looked for them
    terms = [term for term in (terms_that_meet(diagnosis) if known is None else known) if not term["alone"]]
    if len(terms) < 2:
        return
    if (found := _collapsing(terms)) is not None:
        yield found
        return
    large = max(terms, key=lambda term: term["gradient"])
    small = min(terms, key=_unweighted)
    if not large["gradient"] or small is large:
        return
    ratio, weighted = _unweighted(small) / large["gradient"], small["gradient"] / large["gradient"]
    if not AT_ITS_MINIMUM_BELOW < ratio < DROWNED_BELOW:
        return
    text = (
        f"One term of the loss drowns another: at the layers that they share, {_called(small)} sends "
        f"{times(weighted)} gradient than {_called(large)}, and is hardly trained."
    )
    numbers = {
        "ratio": weighted,
        "small": small["gradient"],
        "large": large["gradient"],
        "factor": small["factor"],
    }
    limit = f"a ratio under {DROWNED_BELOW:.2g}"
    severity, equation = Severity.ERROR if ratio < LOST_BELOW else Severity.WARNING, "grad L = sum of w_i grad L_i"
    made = Finding("UT507", "drowned term", severity, (), "the loss", text, numbers, limit, equation)
    yield terms_balanced(small, large, weighted).on(replace(made, source=small["source"]))


def _outweighed(diagnosis: Diagnosis) -> Finding | None:
    """Return what to say of weights of classes under which one class counts hundreds of times all others."""
    if "outweighs" not in diagnosis.run.columns:
        return None
    weighs = diagnosis.column("outweighs")
    odds = np.where(weighs < np.inf, weighs, 0.0)
    site = diagnosis.run.sites[int(odds.argmax())]
    if odds[site.index] < OUTWEIGHS:
        return None
    text = (
        f"One class drowns the others: by the weights that {spoken(site.op)} is given it counts "
        f"{amount(float(odds[site.index]))} times as much as all others of the batch together, and naming it for every "
        "example is nearly the best answer."
    )
    numbers = {"outweighs": float(odds[site.index])}
    limit = f"a class that weighs under {OUTWEIGHS:g} times all others, unless it is as frequent"
    made = Finding("UT507", "drowned classes", Severity.WARNING, (site.index,), "the loss", text, numbers, limit)
    return classes_balanced(site, numbers["outweighs"]).on(made)


def _collapsing(terms: Sequence[Mapping[str, Any]]) -> Finding | None:
    """Return what to say of a divergence from the prior that outweighs the reconstruction at the encoder."""
    prior = max((t for t in terms if t.get("prior")), key=lambda term: float(term["gradient"]), default=None)
    others = [term for term in terms if not term.get("prior")]
    if prior is None or not others:
        return None
    rest = max(others, key=lambda term: float(term["gradient"]))
    if not rest["gradient"] or prior["gradient"] < PRIOR_ABOVE * rest["gradient"]:
        return None
    ratio = float(rest["gradient"] / prior["gradient"])
    text = (
        f"The divergence from the prior drowns the reconstruction: at the encoder {_called(prior)} pulls "
        f"{amount(1 / ratio)} times as hard as {_called(rest)}, and takes out of the latent code what the "
        "decoder needs (posterior collapse)."
    )
    numbers = {"ratio": ratio, "small": float(rest["gradient"]), "large": float(prior["gradient"])}
    limit = f"a divergence's gradient under {PRIOR_ABOVE:g} times the reconstruction's at the encoder"
    equation = "log p(x) >= E log p(x | z) - KL(q(z | x) || p(z))"
    made = Finding("UT507", "drowned term", Severity.WARNING, (), "the loss", text, numbers, limit, equation)
    return terms_balanced(rest, prior, ratio / FAIR_SHARE).on(replace(made, source=prior["source"]))


def _unweighted(term: Mapping[str, Any]) -> float:
    factor = float(term["factor"])
    return float(term["gradient"]) / min(factor, 1.0) if factor else 0.0


def _called(term: Mapping[str, Any]) -> str:
    line = str(term["source"]).rpartition("/")[2]
    return called_term(term) + (f" ({line})" if line else "")


def _penalty(diagnosis: Diagnosis) -> Finding | None:
    """Return what to say of weights whose gradient is many times what can have come to them through their layers."""
    if _added_up(diagnosis.run):
        return None
    received, size = (diagnosis.column(name).tolist() for name in ("grad_output", "input_rms"))
    gradients = (diagnosis.column("weight_grad_norm") / _scaled_by_hand(diagnosis)).tolist()
    numbers = zip(diagnosis.run.sites, received, size, gradients, strict=True)
    found = {site.index: times_ for site, *own in numbers if (times_ := _beyond(diagnosis.run, site, *own)) is not None}
    most = [site for site, each in found.items() if each >= PENALTY_ABOVE]
    if not most or len(most) < len(found) / 2:
        return None
    beyond = float(np.median([found[site] for site in most]))
    text = (
        f"A penalty on the weights drowns the loss: the gradient of {len(most)} of {len(found)} layers is "
        f"{amount(beyond)} times the most that the loss can send there through their outputs."
    )
    limit = f"||dL/dW|| <= ||g|| ||x||, by no more than {PENALTY_ABOVE:g} times, in half of the layers"
    made = Finding(
        "UT507", "drowned by a penalty", Severity.WARNING, tuple(most), "the loss", text, {"penalty": beyond}, limit,
        "||g^T x|| <= ||g|| ||x||",
    )  # fmt: skip
    return weaker_penalty(beyond).on(made)


def _beyond(run: Run, site: Site, received: float, size: float, gradient: float) -> float | None:
    """Return a matrix's gradient / the most that can come through its layer; None where that isn't known."""
    if site.op not in MATRICES or not site.parameters or not site.n_out or not run.incoming[site.index]:
        return None
    users = run.of_graph(_users)
    if len(frozenset().union(*(users.get(name, frozenset()) for name in site.parameters))) > 1:
        return None
    rows = math.prod(site.shape) / site.n_out
    most = received * math.sqrt(rows * (size**2 * math.prod(site.weight_shape) / site.n_out + 1))
    return gradient / most if math.isfinite(most) and most > 0 and math.isfinite(gradient) else None


def _scaled_by_hand(diagnosis: Diagnosis) -> float:
    """Return the gradient's norm at a step / that after the backward pass; 1 where they aren't both known.

    Who scales a loss by hand divides the gradients afterwards, while what outputs receive stays as it arrived.
    """
    scalars, step = diagnosis.run.scalars, diagnosis.run.steps.get("step")
    if step is None or not {"step", "grad_norm", "grad_norm_unclipped"} <= scalars.keys():
        return 1.0
    at = np.asarray(scalars["step"]) == step[diagnosis.step]
    taken, arrived = (float(np.sum(scalars[name], where=at)) for name in ("grad_norm", "grad_norm_unclipped"))
    ratio = taken / arrived if arrived > 0 else math.nan
    return ratio if math.isfinite(ratio) and ratio > 0 else 1.0


def _users(run: Run) -> dict[str, frozenset[int]]:
    """Return the layers that multiply by each parameter."""
    found: dict[str, set[int]] = {}
    for site in run.sites:
        for name in site.parameters if site.role is Role.WEIGHT else ():
            found.setdefault(name, set()).add(site.index)
    return {name: frozenset(sites) for name, sites in found.items()}


def _added_up(run: Run) -> bool:
    """Tell whether what a step takes is more than one loss's gradient: of several backward passes, or still scaled."""
    more = (np.asarray(run.scalars.get(name, np.empty(0)), float) for name in ("left_over", "stepped_scaled"))
    return int(run.header.get("micro_batch", {}).get("of", 1)) > 1 or any(bool((each > 0).any()) for each in more)


def terms_that_meet(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    """Return the terms that a loss is the sum of, by the gradients that arrive where their paths meet.

    Args:
        diagnosis: of a recorded step; nothing of the forward pass is needed.

    Returns:
        A mapping for every term that is a number (a penalty on a gradient stands alone), as `examine` makes them:
        ``name``, ``factor``, ``gradient`` (the norm of what it sends to Sites that another term reaches, too),
        ``alone``, ``prior`` and ``source``.
    """
    run, received = diagnosis.run, diagnosis.column("grad_output")
    roots = _summands(run)
    if len(roots) < 2 or "contribution" not in run.edge_columns:
        return []
    reach = [_reached_from(run, root) for root in roots]
    arriving = run.edge_column("contribution", diagnosis.step)
    facts: list[dict[str, Any]] = []
    for number, root in enumerate(roots):
        others = [each for n, each in enumerate(reach) if n != number]
        own = reach[number] - set().union(*others)
        meets = [n for n, e in enumerate(run.edges) if e.source in own and any(e.target in each for each in others)]
        again = any(run.sites[site].op.endswith("_backward") for site in own)  # a penalty on a gradient
        spread = any(run.sites[site].op in SPREADS for site in own)
        inner = any(_layers_in(run, reach[number]) < _layers_in(run, each) for each in others)
        facts.append({
            "name": spoken(run.sites[root].op), "factor": float(received[root] / received[0]),
            "gradient": float(np.sqrt(np.nansum(np.square(arriving[meets])))), "alone": again or not meets,
            "prior": spread and inner, "source": run.sites[root].source, "value": math.nan,
        })  # fmt: skip
    return [each for each in facts if math.isfinite(each["gradient"]) and math.isfinite(each["factor"])]


def _summands(run: Run) -> list[int]:
    """Return the Sites of the numbers that a loss is the sum of; a single one where it is no sum."""
    found, waiting = list[int](), [0] if run.sites else []
    while waiting and len(found) <= MOST_TERMS:
        site = waiting.pop(0)
        targets = [run.edges[edge].target for edge in run.outgoing[site]]
        numbers = all(math.prod(run.sites[target].shape) == 1 for target in targets)
        op = run.sites[site].op
        if numbers and (op in ("add", "sub") or (op in ("mul", "div", "neg", "squeeze", "view") and len(targets) == 1)):
            waiting += targets
        else:
            found.append(site)
    return found if len(found) <= MOST_TERMS else []


def _reached_from(run: Run, root: int) -> set[int]:
    seen, waiting = set[int](), [root]
    while waiting:
        site = waiting.pop()
        if site not in seen:
            seen.add(site)
            waiting += [run.edges[edge].target for edge in run.outgoing[site]]
    return seen


def _layers_in(run: Run, sites: Set[int]) -> frozenset[int]:
    return frozenset(site for site in sites if run.sites[site].role is Role.WEIGHT)
