"""`watch`: a tape on some steps of a training run, and cheap notes on others, at a cost nobody feels."""

import atexit
import functools
import math
import os
import platform
import weakref
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from undertow.watching.governor import Governor
from undertow.watching.loop_hooks import Stepper
from undertow.watching.loss_scale import Scaling
from undertow.watching.nonfinite_detector import Moment, Onset
from undertow.watching.online_checker import Jury, OnFinding, check_stop
from undertow.watching.pass_counter import Passes
from undertow.watching.run_writer import RunWriter
from undertow.watching.step_observer import Subject, clock
from undertow.watching.step_processor import Delivery
from undertow.watching.watched_parameters import Members, Ranks, compiled, innermost, unwrapped
from undertow.watching.watcher import Watcher, close

__all__ = ["Watcher", "watch"]

JUDGING = 0.2
"""Part of the overhead that goes into judging what was taped."""


def watch(
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer],
    path: str | os.PathLike[str] = "runs/first.undertow",
    *,
    overhead: float = 0.01,
    scaler: Any = None,
    every: int | None = None,
    full_tape: bool | None = None,
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
        optimizer: its optimizer, or several. The steps of the first one count.
        path: the Run's file; an existing one is left alone, and ``name-2`` written. With several processes every one
            writes its own, beside it.
        overhead: share of the step time that watching may cost. A governor measures what it does cost, chooses the
            steps to look at accordingly, and says so in the Run.
        scaler: the ``torch.amp.GradScaler``, if there is one, so that gradients can be unscaled and skipped steps seen.
        every: tape every so many steps, whatever it costs.
        full_tape: whether to tape the backward pass; else only the optimizer's side is read. By default it is taped
            unless the model is compiled. A compiled model is run eagerly at a step that is taped, and the bits of an
            eager step are not those of a compiled one.
        resume: go on with the Run in ``path``.
        step: number of the first step; 0 if not given, or when resuming the one after the last recorded.
        on_finding: called with every new finding, while it trains, on a thread of its own: don't touch the model there.
            The rules that judge single steps are asked about taped ones, as often as a fifth of ``overhead`` allows;
            the first inf or nan is told when it is seen. What takes a whole run to see (spikes, collapse, clipping,
            convergence) isn't told: `undertow.explain` tells it, also while the Run grows.
        stop_on: codes of findings, or severities (``["error"]``), after which ``watcher.stopping`` holds the finding.
            Nothing stops by itself: the loop asks, and breaks. It is told some steps late, as nothing waits for it.
        header: more to say about the run, as JSON values.

    Returns:
        The watcher. Close it, use it in a ``with``, or let the end of the program do it.

    Raises:
        TypeError: ``model`` is no module, or ``optimizer`` no optimizer.
        ValueError: the optimizer holds no parameter of the model, or a number makes no sense.

    Example:
        >>> import tempfile, undertow
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
    inner = unwrapped(model)
    members = Members(inner, optimizers)
    if not any(True for _ in members):
        raise ValueError("the optimizer holds no parameter of this model: is it this model's optimizer?")
    ranks, is_compiled = Ranks.of(model), compiled(model)
    tapes = not is_compiled if full_tape is None else full_tape
    told = {**_about(inner, optimizers, members), **dict(header or {})}
    told |= {"compiled": is_compiled, "overhead": overhead, "every": every, "loss_scale": "1"}
    told["partial"] = ranks.partial(members.sharded)
    writer = RunWriter(path, told, resume=resume, rank=ranks.rank, world=ranks.world)
    governor = Governor(overhead, every, clock)
    jury = Jury(JUDGING * overhead, on_finding, frozenset(stop_on), told)
    passes, onset = Passes(governor), Onset(writer, lambda: governor.step)
    stepper = Stepper(
        Subject(
            inner,
            optimizers,
            members,
            Scaling(scaler),
            ranks,
            tapes=tapes,
            eager=is_compiled and tapes,
        ),
        governor,
        writer,
        Delivery(writer, jury, onset, governor.rouse),
        passes,
        clock() - writer.reached[1],
    )
    stepper.attach(step if step is not None else writer.reached[0] + 1)
    atexit.register(_close, weakref.ref(stepper), os.getpid())
    rest = None if stepper.subject.scaling.active else onset
    weakref.finalize(stepper, _left, writer, passes, rest, stepper.start).atexit = False
    return Watcher(stepper)


def _left(writer: RunWriter, passes: Passes, onset: Onset | None, start: float) -> None:
    """Model and optimizer are gone, and nobody closed: what is known has to be in the file nevertheless."""
    trail, moment = passes.take(), Moment(passes.seen, clock() - start)
    if onset is not None:
        writer.later(functools.partial(onset.rest, moment, trail), 512, moment.step)
    writer.close()


def _close(stepper: "weakref.ref[Stepper]", process: int) -> None:
    alive = stepper()
    if alive is not None and os.getpid() == process:
        close(alive)


def _checked(
    model: object, optimizer: Optimizer | Sequence[Optimizer], overhead: float, every: int | None
) -> list[Optimizer]:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}, not a torch.nn.Module")
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


def _about(model: nn.Module, optimizers: Sequence[Optimizer], members: Members) -> dict[str, Any]:
    parameters = [member.parameter for member in members]
    group = optimizers[0].param_groups[0]
    settings = {key: group.get(name) for key, name in (("lr", "lr"), ("epsilon", "eps"))}
    return {
        "model": type(model).__name__.removeprefix("FSDP"),
        "parameters": sum(p.numel() for p in parameters),
        "devices": sorted({str(p.device) for p in parameters}),
        "dtypes": sorted({str(p.dtype) for p in parameters}),
        "optimizer": ", ".join(type(each).__name__ for each in optimizers),
        **{key: float(value) for key, value in settings.items() if isinstance(value, float) and math.isfinite(value)},
        "torch": torch.__version__,
        "python": platform.python_version(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
