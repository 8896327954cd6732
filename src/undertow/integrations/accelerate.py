"""Accelerate: ``watch(accelerator, model, optimizer)`` watches what an ``Accelerator`` has prepared.

::

    from undertow.integrations.accelerate import watch

    watch(accelerator, model, optimizer)  # after prepare, before the loop

The Run is ``run.undertow`` in the accelerator's ``logging_dir`` or ``project_dir``, else in ``runs``. Steps are those
that the optimizer takes, at the end of an accumulation; the accelerator's scaler is handed over, and each step's loss
is the mean of its micro-batches', whether ``accelerator.backward`` divides them, the loop does, or nobody. The main
process logs findings.

Ten lines, with accumulation, clipping and an end at the first error, in all processes after the same step::

    from undertow.integrations.accelerate import watch

    accelerator = Accelerator(gradient_accumulation_steps=4, mixed_precision="bf16")
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    with watch(accelerator, model, optimizer, stop_on=["error"]) as watcher:
        for x, y in loader:
            with accelerator.accumulate(model):
                accelerator.backward(loss_function(model(x), y))
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
            if watcher.agree_to_stop():
                break
"""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.optim import Optimizer

import undertow
from undertow.extras import needed
from undertow.integrations._session import FILE, sentence
from undertow.record import Finding
from undertow.watching import Watcher

_optimizer = needed("accelerate.optimizer", "accelerate", "undertow.integrations.accelerate")

if TYPE_CHECKING:
    from accelerate import Accelerator

_log = logging.getLogger("accelerate")


def watch(
    accelerator: "Accelerator",
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer],
    path: str | os.PathLike[str] | None = None,
    *,
    on_finding: Callable[[Finding], object] | None = None,
    **options: Any,
) -> Watcher:
    """Watch a model and its optimizer, or several, that an accelerator has prepared; see `undertow.watch`.

    Args:
        accelerator: that prepared them.
        model: as ``prepare`` returned it.
        optimizer: as ``prepare`` returned it.
        path: of the Run; by default ``run.undertow`` in the accelerator's ``logging_dir`` or ``project_dir``.
        on_finding: called with every finding, besides its being logged.
        options: of `undertow.watch`. To go on from a checkpoint: ``resume=True, step=completed_steps``, after
            ``accelerator.load_state``.

    Returns:
        The watcher. In several processes ask `Watcher.agree_to_stop`, or ``accelerator.set_trigger()`` where
        ``watcher.stopping`` and ``accelerator.check_trigger()`` everywhere.

    Raises:
        TypeError: the optimizer isn't prepared.
    """
    optimizers = [optimizer] if isinstance(optimizer, Optimizer) else list(optimizer)
    for each in optimizers:
        if not isinstance(each, _optimizer.AcceleratedOptimizer):
            raise TypeError(
                f"optimizer is a {type(each).__name__} that isn't prepared: watch after "
                "model, optimizer = accelerator.prepare(model, optimizer), with what that returns"
            )
    folder = accelerator.logging_dir or accelerator.project_dir or "runs"
    told = _Told(on_finding, accelerator.is_main_process)
    settings = {"scaler": accelerator.scaler, **options}
    return undertow.watch(model, optimizers, path or Path(folder, FILE), on_finding=told, **settings)


class _Told:
    """Logs findings; it doesn't hold the accelerator, which holds the model."""

    def __init__(self, also: Callable[[Finding], object] | None, main: bool) -> None:
        self._also, self._main = also, main

    def __call__(self, finding: Finding) -> None:
        if self._main:
            _log.warning(sentence(finding))
        if self._also is not None:
            self._also(finding)
