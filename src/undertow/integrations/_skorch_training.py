"""`training`: how a skorch net trains, as an `undertow.Training`, for `undertow.doctor` to treat."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from undertow.extras import needed
from undertow.training import Training


def training(net: Any, X: Any, y: Any = None, **changes: Any) -> Training:  # noqa: N803  # scikit-learn's name
    """Return how a net trains, as data: ``undertow.doctor(training(net, X, y))``.

    Its module, criterion, loss (also an overridden ``get_loss``), optimizer, batches, split and clipping by
    ``GradientNormClipping`` are the net's; the score is the loss on the split's validation part, if it has one. A
    schedule isn't taken: give ``scheduler``, see `undertow.Training`.

    Args:
        net: a ``NeuralNet``, which needn't be initialized, and is left as it is.
        X, y: what ``net.fit`` takes.
        changes: of `undertow.Training` that go before what was read here, as ``steps=500`` or ``score=accuracy``.

    Raises:
        ValueError: the net has several modules or optimizers.

    Example:
        >>> import numpy as np
        >>> from skorch import NeuralNetRegressor
        >>> x = np.ones((40, 4), dtype="float32")
        >>> sizes = {"module__in_features": 4, "module__out_features": 1}
        >>> net = NeuralNetRegressor(nn.Linear, batch_size=8, max_epochs=5, **sizes)
        >>> found = training(net, x, x[:, :1])
        >>> trial = found.run(seed=0)
        >>> found.steps, bool(trial.losses[-1] < trial.losses[0])
        (20, True)
    """
    host = _host(net)
    train, valid = host.get_split_datasets(X, y)
    batches = _SkorchBatches(host, train, True)
    found = Training(
        model=_SkorchModel(net),
        batches=batches,
        loss=_SkorchLoss(host),
        optimizer=_SkorchOptimizers(host),
        score=None if valid is None else _SkorchScore(host, _SkorchBatches(host, valid, False)),
        clip_grad_norm=_clipping(host),
        steps=host.max_epochs * math.ceil(batches.count),
    )
    return replace(found, **changes)


def _host(net: Any) -> Any:
    """Return a net like one, initialized, to ask for its ways: nothing is done to the one that was given."""
    clone = needed("sklearn.base", "skorch", "undertow.integrations.skorch").clone
    host = clone(net).set_params(verbose=0)
    with torch.random.fork_rng():
        host.initialize()
    if len(host._modules) != 1 or len(host._optimizers) != 1:
        raise ValueError(
            f"the net has {len(host._modules)} modules and {len(host._optimizers)} optimizers: a Training has one of "
            "each. Write undertow.Training(...) by hand, for one of them."
        )
    return host


@dataclass(frozen=True)
class _SkorchModel:
    """Makes fresh modules as the net does."""

    net: Any

    def __call__(self) -> nn.Module:
        clone = needed("sklearn.base", "skorch", "undertow.integrations.skorch").clone
        fresh = clone(self.net).set_params(verbose=0, callbacks="disable")
        fresh.initialize()
        made: nn.Module = fresh.module_
        return made


@dataclass(frozen=True)
class _SkorchBatches:
    """Yields one pass over a dataset, as the net's iterator does."""

    host: Any
    dataset: Any
    train: bool

    @property
    def count(self) -> int:
        """Count the batches of a pass."""
        return len(self._iterator())

    def _iterator(self) -> Any:
        return self.host.get_iterator(self.dataset, training=self.train)

    def __call__(self) -> Iterator[Any]:
        yield from self._iterator()


@dataclass(frozen=True)
class _SkorchLoss:
    """Computes the loss of a batch as the net does, of any module in its place."""

    host: Any

    def __call__(self, model: nn.Module, batch: Any, train: bool = True) -> Tensor:
        unpack_data = needed("skorch.dataset", "skorch", "undertow.integrations.skorch").unpack_data
        object.__setattr__(self.host, "module_", model)  # past the net's own bookkeeping
        x, y = unpack_data(batch)
        loss: Tensor = self.host.get_loss(self.host.infer(x), y, X=x, training=train)
        return loss


@dataclass(frozen=True)
class _SkorchScore:
    """Takes the loss on the validation part; larger is better."""

    host: Any
    batches: _SkorchBatches

    def __call__(self, model: nn.Module) -> float:
        losses = [float(_SkorchLoss(self.host)(model, batch, train=False)) for batch in self.batches()]
        return -sum(losses) / len(losses)


@dataclass(frozen=True)
class _SkorchOptimizers:
    """Makes optimizers as the net does, with its parameter groups."""

    host: Any

    def __call__(self, model: nn.Module) -> Optimizer:
        name = self.host._optimizers[0]
        args, kwargs = self.host.get_params_for_optimizer(name, list(model.named_parameters()))
        made: Optimizer = getattr(self.host, name)(*args, **{"lr": self.host.lr, **kwargs})
        return made


def _clipping(host: Any) -> float | None:
    """Return the norm that gradients are clipped to."""
    for _, callback in host.callbacks_:
        if type(callback).__name__ == "GradientNormClipping" and callback.gradient_clip_norm_type == 2:
            value = callback.gradient_clip_value
            return None if value is None else float(value)
    return None
