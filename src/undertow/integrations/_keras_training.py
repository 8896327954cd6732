"""`training`: how a Keras model is trained, as an `undertow.Training`, for `undertow.doctor` to treat."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from undertow.training import Training

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
    given = None if "optimizer" in changes else _Optimizers.like(optimizer)
    found = Training(
        model=_Model(named, model),
        batches=_Batches(torch.as_tensor(x), torch.as_tensor(y), batch_size),
        loss=_loss,
        optimizer=changes.pop("optimizer", given),
        score=None if validation_data is None else _Score(*map(torch.as_tensor, validation_data)),
        clip_grad_norm=getattr(optimizer, "global_clipnorm", None),
        steps=epochs * math.ceil(len(x) / batch_size),
    )
    return replace(found, **changes)


@dataclass(frozen=True)
class _Model:
    """Makes models of the same layers with fresh weights."""

    named: Callable[[Any], nn.Module]
    model: Any

    def __call__(self) -> nn.Module:
        fresh = type(self.model).from_config(self.model.get_config())
        if not fresh.built:
            fresh.build(self.model.input_shape)
        fresh.compile_from_config(self.model.get_compile_config())
        return self.named(fresh)


@dataclass(frozen=True)
class _Batches:
    """Yields one pass over arrays, in an order of its own each time."""

    x: Tensor
    y: Tensor
    size: int

    def __call__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in torch.randperm(len(self.x)).split(self.size):
            yield self.x[rows], self.y[rows]


def _loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Return the loss that the model was compiled with, of a batch."""
    x, y = batch
    keras_model: Any = model
    predicted = keras_model(x, training=model.training)
    loss: Tensor = keras_model.keras.compute_loss(x=x, y=y, y_pred=predicted, training=model.training)
    return loss


@dataclass(frozen=True)
class _Score:
    """Takes the loss on validation data; larger is better."""

    x: Tensor
    y: Tensor

    def __call__(self, model: nn.Module) -> float:
        return -float(_loss(model, (self.x, self.y)))


@dataclass(frozen=True)
class _Optimizers:
    """Makes torch's optimizers with the rule and the settings of one of Keras'."""

    make: Callable[..., Optimizer]
    settings: Mapping[str, Any]

    @classmethod
    def like(cls, optimizer: Any) -> "_Optimizers":
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
