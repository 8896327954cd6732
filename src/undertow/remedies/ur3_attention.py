"""UR3xx, level C: what attention sees, and whether it knows where."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from undertow.diagnosis import Diagnosis
from undertow.remedies.anatomy import Part, anatomy, fresh
from undertow.remedies.attending import OVER_KEYS, TURNED
from undertow.remedies.changing import on_model
from undertow.remedies.facts import known_facts, unlearned
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.replacing import Replacement
from undertow.remedies.rewiring import rewire
from undertow.remedies.survey import SEQUENCES, surveyed
from undertow.training import Training

MOST = 0.5
"""Part of the positions that is hidden, from which on a mask is more likely wrong than right."""

PLACED = 0.1
"""Deviation of what tells places, to begin with."""


@remedy("UR316", "masks of padding turned round", "C", ["UT704", "UT203", "UT108"])
def unmask(training: Training) -> Training:
    """Show attention what masks hide, and hide what they show; masks of the future stay.

    What it changes:
        Masks in calls of ``masked_fill``, ``where`` and products by a large negative number, and masks of yes and no of
        ``scaled_dot_product_attention``; those of torch's own transformer layers go through such a call.
    When:
        A mask says the opposite of what is meant: True is "ignore" for ``key_padding_mask`` of torch's modules, and
        "take part" for ``scaled_dot_product_attention``. Attention sees nothing but padding then.
    Predicts:
        The output depends on the tokens.
    References:
        PyTorch documentation, nn.MultiheadAttention (key_padding_mask), scaled_dot_product_attention (attn_mask).
    """
    if surveyed(fresh(training), training).hidden < 0:
        raise ValueError("the model hides nothing from attention")
    return on_model(training, partial(rewire, rewiring=Replacement(TURNED)))


@unmask.proposes
def _proposed_unmasking(diagnosis: Diagnosis) -> Iterator[Proposal]:
    hidden = float(known_facts(diagnosis).get("survey", {}).get("hidden", -1.0))
    if hidden >= 0:
        urgency = 0.9 if hidden > MOST else 0.5 if unlearned(diagnosis) else 0.3
        yield Proposal({}, f"masks hide {hidden:.0%} of the positions", urgency)


@unmask.written
def _unmasking_lines() -> str:
    return "# in forward(): mask = ~mask  # True is 'ignore' for key_padding_mask, 'take part' for attn_mask of F.sdpa"


@remedy("UR317", "places of tokens told", "C", ["UT704"])
def placed(training: Training) -> Training:
    """Add learned numbers for each place to what first makes features of a sequence.

    What it changes:
        The first module that makes [examples, steps, features] gets a table with a row for each step, which is added to
        what it makes; steps beyond the last row share it.
    When:
        Attention alone takes a sequence for a set: if its steps change places, nothing changes, and the order matters.
    Predicts:
        The output depends on the order.
    References:
        Vaswani et al. 2017, section 3.5; Gehring et al. 2017 (learned positions).
    """
    return on_model(training, _Place(training))


def _add_places(module: nn.Module, given: Any, made: Any, axis: int) -> Any:
    """Add a row of the table to each step; those beyond the last row share it."""
    del given
    if not isinstance(made, Tensor) or made.ndim != SEQUENCES:
        return made
    table: Tensor = module.places  # type: ignore[assignment]  # put there together with this hook
    rows = table[torch.arange(made.shape[axis], device=made.device).clamp(max=len(table) - 1)]
    return made + (rows if axis else rows[:, None])


@dataclass(frozen=True)
class _Place:
    training: Training

    def __call__(self, model: nn.Module) -> None:
        part, axis = _embedding(model, self.training)
        made, weight = part.made, next(model.parameters())
        assert made is not None  # noqa: S101  # `_embedding` looked
        table = PLACED * torch.randn(made.shape[axis], made.shape[-1], device=made.device, dtype=weight.dtype)
        part.module.places = nn.Parameter(table)
        part.module.register_forward_hook(partial(_add_places, axis=axis))


def _embedding(model: nn.Module, training: Training) -> tuple[Part, int]:
    """Return the first leaf that makes features of a sequence, and the axis of its steps."""
    seen = surveyed(fresh(training), training)
    if not seen.placeless:
        raise ValueError("the order of steps matters to the model already, or it has no attention")
    for part in anatomy(model, training).parts:
        if part.made is not None and part.made.ndim == SEQUENCES and part.made.is_floating_point():
            return part, seen.steps
    raise ValueError("no module makes features of a sequence")


@placed.proposes
def _proposed_places(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if known_facts(diagnosis).get("survey", {}).get("placeless"):
        yield Proposal({}, "the order of the steps changes nothing", 0.9 if unlearned(diagnosis) else 0.4)


@placed.written
def _places_lines() -> str:
    return _places_loop("model.embedding", f"{PLACED:g} * torch.randn(steps, width)", 1)


@placed.written_for
def _places_lines_for(training: Training) -> str:
    part, axis = _embedding(fresh(training), training)
    made = part.made
    assert made is not None  # noqa: S101  # `_embedding` looked
    table = f"{PLACED:g} * torch.randn({made.shape[axis]}, {made.shape[-1]})"
    return _places_loop(f"model.get_submodule({part.name!r})", table, axis)


def _places_loop(place: str, table: str, axis: int) -> str:
    index = "" if axis else ", None"
    return (
        f"embedding = {place}  # what first makes features of a sequence\n"
        f"embedding.places = nn.Parameter({table})\n"
        "embedding.register_forward_hook(\n"
        f"    lambda module, given, made: made + module.places[: made.shape[{axis}]{index}]\n"
        ")"
    )


@remedy("UR318", "attention's softmax over the keys", "C", ["UT704", "UT203"])
def over_keys(training: Training) -> Training:
    """Let the softmax of attention's scores go along the last axis, that of the keys.

    What it changes:
        The axis of softmaxes within the model whose input is [examples, heads, queries, keys], or has as many rows as
        columns.
    When:
        What one query gives to all keys doesn't add up to one: the softmax goes over queries, heads or examples.
    Predicts:
        Each position takes a mean of values.
    References:
        Vaswani et al. 2017, section 3.2.1.
    """
    if not surveyed(fresh(training), training).across:
        raise ValueError("no softmax of attention's scores goes along another axis than the last")
    return on_model(training, partial(rewire, rewiring=Replacement(OVER_KEYS)))


@over_keys.proposes
def _proposed_keys(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if known_facts(diagnosis).get("survey", {}).get("across"):
        yield Proposal({}, "a softmax of scores goes along another axis than that of the keys", 0.85)


@over_keys.written
def _keys_lines() -> str:
    return "# in forward(): scores.softmax(dim=-1), where scores is [..., queries, keys]"
