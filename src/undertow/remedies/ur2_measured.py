"""UR2xx, level B: weights scaled by what a batch makes of them; a small head."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from undertow.diagnosis import Diagnosis
from undertow.remedies.anatomy import Part, anatomy, fresh, run_loss, weight_of
from undertow.remedies.changing import on_model
from undertow.remedies.drawing import OF_SCALE, without_bias
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.ur2_weights import _make_orthogonal
from undertow.training import Training

LSUV_STEPS, LSUV_CLOSE = 8, 0.05


@remedy("UR203", "every layer's output scaled to one on a batch (LSUV)", "B", OF_SCALE)
def lsuv(training: Training) -> Training:
    """Draw orthogonal weights, then scale each layer until its output has standard deviation 1 on a batch.

    What it changes:
        Weights of linear layers and convolutions, in the order in which they run.
    When:
        The scale is lost in the weights and theory has no law for this network: odd activations, joins, pooling.
    Predicts:
        Activations of unit scale everywhere.
    References:
        Mishkin, Matas 2016 (All you need is a good init).
    """
    return on_model(training, _Lsuv(training))


@dataclass(frozen=True)
class _Lsuv:
    training: Training

    def __call__(self, model: nn.Module) -> None:
        _make_orthogonal(model, 1.0)
        for part in anatomy(model, self.training).layers:
            for _ in range(LSUV_STEPS):
                spread = self._spread(model, part.module)
                if not spread > 0 or abs(spread - 1) < LSUV_CLOSE:
                    break
                with torch.no_grad():
                    weight_of(part.module).div_(spread)

    def _spread(self, model: nn.Module, layer: nn.Module) -> float:
        seen: list[float] = []
        handle = layer.register_forward_hook(lambda _module, _given, made: seen.append(float(made.std())))
        try:
            run_loss(model, self.training)
        finally:
            handle.remove()
        return seen[0] if seen and math.isfinite(seen[0]) else 0.0


@lsuv.proposes
def _proposed_lsuv(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if any(finding.code in OF_SCALE for finding in diagnosis.findings):
        yield Proposal({}, "layers change the scale of what goes through them", 0.55)


@lsuv.written
def _lsuv_lines() -> str:
    return (
        "layers = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))]\n"
        "for layer in layers:  # in the order in which they run\n"
        "    nn.init.orthogonal_(layer.weight)\n"
        "    if layer.bias is not None:\n"
        "        nn.init.zeros_(layer.bias)\n"
        "for layer in layers:\n"
        "    seen = []\n"
        "    hook = layer.register_forward_hook(lambda module, given, made, seen=seen: seen.append(made.std()))\n"
        f"    for _ in range({LSUV_STEPS}):\n"
        "        with torch.no_grad():\n"
        "            model(x)  # x: a batch of inputs\n"
        f"            if abs(seen[-1] - 1) < {LSUV_CLOSE}:\n"
        "                break\n"
        "            layer.weight /= seen[-1]\n"
        "    hook.remove()"
    )


@remedy("UR204", "a small head to begin with", "B", ["UT401", "UT706", "UT102"])
def small_head(training: Training, factor: float = 0.1) -> Training:
    """Make the last layer's weights small and its bias zero, so that the first outputs are near zero.

    What it changes:
        The head's weight, times the factor, and its bias.
    When:
        The first loss is far above that of an even guess: the first steps are spent on shrinking the outputs.
    Predicts:
        The first loss is that of an even guess, ln of the number of classes.
    References:
        Lin et al. 2017 (focal loss), section 3.3; Karpathy 2019 (A recipe for training neural networks).
    """
    return on_model(training, _SmallHead(training, factor))


@dataclass(frozen=True)
class _SmallHead:
    training: Training
    factor: float

    def __call__(self, model: nn.Module) -> None:
        head = _head(model, self.training).module
        with torch.no_grad():
            weight_of(head).mul_(self.factor)
            without_bias(head)


def _head(model: nn.Module, training: Training) -> Part:
    head = anatomy(model, training).head
    if head is None or not hasattr(head.module, "weight"):
        raise ValueError("the model has no linear layer or convolution that could be its head")
    return head


@small_head.proposes
def _proposed_head(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if any(finding.code in ("UT401", "UT706", "UT102") for finding in diagnosis.findings):
        yield Proposal({"factor": 0.1}, "the first loss is far above that of an even guess", 0.35)


@small_head.written
def _head_lines(factor: float = 0.1) -> str:
    return _shrink("model.head  # its last layer", factor, bias=True)


@small_head.written_for
def _head_lines_for(training: Training, factor: float = 0.1) -> str:
    head = _head(fresh(training), training)
    return _shrink(f"model.get_submodule({head.name!r})", factor, getattr(head.module, "bias", None) is not None)


def _shrink(head: str, factor: float, bias: bool) -> str:
    lines = [f"head = {head}", "with torch.no_grad():", f"    head.weight *= {factor:g}"]
    return "\n".join([*lines, *(["    head.bias.zero_()"] if bias else [])])
