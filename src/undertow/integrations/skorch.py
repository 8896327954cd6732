"""skorch: ``UndertowCallback`` watches what a ``NeuralNet`` fits.

::

    from undertow.integrations.skorch import UndertowCallback

    net = NeuralNetClassifier(Module, callbacks=[UndertowCallback()])

The Run is ``runs/run.undertow``. Steps are those of the net's optimizer; gradients are read after callbacks have
clipped them (``GradientNormClipping``). What the history holds of an epoch (``valid_loss``, ``valid_acc``, scores) is
recorded at its end. ``partial_fit`` goes on in the same file, ``fit`` begins another. Findings go to Python's logging,
under the name ``undertow``; ``stop_on`` ends the fit as skorch's early stopping does, by ``KeyboardInterrupt``.

Ten lines, with clipping and an end at the first error::

    from skorch import NeuralNetClassifier
    from skorch.callbacks import GradientNormClipping
    from undertow.integrations.skorch import UndertowCallback

    net = NeuralNetClassifier(
        Module,
        max_epochs=20,
        callbacks=[GradientNormClipping(1.0), UndertowCallback("runs/first.undertow", stop_on=["error"])],
    )
    net.fit(x, y)

`training` is how a net trains as an `undertow.Training`, for the doctor: ``undertow.doctor(training(net, x, y))``.
"""

import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.optim import Optimizer

from undertow.extras import needed
from undertow.integrations._session import Session
from undertow.integrations._skorch_training import training
from undertow.record import Finding

_skorch = needed("skorch.callbacks", "skorch", "undertow.integrations.skorch")

if TYPE_CHECKING:
    from skorch.callbacks import Callback
else:
    Callback = _skorch.Callback

__all__ = ["UndertowCallback", "training"]

_log = logging.getLogger("undertow")

NOT_SCORES = frozenset({"batches", "epoch", "dur", "train_batch_count", "valid_batch_count"})
"""What an epoch's history holds beside losses and scores."""


class UndertowCallback(Callback):
    """Watch every fit of the net that this callback is given to. Training is bit-identical with and without it.

    Args:
        path: of the Run; by default ``runs/run.undertow``.
        stop_on: codes of findings or severities to stop for, see `undertow.watch`.
        on_finding: called with every finding, on a thread that isn't the training's.
        trackers: told of the Run, see `undertow.integrations.tracking`.
        options: more of what `undertow.watch` takes, such as ``{"overhead": 0.02}``: a mapping, as scikit-learn clones
            callbacks by the names in their signature.

    Attributes:
        session_: holds the watcher of the fit that is going on, ``session_.watcher``; once the net is initialized.

    Example:
        >>> import numpy as np, tempfile, undertow
        >>> from skorch import NeuralNetRegressor
        >>> x = np.ones((40, 4), dtype="float32")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     callback = UndertowCallback(f"{folder}/first.undertow", options={"every": 1})
        ...     net = NeuralNetRegressor(nn.Linear(4, 1), batch_size=8, max_epochs=2, verbose=0, callbacks=[callback])
        ...     _ = net.fit(x, x[:, :1])
        ...     run = undertow.open_run(f"{folder}/first.undertow")
        >>> int(run.scalars["step"][-1]), run.parameters
        (7, ('weight', 'bias'))
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        stop_on: Collection[str] = (),
        on_finding: Callable[[Finding], object] | None = None,
        trackers: Sequence[Any] = (),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.path, self.stop_on, self.on_finding = path, stop_on, on_finding
        self.trackers, self.options = trackers, options

    def initialize(self) -> "UndertowCallback":
        """Begin anew: the net has a new module and a new optimizer."""
        if (before := getattr(self, "session_", None)) is not None:
            before.end()
        given: dict[str, Any] = {"stop_on": self.stop_on, "on_finding": self.on_finding, "trackers": self.trackers}
        self.session_ = Session(self.path, **given, **(self.options or {}))
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:  # noqa: N803  # skorch's name
        """Watch: the net is initialized."""
        del X, y
        watcher = self.session_.watcher
        step = 0 if watcher is None else watcher.step
        self.session_.begin(_module(net), _optimizers(net), "runs", step)

    def on_batch_end(self, net: Any, batch: Any = None, training: bool | None = None, **_: Any) -> None:
        """End the fit if a finding is to be stopped for."""
        del net, batch
        watcher = self.session_.watcher
        found = self.session_.stop(watcher.step) if training and watcher is not None else None
        if found is not None:
            self.session_.tell()
            _log.warning(self.session_.farewell(found))
            raise KeyboardInterrupt  # which skorch takes for the wish to stop

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        """Record the epoch's losses and scores, and tell of findings."""
        row = net.history[-1]
        told = {name: value for name, value in row.items() if name not in NOT_SCORES and not isinstance(value, bool)}
        self.session_.log(told)
        self.session_.tell()

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:  # noqa: N803  # skorch's name
        """Finish the Run."""
        del net, X, y
        self.session_.end()
        self.session_.tell()


def _module(net: Any) -> nn.Module:
    """Return the net's module; of a net with several (a GAN's), one that holds them all by their names."""
    modules = {name: getattr(net, f"{name}_") for name in net._modules}
    return next(iter(modules.values())) if len(modules) == 1 else nn.ModuleDict(modules)


def _optimizers(net: Any) -> list[Optimizer]:
    return [getattr(net, f"{name}_") for name in net._optimizers]
