"""UT505 and UT506: statistics of too little, and examples that meet where they should not."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from undertow.diagnosis import Diagnosis
from undertow.operations import ALONG_AN_AXIS, RECURRENT_CALLS, RESHAPING, spoken
from undertow.record import Finding, Role, Run, Severity, Site
from undertow.rules.advice.graph import along_the_classes, examples_apart, normalised_over_more
from undertow.rules.registry import Blocks, rule
from undertow.wording import sentence

POOLS = frozenset({"mean", "sum", "max", "amax", "logsumexp", "median"})
ROUNDED = 1e-3
"""Part of a gradient under which a normalisation passes on rounding alone, divided by the root of its epsilon."""

OWN = 1.5
"""Times that an example changes its own output by beside another's; of an average over the batch it is 1."""


@rule(
    "UT505",
    "normalisation of one",
    explains=("UT101", "UT102", "UT104", "UT105", "UT109", "UT202", "UT205", "UT408", "UT704"),
    blocks_converged=Blocks.BEFORE,
)
def normalisation_of_one(diagnosis: Diagnosis) -> Iterator[Finding]:
    """A normalisation takes mean and variance of one value or two, or of a single example.

    What:
        Layer norm over one feature, group norm with one value a group, batch norm in training over a batch of one.
    Why it is bad:
        One value minus its mean is 0, whatever it was: the output is the bias, and no gradient passes. Of two values
        only the order is left: +1 and -1. With a batch of one, batch norm normalises every example by itself in
        training and by the running averages in evaluation: the network that is used is another than was trained.
    Evidence:
        ``values`` that each mean is taken over, ``examples`` that they come from. `examine` sees all of them; a
        watched run, which doesn't see what layers are called with, tells of layer norms over one feature, group norms
        over one value and batch norms over one example alone.
    Threshold:
        One value: error. Two, or one example under batch norm with running averages: warning. A batch norm without
        running averages does the same in both modes: a note with one example.
    What to do:
        Layer norm over more features, or none; group norm with fewer groups. For batches of one, group or instance
        norm; in a last batch, ``drop_last=True``.
    References:
        Ioffe, Szegedy 2015; Wu, He 2018 (Group normalization: small batches).
    """
    norms = diagnosis.run.header.get("norms") or _norms_of_a_graph(diagnosis)
    few = min((n for n in norms if n["values"] <= 2), key=lambda n: int(n["values"]), default=None)
    if few is not None:
        yield normalised_over_more(diagnosis.run, few).on(_few(few))
        return
    single = next((n for n in norms if n["op"] == "batch_norm" and n["examples"] == 1), None)
    if single is not None:
        yield normalised_over_more(diagnosis.run, single).on(_single(single))


def _norms_of_a_graph(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    """Return what a watched run knows of normalisations that take too little."""
    return [*_layer_norms(diagnosis), *_group_norms(diagnosis), *_batch_norms(diagnosis)]


def _group_norms(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    """Return group norms over single places that pass nothing on but rounding: a group has one value."""
    received, passed = diagnosis.column("grad_output"), diagnosis.column("grad_input")
    return [
        {"op": "group_norm", "shape": list(site.shape), "values": 1, "examples": 1, "source": site.source}
        for site in diagnosis.run.sites
        if site.op == "native_group_norm" and math.prod(site.shape[2:]) == 1
        and passed[site.index] < ROUNDED * received[site.index]
    ]  # fmt: skip


def _layer_norms(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    """Return layer norms of one feature."""
    return [
        {"op": "layer_norm", "shape": list(site.shape), "values": 1, "examples": 1, "source": site.source}
        for site in diagnosis.run.sites
        if site.op == "native_layer_norm" and site.shape[-1:] == (1,)
    ]


def _batch_norms(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    """Return the batch norms of a watched run that were in training mode with a batch of one example.

    Instance normalisation is computed as a batch norm over a batch of one: only modules of that name count.
    """
    if diagnosis.run.header.get("evaluation"):
        return []
    return [
        {"op": "batch_norm", "shape": list(site.shape), "values": math.prod(site.shape[2:]), "examples": 1,
         "source": site.source}
        for site in diagnosis.run.sites
        if site.op.endswith("batch_norm") and site.shape[:1] == (1,) and "BatchNorm" in site.module_type
        and math.prod(site.shape[2:]) > 2
    ]  # fmt: skip


def _few(norm: Mapping[str, Any]) -> Finding:
    one = norm["values"] < 2
    name = sentence(spoken(norm["op"]))
    text = f"{name} of shape {norm['shape']} takes every mean over {'one value' if one else 'two values'}: " + (
        "what comes out is constant, and no gradient passes."
        if one
        else "only which of the two is larger comes through."
    )
    return _finding(norm, "normalisation of one", Severity.ERROR if one else Severity.WARNING, text)


def _single(norm: Mapping[str, Any]) -> Finding:
    tracked = norm.get("tracked", True)
    text = (
        f"{sentence(spoken(norm['op']))} of shape {norm['shape']} sees a batch of one: in training it normalises the "
        "example by itself" + (", in evaluation by running averages." if tracked else ".")
    )
    return _finding(norm, "batch of one", Severity.WARNING if tracked else Severity.NOTE, text)


def _finding(norm: Mapping[str, Any], name: str, severity: Severity, text: str) -> Finding:
    numbers = {"values": float(norm["values"]), "examples": float(norm["examples"])}
    limit = "more than two values, of more than one example under batch norm"
    equation = "(x - mean x) / sqrt(var x + eps) = 0 for one value"
    return Finding("UT505", name, severity, (), norm["op"], text, numbers, limit, equation, source=norm["source"])


@rule(
    "UT506",
    "examples mixed",
    explains=("UT101", "UT104", "UT105", "UT107", "UT203", "UT205", "UT704"),
)
def mixed(diagnosis: Diagnosis) -> Iterator[Finding]:
    """The output for one example depends on another example's input.

    What:
        One example of the batch was exchanged, and the model's output changed for others, too, though batch
        normalisation was held still: rows of several examples were brought into one sequence.
    Why it is bad:
        The network is asked for labels of inputs that it gets in pieces, scrambled with those of others. It can
        learn little but how often each label occurs.
    Evidence:
        ``changed``: the share of the outputs that moved with one example; ``examples``: how many there are. Seen by
        `examine` only: it takes passes of its own with an example exchanged, which nobody's training can be given. A
        watched run tells the axis of a softmax alone.
    Threshold:
        More than one example's part, along every axis of the output, whether examples lie along the first axis of
        the input or the second. Or a reshape of data that exchanges the sizes of its first two axes, or one of the
        output that exchanges any two, which keeps the numbers' order and so mixes rows; or a softmax in front of
        nll_loss along another axis than the classes'. Or the last example changes all outputs and the first one none,
        as where the last of a batch is taken for the last step; or each changes all outputs alike, as where the batch
        was averaged over. Where a product or an attention does it on purpose
        (contrastive losses, attention over the batch), or nobody knows what did, a note.
    What to do:
        Exchange axes with ``transpose`` or ``permute``; ``view`` and ``reshape`` only cut the numbers, in their order,
        into other pieces. Recurrent and attention layers take the batch second unless ``batch_first=True``. Take
        softmax over classes (``dim=-1``), not over the batch.
    References:
        Karpathy 2019 (A recipe for training neural networks: backprop to chart dependencies).
    """
    header = diagnosis.run.header
    if exchanged := header.get("exchanged"):
        advice = examples_apart(diagnosis.run, exchanged["op"], exchanged["shapes"], exchanged["source"])
        yield advice.on(_of_data(exchanged))
        return
    if along := header.get("softmax along") or _axis_of_a_graph(diagnosis):
        yield along_the_classes(along).on(_wrong_axis(along))
        return
    fact = header.get("examples mixed")
    if not fact:
        return
    op, shapes = fact["op"], fact["shapes"]
    what = "the last one alone is looked at" if fact.get("of one alone") else _account(op, shapes)
    changed = f"{fact['changed']:.0%}" if fact["changed"] >= 0.01 else f"{fact['changed']:.1%}"
    text = (
        f"The output for one example depends on other examples: exchanging one of {fact['examples']} changes {changed} "
        f"of the outputs, as {what}."
    )
    mistaken = fact.get("of one alone") or _by_mistake(op, shapes) or ("product" not in spoken(op) and _nobodys(fact))
    severity = Severity.WARNING if mistaken else Severity.NOTE
    numbers = {"changed": float(fact["changed"]), "examples": float(fact["examples"])}
    limit = "no more than one example's part"
    where = spoken(op) or "the model"
    found = Finding("UT506", "examples mixed", severity, (), where, text, numbers, limit, source=fact["source"])
    yield examples_apart(diagnosis.run, op, shapes, fact["source"]).on(found)


def _axis_of_a_graph(diagnosis: Diagnosis) -> dict[str, Any] | None:
    """Return a softmax in front of nll_loss that isn't taken along its classes, or one of the last layer's outputs
    along the batch."""
    run = diagnosis.run
    if "softmax_axis" not in run.columns:
        return None
    along = diagnosis.column("softmax_axis")
    for site in run.sites:
        if not np.isfinite(along[site.index]) or len(site.shape) < 2 or diagnosis.depth[site.index]:
            continue
        axis, loss = int(along[site.index]), _loss_behind(run, site)
        classes = 1 if loss is None else along[loss.index]
        if classes != axis if loss else axis == 0 and _of_a_layer(run, site):
            if not np.isfinite(classes):  # nobody saw where they lie
                continue
            fact = {"op": site.op, "shape": list(site.shape), "axis": axis, "classes": int(classes)}
            return {**fact, "loss": loss.op if loss else "the loss", "source": site.source}
    return None


def _loss_behind(run: Run, site: Site) -> Site | None:
    givers = (run.sites[run.edges[edge].source] for edge in run.incoming[site.index])
    return next((giver for giver in givers if giver.op in ("nll_loss", "nll_loss2d")), None)


def _of_a_layer(run: Run, site: Site) -> bool:
    """Tell whether it takes the outputs of a layer for several examples, whose number isn't that of the classes."""
    behind = [run.sites[run.edges[edge].target] for edge in run.outgoing[site.index]]
    square = site.shape[0] == site.shape[1]  # similarities of examples are compared either way
    return len(site.shape) == 2 and site.shape[1] > 1 and not square and any(s.role is Role.WEIGHT for s in behind)


def _of_data(fact: Mapping[str, Any]) -> Finding:
    before, after = fact["shapes"]
    what = _account(fact["op"], [before, after])
    text = f"It looks like axes of the {'output' if fact.get('output') else 'data'} should change places, but {what}."
    limit, numbers = "shapes that differ by the order of two axes", {"examples": float(before[0])}
    return Finding(
        "UT506", "examples mixed", Severity.WARNING, (), fact["op"], text, numbers, limit, source=fact["source"]
    )


def _wrong_axis(fact: Mapping[str, Any]) -> Finding:
    axis, op = int(fact["axis"]), str(fact["op"])
    which = "the batch" if axis == 0 else "and not the classes"
    text = (
        f"{sentence(op)} of shape {fact['shape']} is taken along axis {axis}, {which}: {fact['loss']} takes classes "
        f"along axis {fact.get('classes', 1)}, and probabilities don't sum to 1 there."
    )
    numbers, limit = {"axis": float(axis)}, "a softmax in front of nll_loss along the axis of its classes"
    return Finding("UT506", "softmax axis", Severity.WARNING, (), op, text, numbers, limit, source=fact["source"])


def _by_mistake(op: str, shapes: list[list[int]]) -> bool:
    axes = len(shapes[0]) if shapes else 0
    return (
        op in RESHAPING
        or op in ALONG_AN_AXIS
        or (op in RECURRENT_CALLS | {"multi_head_attention_forward"} and axes == 3)
    )


def _nobodys(fact: Mapping[str, Any]) -> bool:
    """Tell whether every example changes all outputs alike, so that none is of an example."""
    own = fact.get("own")
    return own is not None and own < OWN and fact["changed"] > 1 - 1e-9


def _account(op: str, shapes: list[list[int]]) -> str:
    if op in RESHAPING:
        before, after = shapes
        return f"{op} from {before} to {after} puts numbers of several into one"
    if op in RECURRENT_CALLS or op == "multi_head_attention_forward":
        return f"{'attention' if 'attention' in op else op} goes along the first axis of {shapes[0]}, the batch"
    if op in ALONG_AN_AXIS | POOLS:
        return f"{op} is taken along the batch"
    return f"{spoken(op) or 'some operation'} brings them together"
