"""`training`: how a Keras model is trained, as an `undertow.Training`, for `undertow.doctor` to treat."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from undertow.integrations._keras_layers import CounterpartModel, NoCounterpart, counterpart
from undertow.training import Training

_log = logging.getLogger("undertow")

SETTINGS: Mapping[str, tuple[Callable[..., Optimizer], Mapping[str, str]]] = {
    "SGD": (SGD, {"momentum": "momentum", "nesterov": "nesterov"}),
    "Adam": (Adam, {"epsilon": "eps", "amsgrad": "amsgrad"}),
    "AdamW": (AdamW, {"epsilon": "eps", "amsgrad": "amsgrad", "weight_decay": "weight_decay"}),
    "RMSprop": (RMSprop, {"epsilon": "eps", "rho": "alpha", "momentum": "momentum", "centered": "centered"}),
}
"""By the class of a Keras optimizer, torch's of the same rule, and what its settings are called there."""


def training(
    named: Callable[[Any], nn.Module],
    model: Any,
    x: Any,
    y: Any,
    *,
    batch_size: int = 32,
    epochs: int = 1,
    validation_data: tuple[Any, Any] | None = None,
    **changes: Any,
) -> Training:
    """Return how a compiled model is trained; see `undertow.integrations.keras.training`.

    Args:
        named: makes what undertow reads of a Keras model.
        model, x, y, batch_size, epochs, validation_data: what is trained, and what ``model.fit`` takes.
        changes: of `undertow.Training`.
    """
    optimizer = model.optimizer
    if optimizer is None and "optimizer" not in changes:
        raise ValueError("the model has no optimizer: call model.compile(optimizer=...) before, or give optimizer=")
    given = None if "optimizer" in changes else _KerasOptimizers.like(optimizer)
    _say_what_is_out_of_reach(model)
    loss = _KerasLoss(_fresh(model))
    found = Training(
        model=_KerasModel(named, model),
        batches=_KerasBatches(torch.as_tensor(x), torch.as_tensor(y), batch_size),
        loss=loss,
        optimizer=changes.pop("optimizer", given),
        score=None if validation_data is None else _KerasScore(loss, *map(torch.as_tensor, validation_data)),
        clip_grad_norm=getattr(optimizer, "global_clipnorm", None),
        steps=epochs * math.ceil(len(x) / batch_size),
    )
    return replace(found, **changes)


def _say_what_is_out_of_reach(model: Any) -> None:
    try:
        counterpart(_fresh(model))
    except NoCounterpart as error:
        _log.warning(
            "undertow: %s, so remedies that exchange or draw layers don't reach this Keras model: those for the "
            "optimizer, its steps and the data do.",
            error,
        )


def _fresh(model: Any) -> Any:
    """Return a model of the same layers with fresh weights, compiled in the same way."""
    fresh = type(model).from_config(model.get_config())
    if not fresh.built:
        fresh.build(model.input_shape)
    fresh.compile_from_config(model.get_compile_config())
    return fresh


@dataclass(frozen=True)
class _KerasModel:
    """Makes models of the same layers with fresh weights: of torch's layers, where they have all that it needs."""

    named: Callable[[Any], nn.Module]
    model: Any

    def __call__(self) -> nn.Module:
        fresh = _fresh(self.model)
        try:
            return counterpart(fresh)
        except NoCounterpart:
            return self.named(fresh)


@dataclass(frozen=True)
class _KerasBatches:
    """Yields one pass over arrays, in an order of its own each time."""

    x: Tensor
    y: Tensor
    size: int

    def __call__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in torch.randperm(len(self.x)).split(self.size):
            yield self.x[rows], self.y[rows]


@dataclass(frozen=True)
class _KerasLoss:
    """Takes the loss that a model was compiled with, of a batch, whatever a remedy has made of the model.

    Attributes:
        host: a Keras model that was compiled with it.
    """

    host: Any

    def __call__(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        own: Any = next((each.keras for each in model.modules() if hasattr(each, "keras")), None)
        takes_mode = own is not None and not isinstance(model, CounterpartModel)
        predicted = model(x, training=model.training) if takes_mode else model(x)
        keras_model: Any = self.host if own is None else own  # one of its own adds its layers' losses
        loss: Tensor = keras_model.compute_loss(x=x, y=y, y_pred=predicted, training=model.training)
        return loss


@dataclass(frozen=True)
class _KerasScore:
    """Takes the loss on validation data; larger is better."""

    loss: _KerasLoss
    x: Tensor
    y: Tensor

    def __call__(self, model: nn.Module) -> float:
        return -float(self.loss(model, (self.x, self.y)))


@dataclass(frozen=True)
class _KerasOptimizers:
    """Makes torch's optimizers with the rule and the settings of one of Keras'."""

    make: Callable[..., Optimizer]
    settings: Mapping[str, Any]

    @classmethod
    def like(cls, optimizer: Any) -> "_KerasOptimizers":
        """Read a Keras optimizer.

        Raises:
            ValueError: it has no counterpart here.
        """
        kind = type(optimizer).__name__
        if kind not in SETTINGS:
            known = ", ".join(SETTINGS)
            raise ValueError(
                f"Keras' {kind} has no counterpart here, as {known} have: give one of torch's, as in "
                "optimizer=lambda model: torch.optim.Adam(model.parameters())"
            )
        make, names = SETTINGS[kind]
        settings = {ours: getattr(optimizer, theirs) for theirs, ours in names.items()}
        if hasattr(optimizer, "beta_1"):
            settings["betas"] = (optimizer.beta_1, optimizer.beta_2)
        return cls(make, {**settings, "lr": float(optimizer.learning_rate)})

    def __call__(self, model: nn.Module) -> Optimizer:
        trained = [p for p in model.parameters() if p.requires_grad]
        return self.make(trained, **self.settings)
