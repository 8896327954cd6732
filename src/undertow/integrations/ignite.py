"""Ignite: ``UndertowHandler`` watches what an engine trains.

::

    from undertow.integrations.ignite import UndertowHandler

    UndertowHandler(model, optimizer).attach(trainer, evaluator)

The Run is ``runs/run.undertow``. Steps are those of the optimizer, so that of accumulated batches one counts;
clipping and a scaler are what the engine's function makes of them. Metrics of the evaluators are recorded whenever one
has completed; those of the trainer itself at the end of every epoch. A search for a learning rate (``FastaiLRFinder``)
isn't part of it. Findings go into the engine's logger; ``stop_on`` ends training by ``trainer.terminate()``.

Ten lines, with accumulation, validation and an end at the first error::

    from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
    from ignite.metrics import Loss
    from undertow.integrations.ignite import UndertowHandler

    trainer = create_supervised_trainer(model, optimizer, loss, gradient_accumulation_steps=4)
    evaluator = create_supervised_evaluator(model, {"val_loss": Loss(loss)})
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(validation_loader))
    UndertowHandler(model, optimizer, "runs/first.undertow", stop_on=["error"]).attach(trainer, evaluator)
    trainer.run(loader, max_epochs=20)
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.optim import Optimizer

from undertow.extras import needed
from undertow.integrations._session import Session

_ignite = needed("ignite.engine", "ignite", "undertow.integrations.ignite")

if TYPE_CHECKING:
    from ignite.engine import Engine, Events
else:
    Engine, Events = _ignite.Engine, _ignite.Events

__all__ = ["UndertowHandler"]


class UndertowHandler:
    """Watch every run of the engine that this handler is attached to. Training is bit-identical with and without it.

    Args:
        model: that the engine trains, wrapped or not.
        optimizer: that it steps, or several: the first one's steps count.
        path: of the Run; by default ``runs/run.undertow``.
        options: of `undertow.watch`: ``scaler``, ``stop_on``, ``every`` and the others; and ``trackers``.

    Attributes:
        session: holds the watcher of the run that is going on, ``session.watcher``.

    Example:
        >>> import tempfile, torch, undertow
        >>> from ignite.engine import create_supervised_trainer
        >>> model = nn.Linear(4, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = create_supervised_trainer(model, optimizer, nn.functional.mse_loss)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     handler = UndertowHandler(model, optimizer, f"{folder}/first.undertow", every=1).attach(trainer)
        ...     state = trainer.run([(torch.ones(8, 4), torch.ones(8, 1))], max_epochs=3)
        ...     run = undertow.open_run(f"{folder}/first.undertow")
        >>> run.scalars["step"].tolist()
        [0.0, 1.0, 2.0]
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer],
        path: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        self.session = Session(path, **options)
        self._model = model
        self._optimizers = [optimizer] if isinstance(optimizer, Optimizer) else list(optimizer)
        self._follows = False

    def attach(self, trainer: Engine, *evaluators: Engine) -> "UndertowHandler":
        """Attach it to the engine that trains, and to those that evaluate the model; return itself."""
        trainer.add_event_handler(Events.STARTED, self._start)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._after_iteration)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._log)
        for event in (Events.COMPLETED, Events.TERMINATE, Events.INTERRUPT):
            trainer.add_event_handler(event, self._finish)
        trainer.add_event_handler(Events.EXCEPTION_RAISED, self._fail)
        for evaluator in evaluators:
            evaluator.add_event_handler(Events.COMPLETED, self._log)
        return self

    def _start(self, trainer: Engine) -> None:
        self._follows = not any(type(each).__name__ == "FastaiLRFinder" for each in _attached(trainer))
        if not self._follows:
            return
        watcher = self.session.watcher
        # The engine counts batches, we the optimizer's steps: after a checkpoint its state tells how many there were.
        known = 0 if trainer.state.iteration == 0 else None
        self.session.begin(self._model, self._optimizers, "runs", known if watcher is None else watcher.step)

    def _after_iteration(self, trainer: Engine) -> None:
        if not self._follows:
            return
        found = self.session.stop(trainer.state.iteration)
        self.session.tell(trainer.logger)
        if found is not None and not trainer.should_terminate:
            trainer.logger.warning(self.session.farewell(found))
            trainer.terminate()

    def _log(self, engine: Engine) -> None:
        if self._follows:
            self.session.log(engine.state.metrics)

    def _finish(self, trainer: Engine) -> None:
        if self._follows:
            self.session.end()
            self.session.tell(trainer.logger)
            self._follows = False

    def _fail(self, trainer: Engine, error: Exception) -> None:
        """Finish the Run. Ignite raises an error only where nobody handles it: alone, this must raise it again."""
        self._finish(trainer)
        if len(trainer._event_handlers[Events.EXCEPTION_RAISED]) == 1:
            raise error


def _attached(trainer: Engine) -> list[object]:
    """Return the objects whose methods are attached to an engine."""
    handlers = (handler for many in trainer._event_handlers.values() for handler, *_ in many)
    return [getattr(handler, "__self__", None) for handler in handlers]
