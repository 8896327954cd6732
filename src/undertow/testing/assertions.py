"""Assert in a test that a model's gradients flow, and that it trains; failures say what is wrong and what to do."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from undertow.examination import examine
from undertow.record import Finding, Severity
from undertow.render.terminal import Screen, printed
from undertow.render.terminal_findings import blocks
from undertow.report import Explanation, Report, explain
from undertow.rules.selection import prefixes, selected
from undertow.store import open_run
from undertow.training import DEFAULT_STEPS, Training, Trial, random_numbers_kept
from undertow.watching import watch

GRADIENT = ("UT1", "UT5")
"""Families of rules about the gradient's way back: its scale along depth, and the graph and the loss."""

FULL_STEPS = 40
"""Steps of a training that are measured in full, about."""

SHOWN = Screen(width=88)


def assert_gradients_flow(
    model: nn.Module,
    loss: Callable[[], Any],
    optimizer: Any = None,
    *,
    fail_on: str = "warning",
    select: Iterable[str] = GRADIENT,
    ignore: Iterable[str] = (),
    repeats: int = 1,
) -> Report:
    """Assert that the gradient gets from the loss to every parameter, and neither fades nor explodes on its way.

    The model is examined in one pass, which leaves no trace in it: gradients, buffers and random numbers stay.

    Args:
        model: the module.
        loss: takes nothing, returns a scalar loss with its graph, as `undertow.examine` takes it.
        optimizer: where rules about its steps are selected, too.
        fail_on: the least severity that fails: "note", "warning" or "error".
        select: rules that are asked, by the beginnings of their codes; "ALL" for all.
        ignore: rules that are not.
        repeats: passes; ``loss`` may take another batch each time.

    Returns:
        The report, for further assertions.

    Raises:
        AssertionError: something was found; the message says what, where, and what to do about it.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> x = torch.randn(64, 8)
        >>> good = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
        >>> report = assert_gradients_flow(good, lambda: good(x).square().mean())
        >>> deep = nn.Sequential(*[layer for _ in range(12) for layer in (nn.Linear(8, 8), nn.Sigmoid())])
        >>> assert_gradients_flow(deep, lambda: deep(x).square().mean())
        Traceback (most recent call last):
        AssertionError: gradients don't flow through Sequential: 1 finding as severe as warning or more
        ...
    """
    __tracebackhide__ = True
    least = Severity(fail_on)
    report = examine(model, loss, optimizer, repeats)
    failing = _failing(report.findings, least, select, ignore)
    if failing:
        text = f"gradients don't flow through {type(model).__name__}: {_counted(failing, least)}"
        raise AssertionError(_told([text], failing))
    return report


def assert_trains(
    training: Training,
    steps: int | None = None,
    *,
    gain: float = 0.05,
    one_batch: bool = False,
    fail_on: str = "error",
    ignore: Iterable[str] = (),
    seed: int = 0,
) -> Explanation:
    """Assert that a training learns: it is carried out once, watched, in a folder that is gone afterwards.

    Args:
        training: how you train.
        steps: how many; the training's own, else 300.
        gain: part of the untrained model's score that must be gained. The score is ``training.score``, else the
            negative loss on some batches, the same before and after, in evaluation mode.
        one_batch: whether to train on the first batch alone, which any training that is in order learns by heart.
        fail_on: the least severity of a finding that fails, whatever was gained: "note", "warning" or "error".
        ignore: rules that are not asked, by the beginnings of their codes.
        seed: of the weights, and of the order of the data.

    Returns:
        What was recorded, explained, for further assertions.

    Raises:
        AssertionError: it doesn't learn; the message says so, and what undertow found that may be the reason.
        TypeError: it is no Training.

    Example:
        >>> import torch
        >>> x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
        >>> training = Training(
        ...     model=lambda: nn.Linear(4, 1),
        ...     batches=[(x, x.sum(1, keepdim=True))],
        ...     loss=lambda model, batch: nn.functional.mse_loss(model(batch[0]), batch[1]),
        ...     optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.1),
        ... )
        >>> len(assert_trains(training, steps=30).run.scalars["loss"])
        30
    """
    __tracebackhide__ = True
    least = Severity(fail_on)
    if not isinstance(training, Training):
        raise TypeError(
            f"training is a {type(training).__name__}: give an undertow.Training, which says how to train, as in "
            "assert_trains(undertow.Training(model=..., batches=..., loss=..., optimizer=...))"
        )
    if one_batch:
        training = replace(training, batches=training.sample(1))
    trial, explained = _watched(training, steps or training.steps or DEFAULT_STEPS, seed)
    failing = _failing(explained.findings, least, ("ALL",), ignore)
    problems = [_lost(trial) or _gained_too_little(training, trial, gain)]
    problems += [f"{_counted(failing, least)} in {len(trial.losses)} steps"] if failing else []
    if any(problems):
        shown = failing or _failing(explained.findings, Severity.WARNING, ("ALL",), ignore)
        raise AssertionError(_told(["this training doesn't train", *filter(None, problems)], shown))
    return explained


def _watched(training: Training, steps: int, seed: int) -> tuple[Trial, Explanation]:
    with tempfile.TemporaryDirectory() as folder, random_numbers_kept():
        path = Path(folder, "training.undertow")
        watcher = partial(watch, path=path, every=max(1, steps // FULL_STEPS))
        trial = training.run(seed, steps, scored=1, watcher=watcher)
        return trial, explain(open_run(path))


def _lost(trial: Trial) -> str:
    return "" if trial.diverged is None else f"its loss is not finite from step {trial.diverged:,} on"


def _gained_too_little(training: Training, trial: Trial, gain: float) -> str:
    before, after = trial.start, trial.score
    if after - before >= gain * abs(before) and after > before:
        return ""
    if training.score is not None:
        measured, change, sign = "its score", "rise", 1.0
    else:
        measured, change, sign = "its loss on fixed batches", "fall", -1.0
    went = f"{measured} went from {sign * before:.4g} to {sign * after:.4g} in {len(trial.losses)} steps"
    return f"{went}, and should {change} by {100 * gain:g} % at least"


def _failing(
    findings: Sequence[Finding], least: Severity, select: Iterable[str], ignore: Iterable[str]
) -> list[Finding]:
    chosen = selected(findings, prefixes(select), prefixes(ignore))
    return [each for each in chosen if each.severity.rank >= least.rank]


def _counted(failing: Sequence[Finding], least: Severity) -> str:
    more = "" if least is Severity.ERROR else " or more"
    return f"{len(failing)} finding{'s' * (len(failing) > 1)} as severe as {least}{more}"


def _told(problems: Sequence[str], findings: Sequence[Finding]) -> str:
    text = ": ".join((problems[0], "; ".join(problems[1:]))) if len(problems) > 1 else problems[0]
    return "\n\n".join(filter(None, (text, printed(blocks(findings, SHOWN), SHOWN).rstrip())))
