"""Lightning: ``UndertowCallback`` watches what a ``Trainer`` fits.

::

    from undertow.integrations.lightning import UndertowCallback

    trainer = Trainer(callbacks=[UndertowCallback()])

The Run is ``run.undertow`` in the trainer's ``log_dir``. Steps are those of the optimizer, as ``trainer.global_step``
counts them; accumulation, clipping, precision and its scaler are the trainer's, and validation metrics are recorded
beside the loss. Sanity checks and searches for a learning rate or a batch size aren't part of it. Findings go into
the trainer's log, as a line of text and as ``undertow/UT101`` with its loggers; ``stop_on`` sets
``trainer.should_stop``, in all processes after the same step.

Ten lines, with accumulation, clipping and an end at the first error::

    import lightning
    from undertow.integrations.lightning import UndertowCallback

    trainer = lightning.Trainer(
        max_epochs=20,
        accumulate_grad_batches=4,
        gradient_clip_val=1.0,
        precision="bf16-mixed",
        callbacks=[UndertowCallback(stop_on=["error"])],
    )
    trainer.fit(module, loader, validation_loader)

``pytorch_lightning`` is the same under its older name, and works as well.

Treat one, with its loader: ``undertow.doctor(training(Net, loader, trainer))``.
"""

import logging
import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from torch import Tensor

from undertow.extras import needed
from undertow.integrations._lightning_training import training
from undertow.integrations._session import Session, sentence

NEW, OLD = "lightning.pytorch", "pytorch_lightning"
"""Names of one package."""


def _name() -> str:
    """Return the name that the user's program loads it by, or it is installed under."""
    loaded = sys.modules.get(OLD) is not None and NEW not in sys.modules
    return OLD if loaded or (find_spec("lightning") is None and find_spec(OLD) is not None) else NEW


_lightning = needed(_name(), "lightning", "undertow.integrations.lightning")

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer
else:
    Callback = _lightning.Callback

__all__ = ["UndertowCallback", "training"]

_log = logging.getLogger(_lightning.__name__)  # Lightning's own, which it shows


class UndertowCallback(Callback):
    """Watch every fit of the trainer that this callback is given to.

    Args:
        path: of the Run; by default ``run.undertow`` in ``trainer.log_dir``. Given, a fit that goes on from a
            checkpoint goes on in the same file; Lightning makes a new ``log_dir`` for each.
        options: of `undertow.watch`: ``stop_on``, ``on_finding``, ``overhead``, ``every`` and the others.

    Attributes:
        session: holds the watcher of the fit that is going on, ``session.watcher``.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, **options: Any) -> None:
        self.session = Session(path, **options)
        self._step: int | None = None
        self._several = False
        self._before: dict[str, float] = {}
        self._validated: set[str] = set()

    def on_train_start(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
        """Watch: what a checkpoint holds is loaded, and sanity checks are over."""
        folder = trainer.log_dir or trainer.default_root_dir  # asked in every process, as Lightning sends it around
        self._several = len(trainer.optimizers) > 1
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        # Lightning counts the steps of all optimizers, we those of the first.
        step = self._step if self._several and trainer.global_step else trainer.global_step
        # A loss of manual optimization is the user's own affair.
        parts = True if pl_module.automatic_optimization else None
        model = trainer.strategy.model or pl_module
        self.session.begin(model, trainer.optimizers, folder, step, scaler=scaler, loss_parts=parts)

    def on_train_batch_end(
        self, trainer: "Trainer", pl_module: "LightningModule", outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell the trainer of findings, and to stop if one is to be stopped for."""
        del pl_module, outputs, batch, batch_idx
        found = self.session.stop(trainer.global_step)
        self._tell(trainer)
        if found is not None and not trainer.should_stop:
            trainer.should_stop = True
            _log.warning(self.session.farewell(found, trainer.global_step))

    def on_validation_start(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
        """Remember the metrics that there are, to see which ones are the validation's."""
        del pl_module
        self._before = _numbers(trainer)

    def on_validation_end(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
        """Record the validation's metrics, unless it is a sanity check."""
        del pl_module
        if trainer.sanity_checking or (not trainer.training and not trainer.validating):
            return
        after = _numbers(trainer)
        self._validated |= {name for name, value in after.items() if self._before.get(name) != value}
        self.session.log({name: value for name, value in after.items() if name in self._validated})

    def on_train_end(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
        """Finish the Run, and say where it is."""
        del pl_module
        self._finish(trainer)

    def on_exception(self, trainer: "Trainer", pl_module: "LightningModule", exception: BaseException) -> None:
        """Finish the Run: what was recorded until now is what is looked for."""
        del pl_module, exception
        self._finish(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Return the step for a checkpoint; nothing where ``trainer.global_step`` says it, with one optimizer."""
        watcher = self.session.watcher
        return {} if watcher is None or not self._several else {"step": watcher.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the step that a checkpoint was made at."""
        self._step = state_dict.get("step")

    def _finish(self, trainer: "Trainer") -> None:
        watcher = self.session.watcher
        self.session.end()
        self._tell(trainer)
        if watcher is not None and trainer.is_global_zero:
            _log.info("undertow: this training is in %s: undertow show %s", watcher.path, watcher.path)

    def _tell(self, trainer: "Trainer") -> None:
        for finding in self.session.news():
            if trainer.is_global_zero:
                _log.warning(sentence(finding))
                for logger in trainer.loggers:
                    logger.log_metrics({f"undertow/{finding.code}": 1.0}, step=trainer.global_step)


def _numbers(trainer: "Trainer") -> dict[str, float]:
    metrics: Mapping[str, Tensor] = trainer.callback_metrics
    return {name: float(value) for name, value in metrics.items() if value.numel() == 1}
