"""UR3xx, level C: sequences that are padded."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import rnn

from undertow.diagnosis import Diagnosis
from undertow.remedies.changing import on_model
from undertow.remedies.facts import known_facts, unlearned
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.survey import SEQUENCES, true_lengths
from undertow.training import Training

MUCH = 0.2
"""Part of the steps that is padding, from which on it matters."""


@remedy("UR315", "a recurrence that ends where the padding begins", "C", ["UT107", "UT704"])
def unpadded(training: Training) -> Training:
    """Let recurrent modules stop at the last step that isn't padding, and hand its output on to the end.

    What it changes:
        What ``nn.RNN``, ``nn.LSTM`` and ``nn.GRU`` modules are given is packed: a sequence ends where nothing but
        copies of its last step follow. Behind that its output is that of its last true step.
    When:
        Sequences are padded at their end, and what is read is the state behind the padding.
    Predicts:
        The gradient's way through time is as long as the sequences are.
    References:
        PyTorch documentation, nn.utils.rnn.pack_padded_sequence.
    """
    return on_model(training, _unpad)


def _unpad(model: nn.Module) -> None:
    found = [module for module in model.modules() if isinstance(module, nn.RNNBase)]
    if not found:
        raise ValueError("the model has no nn.RNN, nn.LSTM or nn.GRU")
    for module in found:
        kept: list[Tensor] = []
        module.register_forward_pre_hook(partial(_pack, kept=kept))
        module.register_forward_hook(partial(_unpack, kept=kept))


def _pack(module: nn.RNNBase, given: tuple[Any, ...], kept: list[Tensor]) -> tuple[Any, ...] | None:
    x, first = given[0], bool(module.batch_first)
    kept.clear()
    if not isinstance(x, Tensor) or x.ndim != SEQUENCES:
        return None
    rows = x if first else x.transpose(0, 1)
    lengths = true_lengths(rows)
    last = torch.arange(rows.shape[1], device=x.device)[None].minimum(lengths[:, None] - 1)
    kept.append(last)
    return (rnn.pack_padded_sequence(x, lengths.cpu(), first, enforce_sorted=False), *given[1:])


def _unpack(module: nn.RNNBase, given: Any, made: Any, kept: list[Tensor]) -> Any:
    del given
    if not kept:
        return made
    rows, last = rnn.pad_packed_sequence(made[0], batch_first=True)[0], kept.pop()
    held = rows.gather(1, last[..., None].expand(*last.shape, rows.shape[-1]))
    return held if module.batch_first else held.transpose(0, 1), made[1]


@unpadded.proposes
def _proposed_packing(diagnosis: Diagnosis) -> Iterator[Proposal]:
    padded = float(known_facts(diagnosis).get("survey", {}).get("padded", 0.0))
    if padded > MUCH:
        urgent = unlearned(diagnosis) or any(finding.code in ("UT107", "UT704") for finding in diagnosis.findings)
        yield Proposal({}, f"{padded:.0%} of the steps are padding", 0.9 if urgent else 0.6)


@unpadded.written
def _packing_lines() -> str:
    return (
        "# in forward(), around the recurrence, with the number of true steps of each example:\n"
        "# packed = nn.utils.rnn.pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)\n"
        "# made, state = self.rnn(packed)  # state is that of the last true step"
    )
