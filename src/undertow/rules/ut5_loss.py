"""UT503 and UT504: what goes wrong where the output meets its target."""

import math
from collections.abc import Iterator, Mapping, Sequence

from undertow.diagnosis import Diagnosis
from undertow.operations import spoken
from undertow.record import Finding, Role, Run, Severity, Site
from undertow.rules.advice.losses import (
    logits_handed_over,
    logits_uncut,
    logs_for_divergence,
    more_than_one_unit,
    one_of_two_left_out,
    shapes_matched,
    sign_turned,
    with_a_log,
)
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
REGRESSION = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})
DIFFERENCES = frozenset({"sub", "rsub", "__sub__", "__rsub__", "subtract"})


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
        otherwise: softmax over a single unit, nll_loss, kl_div or ctc_loss without a log_softmax, ReLU on logits. Or
        the loss has the wrong sign: its negative is minimised.
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
        classes in 3 of 4 starts (warning). tanh before cross-entropy did no harm, and isn't told. Between them stand
        reshapes at most: attention (weights behind it), distillation (a softmax on the target's side) and a log behind
        the softmax are none. log_softmax of log_softmax changes nothing, and is a note. A wrong sign: the whole loss
        is the negative of a mean of cross-entropies or squares, and one optimizer holds what it reaches. kl_div is
        known by an input that is mostly above 0, and in a watched run by what stands in front of it.
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


@rule(
    "UT504",
    "broadcast against the target",
    explains=("UT104", "UT108", "UT202", "UT205", "UT401", "UT704"),
    blocks_converged=Blocks.BEFORE,
)
def broadcast(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Output and target have different shapes and meet as a matrix.

    What:
        An output of shape [n, 1] minus a target of shape [n] is a matrix [n, n]: every output is held against every
        target.
    Why it is bad:
        The mean over the matrix is smallest where every output is the mean of all targets. The loss falls at first
        and then stays at the targets' variance; nothing tells the examples apart.
    Evidence:
        ``blown up``: elements of the difference per element of the output.
    Threshold:
        A difference larger than both sides, in which one axis of the target met another axis of the output, of the
        same size, in front of the loss; where shapes of both sides are known, their numbers of axes differ.
        A difference of two things that both learn, with as many axes each, is a pairwise loss: none.
    What to do:
        Bring the target into the output's shape (``target.unsqueeze(1)``, or ``output.squeeze(1)``), and check
        ``output.shape == target.shape`` in the loop.
    References:
        PyTorch documentation, broadcasting semantics; the warning of mse_loss ("Using a target size that is
        different to the input size").
    """
    run = diagnosis.run
    found = _by_shapes(run) if "pairs" in run.header else _by_sites(diagnosis)
    if found is None:
        return
    output, target, met, source, both = found
    blown = math.prod(met) / max(math.prod(output), 1)
    against = f"a target of shape {target}" if target else "a target of another shape"
    text = (
        f"An output of shape {output} meets {against}, and broadcasting makes {met} of them: it looks like every "
        f"output is held against the targets of all {max(met)} examples."
    )
    sites = tuple(s.index for s in run.sites if list(s.shape) == met and not diagnosis.depth[s.index])[:1]
    severity = Severity.WARNING if both else Severity.ERROR
    limit = "output and target that are smaller than their difference"
    where = run.sites[sites[0]].name if sites else "the loss"
    numbers = {"blown up": blown}
    equation = "mean_ij (o_i - t_j)^2 = mean_i (o_i - mean t)^2 + var t"
    made = Finding("UT504", "broadcast target", severity, sites, where, text, numbers, limit, equation, source=source)
    yield shapes_matched(output, target, both).on(made)


Met = tuple[list[int], list[int], list[int], str, bool]


def _by_shapes(run: Run) -> Met | None:
    for pair in run.header["pairs"]:
        output, target, met = pair["shapes"]
        if len(output) == len(target) or not output or not target:
            continue
        if pair["both learn"] and pair["op"] not in REGRESSION | DIFFERENCES:
            continue
        grown = math.prod(met) > max(math.prod(output), math.prod(target))
        if grown and _crossed(output, met):
            return output, target, met, pair["source"], pair["both learn"]
    return None


def _by_sites(diagnosis: Diagnosis) -> Met | None:
    """Find it in a graph alone, where nobody saw the target: that takes no gradient, so that it has no Site."""
    run = diagnosis.run
    for site in run.sites:
        receivers = [run.sites[run.edges[edge].target] for edge in run.outgoing[site.index]]
        if diagnosis.depth[site.index] or site.role is not Role.LOSS or len(receivers) != 1 or not _meets(run, site):
            continue
        output, met = list(receivers[0].shape), list(site.shape)
        if math.prod(met) > math.prod(output) and (_crossed(output, met) or _crossed_behind_a_view(output, met)):
            return output, [], met, site.source, False
    return None


def _crossed_behind_a_view(output: Sequence[int], met: Sequence[int]) -> bool:
    """Tell the same of a layer's output [n t, 1] that a view made [n, t, 1] of: a graph has no Site of that.

    All axes of the difference but one make up the output, and that one is as long as another.
    """
    return len(met) > len(output) and any(
        math.prod(met) == math.prod(output) * size and list(met).count(size) > 1 for size in met if size > 1
    )


def _meets(run: Run, site: Site) -> bool:
    """Tell whether it is a difference, or what mse_loss and its like expand before they take one."""
    givers = [run.sites[run.edges[edge].source].op for edge in run.incoming[site.index]]
    return site.op == "sub" or (site.op == "expand" and bool(givers) and set(givers) <= REGRESSION | {"sub", "abs"})


def _crossed(output: Sequence[int], met: Sequence[int]) -> bool:
    """Tell whether an axis of the difference that the output doesn't fill is as long as one that it does."""
    padded = [1] * (len(met) - len(output)) + list(output)
    filled = {size for size, own in zip(met, padded, strict=True) if own == size > 1}
    return any(own == 1 and size > 1 and size in filled for size, own in zip(met, padded, strict=True))
