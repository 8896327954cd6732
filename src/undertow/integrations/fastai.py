"""fastai: ``UndertowCallback`` watches what a ``Learner`` fits.

::

    from undertow.integrations.fastai import UndertowCallback

    learn = Learner(dls, model, loss_func=loss, cbs=UndertowCallback())

The Run is ``runs/run.undertow`` in the learner's ``path``. Steps are those of the learner's optimizer, fastai's own or
a wrapped one of torch's; accumulation, clipping and mixed precision are fastai's. The losses and metrics that the
learner's table shows are recorded at the end of every epoch. ``fine_tune`` and fits one after another go on in one
file; ``lr_find``, ``validate`` and ``get_preds`` aren't part of it. Findings go to Python's logging, under the name
``undertow``; ``stop_on`` ends the fit by ``CancelFitException``.

Ten lines, with accumulation, clipping and an end at the first error::

    from fastai.tabular.all import *
    from undertow.integrations.fastai import UndertowCallback

    learn = tabular_learner(dls, layers=[200, 100], metrics=accuracy)
    learn.fit_one_cycle(
        10,
        cbs=[GradientAccumulation(256), GradientClip(1.0), UndertowCallback(stop_on=["error"])],
    )
"""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer

from undertow.extras import needed
from undertow.integrations._session import Session

_fastai = needed("fastai.callback.core", "fastai", "undertow.integrations.fastai")

if TYPE_CHECKING:
    from fastai.callback.core import Callback, CancelFitException
else:
    Callback, CancelFitException = _fastai.Callback, _fastai.CancelFitException

__all__ = ["UndertowCallback"]

_log = logging.getLogger("undertow")


class UndertowCallback(Callback):
    """Watch every fit of the learner that this callback is given to. Training is bit-identical with and without it.

    Args:
        path: of the Run; by default ``runs/run.undertow`` in ``learn.path``.
        options: of `undertow.watch`: ``stop_on``, ``on_finding``, ``every`` and the others; and ``trackers``.

    Attributes:
        session: holds the watcher of the fit that is going on, ``session.watcher``.
    """

    order = 90  # after whoever clips, accumulates, or leaves a step out

    def __init__(self, path: str | os.PathLike[str] | None = None, **options: Any) -> None:
        self.session = Session(path, **options)
        self._follows = self._by_hand = self._stepping = False

    def before_fit(self) -> None:
        """Forget the fit before, which ended with an exception perhaps."""
        self._follows = False
        self.session.end()

    def before_train(self) -> None:
        """Watch: this is a fit, and no validation or prediction; the optimizer is made."""
        if self._follows or hasattr(self.learn, "lr_finder") or self._searches:
            return
        self._follows = True
        inner = _torchs(self.learn.opt)
        self._by_hand = inner is None
        header = {"optimizer": _named(self.learn)} if inner is None else {}
        step = 0 if self.session.watcher is None else self.session.watcher.step
        folder = Path(self.learn.path, "runs")
        scaler = getattr(self.learn, "scaler", None)
        self.session.begin(
            self.learn.model, None if inner is None else [inner], folder, step, header=header, scaler=scaler
        )

    @property
    def _searches(self) -> bool:
        return any(type(each).__name__ == "LRFinder" for each in self.learn.cbs)

    def before_step(self) -> None:
        """Tell of a step of fastai's own optimizers; those of torch's tell by themselves."""
        watcher = self.session.watcher
        if self._follows and self._by_hand and watcher is not None:
            held = [p for group in self.learn.opt.param_lists for p in group if p.requires_grad]
            watcher.before_step(held, lambda: float(self.learn.opt.hypers[-1]["lr"]))
            self._stepping = True

    def after_step(self) -> None:
        """Tell that it was taken."""
        if self._stepping and self.session.watcher is not None:
            self._stepping = False
            self.session.watcher.after_step()

    def after_batch(self) -> None:
        """End the fit if a finding is to be stopped for."""
        if not self._follows or not self.learn.training or self.session.watcher is None:
            return
        found = self.session.stop(self.session.watcher.step)
        if found is not None:
            self.session.tell()
            _log.warning(self.session.farewell(found))
            raise CancelFitException

    def after_epoch(self) -> None:
        """Record what the learner's table shows of the epoch, and tell of findings."""
        recorder = getattr(self.learn, "recorder", None)
        if self._follows and recorder is not None:
            self.session.log(dict(zip(recorder.metric_names[1:], recorder.log[1:], strict=False)))
        self.session.tell()

    def after_fit(self) -> None:
        """Finish the Run."""
        self._follows = False
        self.session.end()
        self.session.tell()


def _torchs(optimizer: Any) -> Optimizer | None:
    """Return the optimizer of torch's behind fastai's wrapper; None where it is fastai's own."""
    inner = getattr(optimizer, "opt", optimizer)
    return inner if isinstance(inner, Optimizer) else None


def _named(learn: Any) -> str:
    """Return the name of fastai's own optimizer: that of the function that made it."""
    made = getattr(learn.opt_func, "func", learn.opt_func)
    return str(getattr(made, "__name__", type(learn.opt).__name__))
