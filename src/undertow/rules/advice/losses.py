"""Advice on where outputs meet targets: losses that are given what they don't take, shapes, terms, limits."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from undertow.operations import spoken
from undertow.pytorch_code import code, expression, in_place_of
from undertow.record import Run, Site
from undertow.rules.advice import Advice
from undertow.rules.advice.cuts import two_outputs, without
from undertow.wording import amount, called, line_of, size

_FUNCTIONAL = "torch.nn.functional"
_STATES = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})
_OWN = frozenset({"Softmax", "Softmax2d", "LogSoftmax", "Sigmoid", "ReLU", "Hardsigmoid"})


def logits_handed_over(run: Run, outer: Site, inner: Site) -> Advice:
    """Say how a loss that takes logits gets them."""
    loss = _loss_call(outer)
    name = called(run, inner)
    text = (
        f"Leave {name} out and hand its input, the logits, to {loss.rpartition('.')[2]}, which squashes them itself. "
        f"Apply {spoken(inner.op)} where probabilities are wanted: to predictions, outside of the loss."
    )
    if inner.module and inner.module_type in _OWN:
        return Advice(text, code(f"{expression(inner.module)} = nn.Identity()"))
    place = f"# in {line_of(inner.source)}" if inner.source else "# in the loss"
    lines = [f"{place}: without {spoken(inner.op)}", f"loss = {loss}(logits, targets)"]
    return Advice(text, code(*lines))


def temperature_given(similarities: Site) -> Advice:
    """Say how cosines become logits."""
    text = "Divide the similarities by a temperature of 0.05 to 0.2, or learn one, before the softmax."
    place = f" ({line_of(similarities.source)})" if similarities.source else ""
    return Advice(text, code(f"similarities = similarities / 0.1  # in the loss{place}"))


def with_a_log(run: Run, outer_op: str, inner: Site, raw: bool) -> Advice:
    """Say what to do where nll_loss is handed something else than log-probabilities."""
    if outer_op == "kl_div":
        return logs_for_divergence(inner.source)
    if "ctc" in outer_op:
        lines = in_place_of(["p = output.softmax(-1)"], ["p = output.log_softmax(-1)"], line_of(inner.source))
        return Advice("Hand ctc_loss log_softmax of the output.", code(*lines))
    what = "the output" if raw else f"what goes into {called(run, inner)}"
    text = (
        f"Use cross_entropy in the place of nll_loss, on {what}: it takes the log_softmax of {inner.shape[1:]} itself."
    )
    before = f"loss = {_FUNCTIONAL}.nll_loss(output, targets)"
    after = [f"loss = {_FUNCTIONAL}.cross_entropy({'output' if raw else 'logits'}, targets)"]
    if not raw and inner.module and inner.module_type in _OWN:
        after = [f"{expression(inner.module)} = nn.Identity()", after[0].replace("logits", "output")]
        return Advice(text, code(after[0], *in_place_of([before], after[1:])))
    return Advice(text, code(*in_place_of([before], after, line_of(inner.source))))


def logs_for_divergence(source: str) -> Advice:
    """Say what kl_div takes."""
    text = "Hand kl_div log_softmax of the output, and softmax of what it is held against."
    before = f"loss = {_FUNCTIONAL}.kl_div(output.softmax(1), targets)"
    after = f'loss = {_FUNCTIONAL}.kl_div(output.log_softmax(1), targets, reduction="batchmean")'
    return Advice(text, code(*in_place_of([before], [after], line_of(source))))


def classes_balanced(site: Site, outweighs: float) -> Advice:
    """Say how large the weights of classes are under which each counts as much."""
    if "binary" in site.op:
        text = (
            f"Divide pos_weight by {amount(outweighs)}: negatives / positives of the training set let both count alike."
        )
        return Advice(text, code("pos_weight = (targets == 0).sum() / (targets == 1).sum()"))
    text = "Give each class a weight of examples / (classes x examples of the class), counted over the training set."
    return Advice(
        text, code("import torch", "weight = len(targets) / (torch.bincount(targets) * targets.unique().numel())")
    )


def sign_turned(site: Site) -> Advice:
    """Say that the minus in front of a loss goes."""
    text = f"Leave out the minus in front of the {spoken(site.op)}: an optimizer makes the loss smaller."
    return Advice(text, code(*in_place_of(["loss = -loss"], ["loss = loss"], line_of(site.source))))


def logits_uncut(run: Run, outer: Site, inner: Site) -> Advice:
    """Say that nothing should cut logits off."""
    loss = _loss_call(outer).rpartition(".")[2]
    text = f"Leave {called(run, inner)} out behind the last layer: {loss} takes logits from -inf to inf."
    return without(inner, text)


def one_of_two_left_out(run: Run, inner: Site) -> Advice:
    """Say that one of two equal operations is superfluous."""
    return without(inner, f"Leave {called(run, inner)} out, or use nll_loss in the place of cross_entropy.")


def more_than_one_unit(run: Run, site: Site) -> Advice:
    """Say what to do with a softmax over a single unit."""
    return two_outputs(site, called(run, site))


def shapes_matched(output: Sequence[int], target: Sequence[int], both: bool) -> Advice:
    """Say how targets get their output's shape."""
    name = "other" if both else "targets"
    change = _change_of_axes(output, target)
    shown = f"{list(output)}" + (f", not {list(target)}" if target else "")
    text = f"Bring the {name} to the output's shape {shown}, before the loss: {name}.{change}."
    lines = [f"{name} = {name}.{change}"]
    if "output.shape" not in change:  # which could not fail the check
        text += " A check of both shapes in the loop finds the next one."
        lines.append(f"assert output.shape == {name}.shape, (output.shape, {name}.shape)")
    return Advice(text, code(*lines))


def weaker_penalty(beyond: float) -> Advice:
    """Advise a smaller penalty on weights: its gradient is ``beyond`` times what the loss can send."""
    factor = f"{0.1 / beyond:.0e}"
    text = (
        f"Multiply the penalty by {factor}, so that what it asks of the weights is a small part of what the loss does; "
        "or leave it to the optimizer's weight_decay, at 1e-4 or less."
    )
    return Advice(text, code(f"loss = loss_function(model(inputs), targets) + {factor} * penalty"))


def called_term(term: Mapping[str, Any]) -> str:
    """Call a term of a loss by its value, or by its last operation where nobody saw that."""
    return f"the {term['name']} term" if "name" in term else f"the term of value {size(term['value'])}"


def terms_balanced(small: Mapping[str, Any], large: Mapping[str, Any], ratio: float) -> Advice:
    """Say by what to weight two terms so that their gradients are of one size."""
    weight = float(f"{ratio:.1g}")
    text = (
        f"Multiply {called_term(large)} by {weight:g}: then its gradient at the shared layers is as "
        f"large as that of {called_term(small)}, and not {amount(1 / ratio)} times as large. Look at "
        "their reductions first: a sum over elements beside a mean makes such factors."
    )
    known = "" if "name" in large else f"  # values {size(small['value'])} and {size(large['value'])}"
    before = f"loss = small + large{known}"
    return Advice(text, code(*in_place_of([before], [f"loss = small + {weight:g} * large"], line_of(large["source"]))))


def limits_lifted(run: Run, site: Site | None, op: str, low: float | None, high: float | None) -> Advice:
    """Say how an output reaches its targets."""
    if op in _STATES:
        text = (
            f"Put a linear layer behind {called(run, site) if site else op}: its states stay between -1 and 1, "
            "whatever the targets are."
        )
        size = site.shape[-1] if site is not None and site.shape else 1
        lines = [
            f"# in __init__: self.head = nn.Linear({size}, {size})",
            "# in forward, in place of: return states",
            "#     return self.head(states)",
        ]
        return Advice(text, code(*lines))
    name = called(run, site) if site is not None else spoken(op)
    limits = " and ".join(filter(None, ("" if low is None else f"{low:g}", "" if high is None else f"{high:g}")))
    scaled = "scale the targets to what lies between" if low is not None and high is not None else "shift the targets"
    its = "its limits are" if low is not None and high is not None else "its limit is"
    limits = f": {its} {limits}" if limits else ", so that it can return them"
    text = f"Leave {name} out, so that the model ends in a linear layer, or {scaled}{limits}."
    if site is None:
        return Advice(text, f"# in forward, leave out: x = torch.{op}(x)")
    return without(site, text)


def _loss_call(outer: Site) -> str:
    classes = outer.op in ("log_softmax", "softmax", "logsumexp")
    return f"{_FUNCTIONAL}.{'cross_entropy' if classes else 'binary_cross_entropy_with_logits'}"


def _change_of_axes(output: Sequence[int], target: Sequence[int]) -> str:
    for axis in range(len(output)):
        if output[axis] == 1 and [*output[:axis], *output[axis + 1 :]] == list(target):
            return f"unsqueeze({axis})"
    for axis in range(len(target)):
        if target[axis] == 1 and [*target[:axis], *target[axis + 1 :]] == list(output):
            return f"squeeze({axis})"
    return "reshape(output.shape)" if not target or math.prod(output) == math.prod(target) else "expand_as(output)"


def slope_where_sure(site: Site) -> Advice:
    """Say how a generator gets a gradient from a discriminator that is sure: Goodfellow et al. 2014, section 3."""
    text = (
        f"Leave the {spoken(site.op)} out, and let the generator maximise log D(G(z)) instead of minimising "
        "log(1 - D(G(z))): binary cross-entropy with logits, against ones. It is steep where the discriminator is sure."
    )
    lines = [
        "logits = discriminator(generator(noise))  # without a sigmoid",
        "loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))",
    ]
    return Advice(text, code(*lines))
