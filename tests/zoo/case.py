"""What an animal of the zoo is, how it is trained, and when a finding counts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from undertow.record import Finding, Severity
from undertow.report import Report

FALLS_TO = 0.85
"""A healthy network's loss must fall to this part of what it was, or it is no proof of anything."""


class Subject(NamedTuple):
    """A network with its task and the optimizer that it is trained by."""

    model: nn.Module
    compute_loss: Callable[[], Tensor]
    optimizer: Optimizer


@dataclass(frozen=True)
class Case:
    """One animal.

    Attributes:
        name: unique.
        family: kind of architecture; thresholds are chosen on half of the families.
        build: makes it anew from a seed.
        codes: of the rules that should speak, any of them will do; none for a healthy one.
        place: module path, parameter or phrase that must be in the finding's place.
        steps: training steps before the second look, and until the loss must have fallen.
        judged: at the start only, or after training too. What is wrong with a start may be cured by training.
    """

    name: str
    family: str
    build: Callable[[int], Subject]
    codes: tuple[str, ...] = ()
    place: str = ""
    steps: int = 60
    judged: tuple[str, ...] = ("start",)


def train(subject: Subject, steps: int) -> list[float]:
    """Plain training; the loss of every step."""
    losses = []
    subject.model.train()
    for _ in range(steps):
        subject.optimizer.zero_grad()
        loss = subject.compute_loss()
        loss.backward()
        subject.optimizer.step()
        losses.append(loss.item())
    return losses


def fall(losses: list[float]) -> float:
    """Loss at the end as a part of that at the start, each the mean of a tenth of the steps."""
    some = max(1, len(losses) // 10)
    first, last = np.mean(losses[:some]), np.mean(losses[-some:])
    return float(last / first) if np.isfinite(last) else float("inf")


def alarms(report: Report) -> list[Finding]:
    """Findings that say something is wrong."""
    return [finding for finding in report.findings if finding.severity is not Severity.NOTE]


def found(case: Case, report: Report) -> bool:
    """Whether a rule that should speak does, and of the right place."""
    return any(f.code in case.codes and case.place in places(report, f) for f in report.findings)


def places(report: Report, finding: Finding) -> set[str]:
    """Modules and names that a finding points at."""
    modules = {report.run.sites[site].module for site in finding.sites}
    return modules | {"", finding.where, *finding.where.split(" -> "), *finding.where.split(", ")}


def seeded(seed: int) -> None:
    """Every build begins so."""
    torch.manual_seed(1000 + seed)
