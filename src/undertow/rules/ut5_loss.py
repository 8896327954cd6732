"""UT503: a loss that is given what it doesn't take, or that has the wrong sign."""

import math
from collections.abc import Iterator, Mapping

from undertow.diagnosis import Diagnosis
from undertow.operations import spoken
from undertow.record import Finding, Role, Run, Severity, Site
from undertow.rules.advice.losses import (
    logits_handed_over,
    logits_uncut,
    logs_for_divergence,
    more_than_one_unit,
    one_of_two_left_out,
    sign_turned,
    with_a_log,
)
from undertow.rules.cosines import cosines_unscaled
from undertow.rules.registry import Blocks, rule
from undertow.wording import called, sentence

TAKES_LOGITS = frozenset(
    {"log_softmax", "softmax", "logsumexp", "binary_cross_entropy_with_logits", "sigmoid", "log_sigmoid"}
)
TAKES_LOGS = frozenset({"nll_loss", "nll_loss2d", "nll_loss_forward", "ctc_loss", "cudnn_ctc_loss", "kl_div"})
NEVER_NEGATIVE = (TAKES_LOGS - {"kl_div"}) | {
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy",
    "mse_loss",
    "smooth_l1_loss",
    "huber_loss",
}
"""Losses whose negative has no minimum."""

REDUCED = frozenset({"mean", "sum", "div", "mul", "add", "squeeze", "view", "sub"})
MOSTLY_ABOVE_ZERO = 0.5
SQUASHES = frozenset({"softmax", "sigmoid", "hardsigmoid"})
SUMS_TO_ONE = frozenset({"log_softmax", "softmax", "logsumexp"})
LOGARITHMS = frozenset({"log_softmax", "log_sigmoid"})


@rule(
    "UT503",
    "squashed twice",
    columns=("grad_output",),
    explains=(
        "UT101",
        "UT103",
        "UT104",
        "UT105",
        "UT108",
        "UT109",
        "UT201",
        "UT202",
        "UT205",
        "UT401",
        "UT402",
        "UT405",
        "UT406",
        "UT408",
        "UT704",
    ),
    blocks_converged=Blocks.BEFORE,
)
def squashed_twice(diagnosis: Diagnosis) -> Iterator[Finding]:
    """A loss that takes logits is given probabilities, or a softmax has one unit only.

    What:
        Between the last weights and the loss values go through softmax or sigmoid twice, the second of them inside
        the loss: cross-entropy and BCE-with-logits do it themselves. Or what stands there doesn't fit the loss
        otherwise: softmax over a single unit, nll_loss, kl_div or ctc_loss without a log_softmax, ReLU on logits,
        cosines of examples without a temperature. Or the loss has the wrong sign: its negative is minimised.
    Why it is bad:
        The second one sees values between 0 and 1 only. It can't come near a certain answer, so that the loss keeps
        a floor, and the gradient is multiplied by the derivative of the first, small where it is sure of itself and
        wrong. Over one unit softmax is 1 whatever the input: there is nothing to learn at all. A loss that is negated
        gets worse without end.
    Evidence:
        ``floor``: the lowest loss that is left (for softmax or sigmoid into cross-entropy over C classes
        log(1 + (C - 1)/e)); ``units``: C.
    Threshold:
        Any direct succession in front of the loss. A small network for digits needed 2 to 4 times the steps with
        softmax or sigmoid before cross-entropy and with softmax before nll_loss, or never got there (warning); before
        BCE-with-logits, and with nll_loss on the bare output, it stayed at chance (error); ReLU on the logits lost
        classes in 3 of 4 starts (warning). So it is with log-sigmoid before BCE-with-logits, while with log_softmax
        digits were learned as well (a note). tanh before cross-entropy did no harm, and isn't told. Between them stand
        reshapes at most: attention (weights behind it), distillation (a softmax on the target's side) and a log behind
        the softmax are none. log_softmax of log_softmax changes nothing, and is a note. A wrong sign: the whole loss
        is the negative of a mean of cross-entropies or squares, and one optimizer holds what it reaches. kl_div is
        known by an input that is mostly above 0, and in a watched run by what stands in front of it. Cosines of
        examples with each other, as they are: among 8 to 128 it took 1.2 to 4 times the steps of a temperature of 0.1;
        cosines with weights, of 10 to 100 classes, were learned as fast, and aren't told.
    What to do:
        Leave the softmax or sigmoid out of the model, and apply it to predictions only. For two classes with one
        output use BCE-with-logits, with several cross-entropy over as many outputs as classes.
    References:
        Bishop 2006, section 4.3 (matching activation and error function); PyTorch documentation of CrossEntropyLoss.
    """
    run = diagnosis.run
    if (found := _negated(diagnosis) or _divergence_of_probabilities(run)) is not None:
        yield found
        return
    for outer in run.sites:
        if diagnosis.depth[outer.index] or outer.op not in TAKES_LOGITS | TAKES_LOGS:
            continue
        if outer.op in SUMS_TO_ONE and (bare := cosines_unscaled(run, outer)) is not None:
            yield bare
            return
        if _over_one_unit(diagnosis, outer):
            yield more_than_one_unit(run, outer).on(_one_unit(run, outer))
            return
        inner = (run.sites[run.edges[edge].target] for edge in run.outgoing[outer.index])
        found = next(filter(None, (_mismatch(run, outer, each) for each in inner)), None)
        if found is not None:
            yield found
            return


def _negated(diagnosis: Diagnosis) -> Finding | None:
    """Return what to say of a loss whose negative is minimised, of a network that is nobody's adversary."""
    run = diagnosis.run
    site, signs = (run.sites[0], 1) if run.sites else (None, 1)
    while site is not None and site.op not in NEVER_NEGATIVE:
        targets = [run.edges[edge].target for edge in run.outgoing[site.index]]
        if site.op not in REDUCED | {"neg"} or len(targets) != 1:
            return None
        signs, site = signs * (-1 if site.op == "neg" else 1), run.sites[targets[0]]
    if site is None or signs > 0 or "," in str(run.header.get("optimizer", "")):
        return None
    if _held_elsewhere(run):
        return None
    name = spoken(site.op)
    text = f"The loss is the negative of a {name}, which is at least 0: every step makes it worse, without end."
    limit = "the loss is no negative of one that has its minimum at 0"
    made = Finding(
        "UT503", "wrong sign", Severity.ERROR, (site.index,), site.name, text, {}, limit, "w <- w - lr dL/dw"
    )
    return sign_turned(site).on(made)


def _held_elsewhere(run: Run) -> bool:
    """Tell whether parts of the network are another optimizer's, or frozen: an adversary is trained against them."""
    held = run.header.get("held", {})
    return bool(held.get("missing") or held.get("frozen"))


def _divergence_of_probabilities(run: Run) -> Finding | None:
    for pair in run.header.get("pairs", ()):
        if pair["op"] == "kl_div" and pair.get("above 0", 0.0) > MOSTLY_ABOVE_ZERO:
            text = (
                f"kl_div takes the logarithms of probabilities, and {pair['above 0']:.0%} of what it is given lies "
                "above 0: those are probabilities, or logits. The loss can come under 0, and its minimum is another's."
            )
            limit, numbers = "logarithms of probabilities are 0 or less", {"above 0": float(pair["above 0"])}
            equation = "KL(t || p) = sum t (log t - log p)"
            made = Finding(
                "UT503", "log missing", Severity.WARNING, (), "kl_div", text, numbers, limit, equation,
                source=pair["source"],
            )  # fmt: skip
            return logs_for_divergence(pair["source"]).on(made)
    return None


def _mismatch(run: Run, outer: Site, inner: Site) -> Finding | None:
    name = sentence(called(run, inner))
    if outer.op in TAKES_LOGS:
        raw = inner.role is Role.WEIGHT
        if inner.op not in SQUASHES and not raw:
            return None
        return with_a_log(run, outer.op, inner, raw).on(_without_log(name, outer, inner))
    if inner.op in SQUASHES:
        return logits_handed_over(run, outer, inner).on(_twice(name, outer, inner))
    if inner.op in LOGARITHMS and outer.op in ("binary_cross_entropy_with_logits", "sigmoid"):
        return logits_handed_over(run, outer, inner).on(_never_above_zero(name, outer, inner))
    if inner.op == "relu":
        return logits_uncut(run, outer, inner).on(_cut_logits(name, outer, inner))
    if inner.op == outer.op == "log_softmax":
        return one_of_two_left_out(run, inner).on(_superfluous(name, outer, inner))
    return None


def _without_log(name: str, outer: Site, inner: Site) -> Finding:
    raw = inner.role is Role.WEIGHT
    if raw:
        why = "without a log_softmax it has no minimum: the loss goes to minus infinity, whatever is learned"
    elif outer.op in ("ctc_loss", "cudnn_ctc_loss"):
        why = "of probabilities it knows no certain answer, and comes under 0"
    else:
        why = "it is linear in them, so that the gradient is small where the answer is wrong"
    loss = spoken(outer.op) if "ctc" in outer.op or outer.op == "kl_div" else "nll_loss"
    text = f"{name} goes right into {loss}, which takes log-probabilities: {why}."
    severity = Severity.ERROR if raw else Severity.WARNING
    return _unfit("log missing", outer, inner, severity, text, {}, "L = -z_y; with p for log p, dL/dz_y = -p (1 - p)")


def _twice(name: str, outer: Site, inner: Site) -> Finding:
    units = inner.shape[1] if len(inner.shape) > 1 else 1
    classes = outer.op in ("log_softmax", "softmax", "logsumexp")
    floor = math.log1p((units - 1) / math.e) if classes else math.log1p(math.exp(-1))
    text = (
        f"{name} squashes the output to values between 0 and 1, and {_loss(outer)} squashes those again: it takes "
        f"logits. The loss can't come under {floor:.2g}."
    )
    equation = "softmax(softmax(z)): logits in [0, 1], p <= 1 / (1 + (C - 1)/e)"
    severity = Severity.WARNING if classes else Severity.ERROR
    numbers = {"units": float(units), "floor": floor}
    return _unfit("squashed twice", outer, inner, severity, text, numbers, equation)


def _never_above_zero(name: str, outer: Site, inner: Site) -> Finding:
    text = (
        f"{name} leaves no logit above 0, and {_loss(outer)} takes them from -inf to inf: no probability comes above "
        "one half, and no positive example's loss under 0.69."
    )
    severity = Severity.WARNING if inner.op == "log_sigmoid" else Severity.NOTE
    return _unfit("squashed twice", outer, inner, severity, text, {"floor": math.log(2)}, "log p <= 0")


def _cut_logits(name: str, outer: Site, inner: Site) -> Finding:
    text = (
        f"{name} leaves no logit under 0, and {_loss(outer)} takes them from -inf to inf: a class whose unit is "
        "off for every example is never learned."
    )
    return _unfit("cut logits", outer, inner, Severity.WARNING, text, {}, "dL/dz = 0 where z < 0")


def _superfluous(name: str, outer: Site, inner: Site) -> Finding:
    text = f"{name} is followed by another log_softmax, which changes nothing: one of the two is superfluous."
    return _unfit(
        "squashed twice", outer, inner, Severity.NOTE, text, {}, "log_softmax(log_softmax(z)) = log_softmax(z)"
    )


def _loss(outer: Site) -> str:
    return "cross-entropy" if outer.op in ("log_softmax", "logsumexp") else outer.op.replace("_", " ")


def _unfit(
    name: str, outer: Site, inner: Site, severity: Severity, text: str, numbers: Mapping[str, float], equation: str
) -> Finding:
    sites, limit = (outer.index, inner.index), "two in direct succession between the last weights and the loss"
    return Finding("UT503", name, severity, sites, inner.name, text, numbers, limit, equation)


def _over_one_unit(diagnosis: Diagnosis, site: Site) -> bool:
    """Softmax over one unit passes exactly nothing on: 1 x (g - 1 x g)."""
    if site.op not in ("softmax", "log_softmax") or 1 not in site.shape[1:]:
        return False
    received, passed = diagnosis.column("grad_output"), diagnosis.column("grad_input")
    targets = [diagnosis.run.edges[edge].target for edge in diagnosis.run.outgoing[site.index]]
    nothing = passed[site.index] == 0 or all(received[target] == 0 for target in targets)
    return bool(targets) and received[site.index] > 0 and bool(nothing)


def _one_unit(run: Run, site: Site) -> Finding:
    shape = " x ".join(map(str, site.shape))
    text = (
        f"{sentence(called(run, site))} of {shape} values is taken over one unit: it is constant, and no gradient "
        "passes it."
    )
    limit, equation = "a softmax that passes on exactly nothing, over one unit", "softmax(z) = e^z / e^z = 1"
    return Finding(
        "UT503",
        "softmax over one unit",
        Severity.ERROR,
        (site.index,),
        site.name,
        text,
        {"units": 1.0},
        limit,
        equation,
    )
