"""Keras 3 on its torch backend: ``UndertowCallback`` watches what ``model.fit`` trains.

::

    from undertow.integrations.keras import UndertowCallback

    model.fit(x, y, epochs=10, callbacks=[UndertowCallback()])

Layers and weights have Keras' names. Steps are those of Keras' optimizer, and gradients are what it takes: averaged
over the batches that it accumulates, unscaled and clipped. Metrics are recorded at the end of every epoch, by Keras'
names (``accuracy``, ``val_loss``). Findings go to Python's logging, under the name ``undertow``; ``stop_on`` sets
``model.stop_training``.

Ten lines, with accumulation, clipping and an end at the first error::

    import keras
    from undertow.integrations.keras import UndertowCallback

    optimizer = keras.optimizers.AdamW(1e-3, gradient_accumulation_steps=4, global_clipnorm=1.0)
    model.compile(optimizer, loss="mse", metrics=["mae"])
    model.fit(
        x,
        y,
        epochs=20,
        validation_data=(x_validation, y_validation),
        callbacks=[UndertowCallback("runs/first.undertow", stop_on=["error"])],
    )

`training` is how a model is trained as an `undertow.Training`, for the doctor:
``undertow.doctor(training(model, x, y, epochs=10))``.
"""

import logging
import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from undertow.extras import needed
from undertow.integrations import _keras_training
from undertow.integrations._session import Session
from undertow.training import Training
from undertow.watching import Watcher


def _loaded() -> Any:
    try:
        return needed("keras", "keras", "undertow.integrations.keras")
    except ModuleNotFoundError as error:
        if error.name == "keras":
            raise
        raise ModuleNotFoundError(
            f"Keras asks for {error.name}: undertow watches it on PyTorch. Set the environment variable "
            "KERAS_BACKEND=torch before Keras is imported.",
            name=error.name,
        ) from error


if TYPE_CHECKING:
    import keras
else:
    keras = _loaded()

__all__ = ["KerasModel", "UndertowCallback", "training"]

_log = logging.getLogger("undertow")


class KerasModel(nn.Module):
    """A Keras model as `undertow.watch` and `examine` read it, by the names that Keras gives layers and weights.

    Keras keeps all weights in one list under the model; here every layer holds its own.

    Args:
        model: a ``keras.Model`` that is built.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="first")])
        >>> [name for name, _ in KerasModel(model).named_parameters()]
        ['first.kernel', 'first.bias']
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._keras = (model,)  # in a tuple: torch must not take it for a part, with names of its own

    @property
    def keras(self) -> Any:
        """Return the Keras model."""
        return self._keras[0]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the Keras model."""
        return self._keras[0](*args, **kwargs)

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """Yield the model's layers by their paths, and the parts of wrapped torch modules by theirs."""
        del memo, remove_duplicate
        yield prefix, self
        for path, layer in _layers(self._keras[0]).items():
            path = f"{prefix}.{path}" if prefix else path
            yield path, layer
            if isinstance(inner := getattr(layer, "module", None), nn.Module):  # a TorchModuleWrapper
                yield from ((f"{path}.module.{name}".rstrip("."), part) for name, part in inner.named_modules())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the model's variables by their layers' paths and their own names, in Keras' order."""
        del remove_duplicate
        names = _variable_names(self._keras[0])
        for variable in self._keras[0].variables if recurse else ():
            name = names.get(id(variable), variable.path)
            yield f"{prefix}.{name}" if prefix else name, variable.value


class UndertowCallback(keras.callbacks.Callback):
    """Watch every fit that this callback is given to. Training is bit-identical with and without it.

    Args:
        path: of the Run; by default ``runs/run.undertow``. A second fit of the same model goes on in it.
        options: of `undertow.watch`: ``stop_on``, ``on_finding``, ``every`` and the others; and ``trackers``.

    Attributes:
        session: holds the watcher of the fit that is going on, ``session.watcher``.

    Raises:
        ValueError: Keras doesn't run on torch, or, when it is fitted, the model has no optimizer.

    Example:
        >>> import numpy as np, tempfile, undertow
        >>> layers = [keras.layers.Dense(3, "tanh", name="first"), keras.layers.Dense(1, name="out")]
        >>> model = keras.Sequential([keras.Input((4,)), *layers])
        >>> model.compile(keras.optimizers.Adam(0.01, global_clipnorm=1.0), loss="mse")
        >>> x = np.ones((64, 4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     callback = UndertowCallback(f"{folder}/first.undertow")
        ...     _ = model.fit(x, x[:, :1], epochs=2, verbose=0, callbacks=[callback])
        ...     run = undertow.open_run(f"{folder}/first.undertow")
        >>> run.header["optimizer"], int(run.scalars["step"][-1]), run.parameters[-2:]
        ('Adam', 3, ('out.kernel', 'out.bias'))
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, **options: Any) -> None:
        super().__init__()
        if keras.config.backend() != "torch":
            raise ValueError(
                f"Keras runs on {keras.config.backend()}, and undertow watches PyTorch: set the environment variable "
                "KERAS_BACKEND=torch before Keras is imported"
            )
        self.session = Session(path, **options)
        self._end: Callable[[], object] = lambda: None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Watch: the model is built, and its optimizer, too."""
        del logs
        self._end()
        optimizer = self.model.optimizer
        if optimizer is None:
            raise ValueError("the model has no optimizer: call model.compile(optimizer=...) before model.fit")
        if not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        inner = _innermost(optimizer)
        header = {
            "model": self.model.name,
            "optimizer": type(inner).__name__,
            "keras": keras.__version__,
            **_decay(inner),
        }
        scaler = None if inner is optimizer else KerasLossScale(optimizer)
        # Keras averages the gradients of the batches that it accumulates, so each has a loss of its own.
        settings = {"header": header, "scaler": scaler, "loss_parts": False}
        self.session.begin(KerasModel(self.model), None, "runs", int(inner.iterations), **settings)
        if self.session.watcher is not None:
            steps = _FollowedSteps(inner, self.session.watcher)
            # Keras says nothing where a fit ends by an exception: it ends when the callback is let go of.
            self._end = weakref.finalize(self, _ended, steps, self.session.watcher)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Tell of findings, and have Keras stop if one is to be stopped for."""
        del batch, logs
        found = self.session.stop(0)
        self.session.tell()
        if found is not None and not self.model.stop_training:
            self.model.stop_training = True
            _log.warning(self.session.farewell(found))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Record the epoch's metrics, the validation's among them."""
        del epoch
        self.session.log({name: value for name, value in (logs or {}).items() if name != "loss"})

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Finish the Run."""
        del logs
        self._end()
        self.session.tell()


def training(model: Any, x: Any, y: Any, **settings: Any) -> Training:
    """Return how a compiled model is trained, as data: ``undertow.doctor(training(model, x, y, epochs=10))``.

    Its layers (with fresh weights in every trial), loss and ``global_clipnorm`` are the model's. The optimizer is
    torch's of the same rule and settings: SGD, Adam, AdamW or RMSprop, at the learning rate that Keras' has now; a
    schedule, accumulation and other ways to clip aren't taken.

    A chain of dense layers, convolutions, norms, dropout, pooling and activations is trained in torch's layers of the
    same weights and names, so that all remedies reach it; what they say to paste is PyTorch. Of other models (branches,
    recurrent layers, a ``call`` of their own) a line in the log says that remedies which exchange or draw layers don't
    reach them.

    Args:
        model: compiled, of one input and one output.
        x, y: arrays, as ``model.fit`` takes them.
        settings: ``batch_size``, ``epochs`` and ``validation_data`` as of ``model.fit``, the last for the score; and
            what of `undertow.Training` goes before what was read here, as ``steps=500`` or ``optimizer=make``.

    Raises:
        ValueError: the model has no optimizer, or one without a counterpart.

    Example:
        >>> import numpy as np
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        >>> model.compile(keras.optimizers.SGD(0.1), loss="mse")
        >>> found = training(model, np.ones((64, 4), "float32"), np.ones((64, 1), "float32"), epochs=5)
        >>> trial = found.run(seed=0)
        >>> found.steps, bool(trial.losses[-1] < trial.losses[0])
        (10, True)
    """
    return _keras_training.training(KerasModel, model, x, y, **settings)


class KerasLossScale:
    """The loss scale of a Keras ``LossScaleOptimizer``, as `undertow.watch` takes a scaler.

    Args:
        optimizer: it, built.
    """

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer

    @property
    def _scale(self) -> Tensor:
        """Return the scale, which Keras changes in place: halved where it skips a step."""
        scale: Tensor = self._optimizer.dynamic_scale.value
        return scale

    def scale(self, loss: Tensor) -> Tensor:
        """Scale a loss."""
        scaled: Tensor = self._optimizer.scale_loss(loss)
        return scaled

    def step(self) -> None:
        """Do nothing: Keras steps by itself."""

    def update(self) -> None:
        """Do nothing: Keras updates its scale by itself."""


class _FollowedSteps:
    """Tells a watcher of the steps of a Keras optimizer, as long as it isn't closed.

    Keras hands gradients to ``apply``, averages them where it accumulates, clips copies, lets weights decay and
    updates them; at batches that it only accumulates it clips nothing. So a step begins where it clips.
    """

    def __init__(self, optimizer: Any, watcher: Watcher) -> None:
        self._optimizer, self._watcher = optimizer, watcher
        self._unclipped: Sequence[Tensor] = ()
        self._taken: Sequence[Tensor] = ()
        self._stepping = False
        self._plain = {name: getattr(optimizer, name) for name in ("apply", "_clip_gradients", "_apply_weight_decay")}
        optimizer.apply, optimizer._clip_gradients = self._apply, self._clip
        optimizer._apply_weight_decay = self._begin

    def _clip(self, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        self._unclipped, self._taken = gradients, self._plain["_clip_gradients"](gradients)
        return self._taken

    def _begin(self, variables: Sequence[Any]) -> None:
        clips = self._taken is not self._unclipped
        self._watcher.before_step(
            [variable.value for variable in variables],
            self._learning_rate,
            gradients=self._taken,
            unclipped=self._unclipped if clips else (),
        )
        self._stepping, self._unclipped, self._taken = True, (), ()
        self._plain["_apply_weight_decay"](variables)

    def _learning_rate(self) -> float:
        return float(self._optimizer.learning_rate)

    def _apply(self, gradients: Sequence[Tensor], trainable_variables: Sequence[Any] | None = None) -> None:
        self._stepping = False
        self._plain["apply"](gradients, trainable_variables)
        if self._stepping:
            self._watcher.after_step()

    def close(self) -> None:
        """Leave the optimizer as it was."""
        for name in self._plain:
            if vars(self._optimizer).get(name) is not None:
                delattr(self._optimizer, name)


def _ended(steps: _FollowedSteps, watcher: Watcher) -> None:
    steps.close()
    watcher.close()


def _innermost(optimizer: Any) -> Any:
    """Return the optimizer that takes the steps, behind the one that scales the loss."""
    while (inner := getattr(optimizer, "inner_optimizer", None)) is not None:
        optimizer = inner
    return optimizer


def _decay(optimizer: Any) -> dict[str, Any]:
    """Describe the weight decay, which Keras never adds to the gradient, for the header."""
    decay = optimizer.weight_decay
    return {"decay": {"weight_decay": float(decay), "decoupled": True}} if decay else {}


def _layers(model: Any) -> dict[str, Any]:
    """Return the layers of a model, not itself, by their paths; those before that hold others."""
    found: dict[str, Any] = {}
    for layer in model._flatten_layers(include_self=False):  # Keras has no public name for all layers at all depths
        path = (layer.path or layer.name).removeprefix(f"{model.name}/").replace("/", ".")
        number = 2
        while path in found:
            path, number = f"{path.removesuffix(f'_{number - 1}')}_{number}", number + 1
        found[path] = layer
    return found


def _variable_names(model: Any) -> dict[int, str]:
    """Return the names of variables, by ``id``: the path of the innermost layer that has it, and its own name."""
    names: dict[int, str] = {}
    for path, layer in reversed(list(_layers(model).items())):
        for variable in layer.variables:
            names.setdefault(id(variable), f"{path}.{variable.name}")
    return names
