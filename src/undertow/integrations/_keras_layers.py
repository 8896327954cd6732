"""`counterpart`: a Keras model in torch's own layers, so that remedies which exchange or draw layers reach it.

Only chains of layers with counterparts are taken: the rest of Keras stays as it is, and the reason is one sentence.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softmax": lambda: nn.Softmax(-1),
    "log_softmax": lambda: nn.LogSoftmax(-1),
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "softplus": nn.Softplus,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
}
"""By the name of a Keras activation, torch's."""

Made = list[tuple[str, nn.Module]]
"""Torch's layers for one of Keras', by the end of their names."""


class NoCounterpart(ValueError):  # noqa: N818  # it is a fact, and caught
    """A Keras model isn't a chain of layers that torch has; the message says why."""


class Transposed(nn.Module):
    """Puts the channels, Keras' last axis, in front of the others, or back.

    Args:
        back: put them last.

    Example:
        >>> Transposed()(torch.ones(2, 5, 6, 3)).shape, Transposed(back=True)(torch.ones(2, 3, 5, 6)).shape
        (torch.Size([2, 3, 5, 6]), torch.Size([2, 5, 6, 3]))
    """

    def __init__(self, back: bool = False) -> None:
        super().__init__()
        self.back = back

    def forward(self, x: Tensor) -> Tensor:
        """Return a view."""
        return x.movedim(1, -1) if self.back else x.movedim(-1, 1)


class CounterpartModel(nn.Sequential):
    """A Keras model in torch's layers, with the model itself for its compiled loss.

    Args:
        layers: names and layers.
        model: the Keras model that they were made of.
    """

    def __init__(self, layers: Made, model: Any) -> None:
        super().__init__()
        for name, layer in layers:
            self.add_module(name, layer)
        self._keras = (model,)  # in a tuple: torch must not take it for a part

    @property
    def keras(self) -> Any:
        """Return the Keras model."""
        return self._keras[0]


def counterpart(model: Any) -> CounterpartModel:
    """Make torch's layers with the weights of a Keras model, in the order in which it calls them.

    Args:
        model: a built ``keras.Sequential``, or a functional model without branches.

    Raises:
        NoCounterpart: it has branches, its own ``call``, or a layer that isn't taken.

    Example:
        >>> import keras
        >>> made = counterpart(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "tanh", name="first")]))
        >>> [name for name, _ in made.named_children()]
        ['first', 'first_activation']
    """
    made: Made = []
    spatial = False
    for layer in _chain(model):
        if getattr(layer, "losses", ()):
            raise NoCounterpart(f"layer {layer.name} adds a loss of its own")
        kind = type(layer).__name__
        convolves = kind in _SPATIAL
        if convolves and not spatial:
            made.append((f"{layer.name}_channels", Transposed()))
        elif spatial and kind in ("Flatten", "Dense", "LayerNormalization"):
            made.append((f"{layer.name}_channels", Transposed(back=True)))
        spatial = convolves or (spatial and kind not in ("Flatten", "Dense", "LayerNormalization"))
        if kind not in _LAYERS:
            raise NoCounterpart(f"layer {layer.name} is a {kind}")
        made += [(f"{layer.name}{end}", part) for end, part in _LAYERS[kind](layer)]
        spatial = spatial and not kind.startswith("Global")
    if spatial:
        made.append(("channels", Transposed(back=True)))
    return CounterpartModel(made, model)


def _chain(model: Any) -> Iterator[Any]:
    """Yield the layers of a model in which each has one input, the layer's before."""
    inner = getattr(model, "_functional", None) or model
    depths = getattr(inner, "_nodes_by_depth", None)  # Keras has no public name for what a model calls
    if depths is None:
        raise NoCounterpart("the model has a call() of its own")
    nodes = [depths[depth] for depth in sorted(depths, reverse=True)]
    layers = [many[0].operation for many in nodes]
    if any(len(many) != 1 for many in nodes) or len({id(layer) for layer in layers}) != len(layers):
        raise NoCounterpart("the model has branches, or calls a layer twice")
    yield from (layer for layer in layers if type(layer).__name__ != "InputLayer")


def _activation(layer: Any) -> Made:
    name = getattr(layer.activation, "__name__", "")
    if name not in ACTIVATIONS:
        raise NoCounterpart(f"the activation of layer {layer.name} is {name or layer.activation}")
    return [] if name == "linear" else [("_activation", ACTIVATIONS[name]())]


def _take(part: nn.Module, name: str, value: Tensor) -> None:
    with torch.no_grad():
        part.get_parameter(name).copy_(value)


def _trained(part: nn.Module, layer: Any) -> nn.Module:
    for parameter in part.parameters():
        parameter.requires_grad_(bool(layer.trainable))
    return part


def _dense(layer: Any) -> Made:
    inputs, outputs = layer.kernel.shape
    made = nn.Linear(inputs, outputs, bias=layer.use_bias)
    _take(made, "weight", layer.kernel.value.T)
    if layer.use_bias:
        _take(made, "bias", layer.bias.value)
    return [("", _trained(made, layer)), *_activation(layer)]


def _convolution(layer: Any) -> Made:
    kinds: dict[int, Callable[..., nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
    strides = tuple(layer.strides)
    if layer.data_format != "channels_last" or (layer.padding != "valid" and set(strides) != {1}):
        raise NoCounterpart(f"layer {layer.name} pads with strides, or has its channels in front")
    if layer.padding not in ("valid", "same"):
        raise NoCounterpart(f"layer {layer.name} pads {layer.padding}")
    channels = layer.kernel.shape[-2] * layer.groups, layer.filters
    settings = {"stride": strides, "padding": layer.padding, "dilation": tuple(layer.dilation_rate)}
    made = kinds[layer.rank](*channels, tuple(layer.kernel_size), groups=layer.groups, bias=layer.use_bias, **settings)
    _take(made, "weight", layer.kernel.value.movedim((-1, -2), (0, 1)))
    if layer.use_bias:
        _take(made, "bias", layer.bias.value)
    return [("", _trained(made, layer)), *_activation(layer)]


def _batch_norm(layer: Any) -> Made:
    rank = len(layer.input.shape)
    if rank not in _BATCH_NORMS or layer.axis not in (-1, rank - 1):
        raise NoCounterpart(f"layer {layer.name} normalizes axis {layer.axis} of {rank}")
    scaled = layer.scale and layer.center
    if not scaled and (layer.scale or layer.center):
        raise NoCounterpart(f"layer {layer.name} scales or centers only")
    made = _BATCH_NORMS[rank](layer.input.shape[-1], layer.epsilon, 1 - layer.momentum, affine=scaled)
    if scaled:
        _take(made, "weight", layer.gamma.value)
        _take(made, "bias", layer.beta.value)
    return [("", _trained(made, layer))]


def _layer_norm(layer: Any) -> Made:
    if not (layer.scale and layer.center) or layer.axis not in (-1, [-1], len(layer.input.shape) - 1):
        raise NoCounterpart(f"layer {layer.name} normalizes otherwise than the last axis, scaled and centered")
    made = nn.LayerNorm(layer.input.shape[-1], layer.epsilon)
    _take(made, "weight", layer.gamma.value)
    _take(made, "bias", layer.beta.value)
    return [("", _trained(made, layer))]


def _pool(layer: Any, kinds: dict[int, Callable[..., nn.Module]]) -> Made:
    if layer.data_format != "channels_last" or layer.padding != "valid":
        raise NoCounterpart(f"layer {layer.name} pads, or has its channels in front")
    rank = len(layer.input.shape) - 2
    return [("", kinds[rank](tuple(layer.pool_size), tuple(layer.strides)))]


def _pool_all(layer: Any, kinds: dict[int, Callable[..., nn.Module]]) -> Made:
    if layer.data_format != "channels_last" or layer.keepdims:
        raise NoCounterpart(f"layer {layer.name} keeps dimensions, or has its channels in front")
    return [("", kinds[len(layer.input.shape) - 2](1)), ("_flat", nn.Flatten())]


def _leaky(layer: Any) -> Made:
    return [("", nn.LeakyReLU(float(layer.negative_slope)))]


def _relu(layer: Any) -> Made:
    if layer.max_value is not None or layer.negative_slope or layer.threshold:
        raise NoCounterpart(f"layer {layer.name} is a ReLU with a slope or a limit")
    return [("", nn.ReLU())]


def _softmax(layer: Any) -> Made:
    if layer.axis != -1:
        raise NoCounterpart(f"layer {layer.name} is a softmax over axis {layer.axis}")
    return [("", nn.Softmax(-1))]


_BATCH_NORMS: dict[int, Callable[..., nn.Module]] = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}
_MAXIMA: dict[int, Callable[..., nn.Module]] = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_MEANS: dict[int, Callable[..., nn.Module]] = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
_ALL_MAXIMA: dict[int, Callable[..., nn.Module]] = {1: nn.AdaptiveMaxPool1d, 2: nn.AdaptiveMaxPool2d}
_ALL_MEANS: dict[int, Callable[..., nn.Module]] = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d}
_LAYERS: dict[str, Callable[[Any], Made]] = {
    "Dense": _dense,
    "Activation": lambda layer: [("", part) for _, part in _activation(layer)],
    "ReLU": _relu,
    "LeakyReLU": _leaky,
    "Softmax": _softmax,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Dropout": lambda layer: [("", nn.Dropout(layer.rate))],
    "Flatten": lambda _: [("", nn.Flatten())],
    **{f"Conv{rank}D": _convolution for rank in (1, 2, 3)},
    **{f"MaxPooling{rank}D": lambda layer: _pool(layer, _MAXIMA) for rank in (1, 2, 3)},
    **{f"AveragePooling{rank}D": lambda layer: _pool(layer, _MEANS) for rank in (1, 2, 3)},
    **{f"GlobalMaxPooling{rank}D": lambda layer: _pool_all(layer, _ALL_MAXIMA) for rank in (1, 2)},
    **{f"GlobalAveragePooling{rank}D": lambda layer: _pool_all(layer, _ALL_MEANS) for rank in (1, 2)},
}
_SPATIAL = {name for name in _LAYERS if name[-2:] in ("1D", "2D", "3D")}
