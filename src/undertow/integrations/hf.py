"""Hugging Face: ``UndertowCallback`` watches what a ``transformers.Trainer`` trains, with peft's adapters or without.

::

    from undertow.integrations.hf import UndertowCallback

    trainer.add_callback(UndertowCallback(trainer))

The Run is ``run.undertow`` in the trainer's ``output_dir``. Steps are ``state.global_step``; a training that is resumed
goes on in the same file at the checkpoint's step. Each step's loss is that of all its micro-batches, whatever the
trainer divides them by; the trainer's own average of some steps is ``trainer/loss``, evaluation metrics keep their
names. Findings go into the trainer's log, as a line of text and as ``undertow/UT101``; ``stop_on`` sets
``control.should_training_stop``, in all processes after the same step.

Ten lines, with accumulation, clipping, evaluation and an end at the first error::

    from transformers import Trainer, TrainingArguments
    from undertow.integrations.hf import UndertowCallback

    arguments = TrainingArguments(
        "out", gradient_accumulation_steps=4, max_grad_norm=1.0, eval_strategy="epoch", num_train_epochs=3
    )
    trainer = Trainer(model, arguments, train_dataset=train, eval_dataset=validation)
    trainer.add_callback(UndertowCallback(trainer, stop_on=["error"]))
    trainer.train()

``Trainer(callbacks=[UndertowCallback()])`` does as well; only ``undertow/UT101`` isn't logged then, as a callback isn't
told whose it is.

Treat it: ``undertow.doctor(training(trainer))``.
"""

import logging
import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.optim import Optimizer

from undertow.extras import needed
from undertow.integrations._hf_training import training
from undertow.integrations._session import Session, sentence

needed("accelerate", "hf", "undertow.integrations.hf")  # without which there is no Trainer
_transformers = needed("transformers", "hf", "undertow.integrations.hf")

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
else:
    TrainerCallback = _transformers.TrainerCallback

__all__ = ["UndertowCallback", "training"]

_log = logging.getLogger("transformers.trainer")  # the trainer's own, which transformers shows

KNOWN = ("epoch", "grad_norm", "learning_rate", "total_flos", "train_loss")
"""What the trainer logs that a Run has itself, or that says nothing of a step."""

SPEED = ("_runtime", "_per_second", "_time")
"""Ends of the names of numbers that say how fast it was."""


class UndertowCallback(TrainerCallback):
    """Watch every training of a trainer.

    Args:
        trainer: that it is added to; held weakly. Without it, what a callback is told has to do.
        path: of the Run; by default ``run.undertow`` in ``args.output_dir``.
        options: of `undertow.watch`: ``stop_on``, ``on_finding``, ``overhead``, ``every`` and the others.

    Attributes:
        session: holds the watcher of the training that is going on, ``session.watcher``.
    """

    def __init__(
        self, trainer: "Trainer | None" = None, path: str | os.PathLike[str] | None = None, **options: Any
    ) -> None:
        self._trainer = None if trainer is None else weakref.ref(trainer)
        self.session = Session(path, **options)

    @property
    def trainer(self) -> "Trainer | None":
        """Return the trainer; None if it wasn't handed over, or is gone."""
        return None if self._trainer is None else self._trainer()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_trainer": None}  # a weak reference can't be pickled

    def on_train_begin(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        model: nn.Module | None = None,
        optimizer: Optimizer | None = None,
        **kwargs: Any,
    ) -> None:
        """Watch: the optimizer is there, and what a checkpoint holds is loaded."""
        del control, kwargs
        wrapped = model if self.trainer is None else self.trainer.model_wrapped
        if wrapped is None or optimizer is None:
            return
        trial = str(state.trial_name) if state.is_hyper_param_search and state.trial_name else ""
        scaler = getattr(optimizer, "scaler", None)  # Accelerate's optimizer holds the accelerator's
        settings = {"scaler": scaler, "loss_parts": True}
        self.session.begin(wrapped, [optimizer], Path(str(args.output_dir), trial), state.global_step, **settings)

    def on_step_end(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: Any
    ) -> None:
        """Tell the trainer of findings, and to stop if one is to be stopped for."""
        del args, kwargs
        self._tell(state, control, metrics=True)
        found = self.session.stop(state.global_step)
        if found is not None:
            control.should_training_stop = True
            if state.is_world_process_zero:
                _log.warning("undertow: training stops after step %d for %s", state.global_step, found.code)

    def on_evaluate(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        metrics: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Record the evaluation's metrics."""
        del args, state, control, kwargs
        self.session.log({name: value for name, value in (metrics or {}).items() if _says_something(name)})

    def on_log(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Record what the trainer logs: its average loss, and whatever a trainer of another kind adds to it."""
        del args, state, control, kwargs
        mine = {name: value for name, value in (logs or {}).items() if not name.startswith(("eval_", "undertow/"))}
        self.session.log({name: value for name, value in mine.items() if _says_something(name)})

    def on_train_end(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: Any
    ) -> None:
        """Finish the Run, and say where it is."""
        del args, kwargs
        watcher = self.session.watcher
        self.session.end()
        self._tell(state, control, metrics=False)
        if watcher is not None and state.is_world_process_zero:
            _log.info("undertow: this training is in %s: undertow show %s", watcher.path, watcher.path)

    def _tell(self, state: "TrainerState", control: "TrainerControl", metrics: bool) -> None:
        for finding in self.session.news():
            if not state.is_world_process_zero:
                continue
            _log.warning(sentence(finding))
            if metrics and self.trainer is not None:
                due = control.should_log
                self.trainer.log({f"undertow/{finding.code}": 1.0})
                control.should_log = due  # which to log sets back, and the trainer's loss is still to come


def _says_something(name: str) -> bool:
    return name not in KNOWN and not name.endswith(SPEED) and name != "eval_epoch"
