"""What other monitors would say: their published thresholds on the gradients of the same pass.

Each is a function of the parameters' gradients, as its project documents it. A fault is said to be found if a rule
says anything at all, of whatever kind and wherever: more generous than we are to ourselves.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from zoo.case import Subject

Gradients = dict[str, tuple[Tensor, Tensor]]
Rule = Callable[[Gradients, float], bool]


def norms_1e7_100(gradients: Gradients, _lr: float) -> bool:
    """gradglass, trainsight, trainpulse: L2 norm under 1e-7 or over 100."""
    return any(not 1e-7 <= g.norm() <= 100 for _, g in gradients.values())


def norms_1e7_1e4(gradients: Gradients, _lr: float) -> bool:
    """torchlens 2.36.1: L2 norm under 1e-7 or over 1e4."""
    return any(not 1e-7 <= g.norm() <= 1e4 for _, g in gradients.values())


def traintools(gradients: Gradients, lr: float) -> bool:
    """traintools 0.6.2: norm up to 1e-12 or from 1e3; lr ||g|| / ||w|| from 0.1 or up to 1e-8."""
    return any(
        not 1e-12 < g.norm() < 1e3 or (w.norm() > 0 and not 1e-8 < lr * g.norm() / w.norm() < 0.1)
        for w, g in gradients.values()
    )


def debugger(gradients: Gradients, _lr: float) -> bool:
    """SageMaker Debugger, DeepDiagnosis: mean |g| under 1e-7."""
    return any(not g.abs().mean() >= 1e-7 for _, g in gradients.values())


def autotrainer(gradients: Gradients, _lr: float) -> bool:
    """AUTOTRAINER: first / last weight gradient < 1e-3 with the first < 1e-4; ratio > 70; 70 % exact zeros."""
    weights = [g for w, g in gradients.values() if w.dim() > 1]
    if not weights:
        return False
    first, last = weights[0].norm(), weights[-1].norm()
    zeros = sum(int((g == 0).sum()) for g in weights) / sum(g.numel() for g in weights)
    finite = all(bool(g.isfinite().all()) for g in weights)
    return not finite or bool(first < 1e-3 * last and first < 1e-4) or bool(first > 70 * last) or zeros >= 0.7


RULES: dict[str, Rule] = {
    "L2 outside 1e-7..100 (gradglass, trainsight, trainpulse)": norms_1e7_100,
    "L2 outside 1e-7..1e4 (torchlens)": norms_1e7_1e4,
    "traintools": traintools,
    "mean absolute value < 1e-7 (SageMaker Debugger, DeepDiagnosis)": debugger,
    "AUTOTRAINER": autotrainer,
}


def verdicts(subject: Subject) -> dict[str, bool]:
    """Which of them speak."""
    try:
        gradients = _gradients(subject.model, subject.compute_loss())
    finally:
        subject.model.zero_grad()
    lr = float(subject.optimizer.param_groups[0]["lr"])
    with torch.no_grad():
        return {name: bool(rule(gradients, lr)) for name, rule in RULES.items()}


def _gradients(model: nn.Module, loss: Tensor) -> Gradients:
    model.zero_grad()
    loss.backward()
    return {
        name: (p.detach().float(), p.grad.detach().float())
        for name, p in model.named_parameters()
        if p.grad is not None
    }
