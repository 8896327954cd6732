"""`watch`: attaches a watcher to a training loop that stays as it is."""

import atexit
import functools
import logging
import os
import weakref
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from undertow.tape.lazy import refuse_lazy
from undertow.watching.detectors import NonfiniteDetector
from undertow.watching.feedback import Feedback
from undertow.watching.governor import Governor
from undertow.watching.governor_report import GovernorReport
from undertow.watching.loop_hooks import LoopHooks
from undertow.watching.loss_scale import LossScale
from undertow.watching.manual_steps import ManualSteps
from undertow.watching.observations import ObservationCosts, Observations
from undertow.watching.online_checker import FindingListener, OnFinding, OnlineChecker, check_stop
from undertow.watching.pass_counter import PassCounter
from undertow.watching.pass_placement import PassPlacement
from undertow.watching.ranks import Ranks
from undertow.watching.resuming import ResumePoint, offset_of, resumed
from undertow.watching.run_description import describe
from undertow.watching.run_writer import RunWriter
from undertow.watching.step_outbox import StepOutbox
from undertow.watching.step_planner import StepPlanner
from undertow.watching.step_processor import StepProcessor
from undertow.watching.step_time import RunClock, clock
from undertow.watching.unseen import SENTENCES
from undertow.watching.unwrapping import innermost, is_compiled, unwrapped
from undertow.watching.watch_target import WatchTarget
from undertow.watching.watched_parameters import WatchedParameters
from undertow.watching.watcher import UserLog, Watcher

_log = logging.getLogger("undertow")

CHECKING = 0.2
"""Part of the overhead that goes into checking full steps by the rules."""


def watch(
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer] | None,
    path: str | os.PathLike[str] = "runs/first.undertow",
    *,
    overhead: float = 0.01,
    scaler: Any = None,
    every: int | None = None,
    full_tape: bool | None = None,
    loss_parts: bool | None = None,
    resume: bool = False,
    step: int | None = None,
    on_finding: OnFinding | None = None,
    stop_on: Collection[str] = (),
    header: Mapping[str, Any] | None = None,
) -> Watcher:
    """Record a training run, while the loop stays as it is. Call it once, before the loop.

    Training is bit-identical with and without it: weights, losses, random numbers. Nothing on the training thread ever
    waits for a device, and an error of ours ends the watching with one warning, never the training.

    Args:
        model: what is trained; wrapped for compilation or for several processes, if it is.
        optimizer: its optimizer, or several. The steps of the first one count. None for one that isn't torch's (Keras',
            fastai's, one of your own): the loop calls `Watcher.before_step` and `Watcher.after_step` then.
        path: the Run's file. A finished Run of that name is kept as ``name-2``, so that ``open_run(path)`` shows this
            one; where the other may still be written to, this one is ``name-2``. A warning says which, and
            ``watcher.path``. With several processes every one writes its own, beside it.
        overhead: share of the step time that watching may cost. A governor measures what it does cost, chooses the
            steps to observe accordingly, and says so in the Run.
        scaler: the ``torch.amp.GradScaler``, or what wraps one, so that gradients can be unscaled and skipped steps
            seen. One that isn't handed over is found when it scales a loss at a full step.
        every: take a full step every so many steps, whatever it costs.
        full_tape: whether to tape the backward pass; else only the optimizer's side is read. By default it is taped
            unless the model is compiled. A compiled model is run eagerly at a full step, and the bits of an eager
            step are not those of a compiled one.
        loss_parts: whether the losses of a step's several backward passes are parts that add up to the step's loss, as
            trainers make them; False if each is a loss of its own, of which the mean is taken. By default that is told
            by what each was divided by, last of all, in one place or in several.
        resume: go on with the Run in ``path``, at the step of the checkpoint that training goes on from: load the
            optimizer's state before. What was recorded after that step is put aside, in a file beside it.
        step: number of the first step; 0 if not given. When resuming, it is found by what the optimizer has counted
            (Adam and its like do) or else is the one after the last that is known: with an optimizer that doesn't
            count, as SGD, give the step of a checkpoint that isn't the last.
        on_finding: called with every new finding, while it trains, on a thread of its own: don't touch the model there.
            The rules that judge single steps are asked about full ones, as often as a fifth of ``overhead`` allows;
            the first inf or nan is told when it is seen. What takes a whole run to see (spikes, collapse, clipping,
            convergence) isn't told: `undertow.explain` tells it, also while the Run grows.
        stop_on: codes of findings, or severities (``["error"]``), after which ``watcher.stopping`` holds the finding.
            Nothing stops by itself: the loop asks, and breaks. It is told some steps late, as nothing waits for it.
        header: more to say about the run, as JSON values.

    Returns:
        The watcher. Close it, use it in a ``with``, or let the end of the program do it.

    Raises:
        TypeError: ``model`` is no module, ``optimizer`` no optimizer, or ``scaler`` no scaler.
        ValueError: there is no optimizer, or a number makes no sense.

    Example:
        >>> import tempfile, torch, undertow
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with undertow.watch(net, optimizer, path=f"{folder}/first.undertow", every=1):
        ...         for _ in range(3):
        ...             optimizer.zero_grad()
        ...             net(torch.randn(16, 4)).square().mean().backward()
        ...             optimizer.step()
        ...     run = undertow.open_run(f"{folder}/first.undertow")
        >>> run.steps["step"].tolist(), [site.name for site in run.sites if site.role == "weight"]
        ([0.0, 1.0, 2.0], ['2', '0'])
    """
    optimizers = _checked(model, optimizer, overhead, every)
    check_stop(stop_on)
    refuse_lazy(model)
    target = _target(model, optimizers, scaler, full_tape, loss_parts)
    about = {**describe(target), **dict(header or {})}
    compiled = is_compiled(model)
    if compiled and not target.tapes:
        about["unseen"] = {"compiled": SENTENCES["compiled"]}
    about |= {"compiled": compiled, "overhead": overhead, "every": every, "loss_scale": "1"}
    if len(optimizers) > 1:
        about["losses"] = {curve: type(each).__name__ for curve, each in zip(target.curves, optimizers, strict=True)}
    about["partial"] = target.ranks.partial(target.parameters.sharded)
    start = resumed(Path(path), target, step) if resume else ResumePoint(step or 0)
    about |= offset_of(target, start)
    writer = RunWriter(
        path,
        about,
        resume=resume,
        rank=target.ranks.rank,
        world=target.ranks.world,
        step=start.step if resume else None,
    )
    listener = FindingListener(on_finding, frozenset(stop_on))
    checker = OnlineChecker(CHECKING * overhead, listener, about)
    return _attached(target, writer, checker, Governor(overhead, every, clock), start)


def _target(
    model: nn.Module, optimizers: list[Optimizer], scaler: Any, full_tape: bool | None, loss_parts: bool | None
) -> WatchTarget:
    inner, compiled = unwrapped(model), is_compiled(model)
    parameters = WatchedParameters(inner, optimizers)
    tapes = not compiled if full_tape is None else full_tape
    ranks = Ranks.of(model)
    eager, scale = compiled and tapes, LossScale(scaler)
    return WatchTarget(inner, optimizers, parameters, scale, ranks, tapes, eager=eager, loss_parts=loss_parts)


def _attached(
    target: WatchTarget, writer: RunWriter, checker: OnlineChecker, governor: Governor, start: ResumePoint
) -> Watcher:
    """Put the parts together, and begin with a step.

    What outlives the model (``passes``, ``nonfinite``, ``feedback`` and ``report``) must not hold it, nor the user's
    functions that ``checker`` holds, as those may hold it.
    """
    passes, nonfinite = PassCounter(governor, target.thread), NonfiniteDetector(writer, lambda: governor.step)
    feedback, run_clock = Feedback(governor.wake_up), RunClock(clock() - writer.reached[1])
    outbox = StepOutbox(writer, StepProcessor(writer, checker, nonfinite, feedback), passes, run_clock)
    placement, costs = PassPlacement(passes, target, governor), ObservationCosts(governor)
    observations = Observations(target, StepPlanner(target, feedback), costs, passes, placement, outbox)
    report = GovernorReport(governor, feedback, writer, run_clock)
    hooks = LoopHooks(target, governor, passes, observations, outbox, report)
    nonfinite.saw_finite(start.step - 1)  # what isn't finite at the first step began there
    passes.go_on(start.backwards)
    hooks.attach(start.step)
    # Weakly: what is registered at exit lives as long as the interpreter, and would hold model and optimizer.
    atexit.register(_finish, weakref.ref(hooks), os.getpid())
    rest = None if target.loss_scale.active else nonfinite
    # Not at exit, where _finish has done it with the hooks still alive.
    model = weakref.ref(target.model)
    weakref.finalize(hooks, _left, writer, passes, rest, run_clock, model).atexit = False
    return Watcher(hooks, writer, checker.listener, UserLog(passes, observations, outbox))


def _left(
    writer: RunWriter,
    passes: PassCounter,
    nonfinite: NonfiniteDetector | None,
    run_clock: RunClock,
    model: "weakref.ref[nn.Module]",
) -> None:
    """Write what is known: the optimizer is gone, as a rule with the model, and nobody closed."""
    history, when = passes.take(), run_clock.at(passes.seen)
    if nonfinite is not None:
        writer.later(functools.partial(nonfinite.finish, when, history), 512, when.step)
    if model() is not None and not passes.ended:
        text = (
            f"{writer.path} is recorded no further than step {when.step}: the optimizer that was watched is gone, and "
            "the model is not. If training goes on, watch the model with its new optimizer."
        )
        writer.event(when.step, when.time, "ended", text)
        _log.warning("undertow: %s", text)
    writer.close()


def _finish(hooks: "weakref.ref[LoopHooks]", process: int) -> None:
    alive = hooks()
    if alive is not None and os.getpid() == process:
        alive.finish()


def _checked(
    model: object, optimizer: Optimizer | Sequence[Optimizer] | None, overhead: float, every: int | None
) -> list[Optimizer]:
    if not isinstance(model, nn.Module):
        swapped = ": the model comes first, as in watch(model, optimizer)" if isinstance(model, Optimizer) else ""
        raise TypeError(f"model is a {type(model).__name__}, not a torch.nn.Module{swapped}")
    if optimizer is None:
        optimizer = ManualSteps(unwrapped(model))
    many = list(optimizer) if isinstance(optimizer, list | tuple) else [optimizer]
    optimizers = [innermost(each) for each in many]
    for each in optimizers:
        if not isinstance(each, Optimizer):
            raise TypeError(f"optimizer is a {type(each).__name__}, not a torch.optim.Optimizer: give one, or a list")
    if not optimizers:
        raise ValueError("no optimizer: give the one that trains the model, or a list of them")
    if not 0 < overhead <= 1:
        raise ValueError(f"overhead is {overhead}: give a share of the step time, as 0.01 for one percent")
    if every is not None and every < 1:
        raise ValueError(f"every is {every}: give 1 for every step, 10 for every tenth")
    return optimizers
