"""The parts of a model as remedies see them: its layers in the order in which they run, its head, what goes in.

A model is run on a batch of its training to find out; nothing of it is left changed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from undertow.tape.tensors import tensors_in
from undertow.training import Training, derived, random_numbers_kept

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
RECURRENT = (nn.RNNBase, nn.RNNCellBase)


def weight_of(layer: nn.Module) -> nn.Parameter:
    """Return a layer's weight: the parameter of that name, or the first matrix of a layer of the user's own.

    Raises:
        ValueError: it has none.

    Example:
        >>> weight_of(nn.Linear(3, 2)).shape
        torch.Size([2, 3])
    """
    named = getattr(layer, "weight", None)
    own = [named, *layer.parameters(recurse=False)]
    found = next((p for p in own if isinstance(p, nn.Parameter) and p.ndim > 1), None)
    if found is None:
        raise ValueError(f"a {type(layer).__name__} has no matrix of weights of its own")
    return found


def multiplies(module: nn.Module, given: Tensor | None, made: Tensor | None) -> bool:
    """Tell whether a module of the user's own multiplies features by a matrix of weights, as a linear layer does.

    Args:
        module: that was called.
        given, made: what it took and returned.

    Example:
        >>> class Own(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.w = nn.Parameter(torch.ones(3, 2))
        >>> multiplies(Own(), torch.ones(5, 3), torch.ones(5, 2)), multiplies(Own(), torch.ones(5, 3), torch.ones(5, 3))
        (True, False)
    """
    if type(module).__module__.startswith("torch.") or given is None or made is None or not given.ndim * made.ndim:
        return False
    if any(isinstance(each, LAYERS) for each in module.modules()):
        return False
    features = sorted((given.shape[-1], made.shape[-1]))
    return any(p.ndim == 2 and sorted(p.shape) == features for p in module.parameters(recurse=False))


@dataclass(frozen=True)
class Part:
    """A module that was called, with what it took and returned.

    Attributes:
        name: module path.
        module: itself.
        given, made: tensors, the first of each; None where there was none.
        calls: how often it was called.
    """

    name: str
    module: nn.Module
    given: Tensor | None
    made: Tensor | None
    calls: int = 1

    @property
    def is_layer(self) -> bool:
        """Whether it is a linear layer, a convolution, or one of the user's own that multiplies by a matrix."""
        return isinstance(self.module, LAYERS) or multiplies(self.module, self.given, self.made)


@dataclass(frozen=True)
class Anatomy:
    """List what was called, in order, leaves only, each at its first call.

    Attributes:
        parts: the leaves.
        given: tensors that the model itself was called with, those of floating point.
        made: what the model returned, if it is one tensor; else None.
    """

    parts: tuple[Part, ...]
    given: tuple[Tensor, ...]
    made: Tensor | None

    @property
    def layers(self) -> tuple[Part, ...]:
        """Linear layers and convolutions, and layers of the user's own, the first first."""
        return tuple(part for part in self.parts if part.is_layer)

    @property
    def head(self) -> Part | None:
        """The last layer; None if there is none."""
        return self.layers[-1] if self.layers else None

    @property
    def hidden(self) -> tuple[Part, ...]:
        """All layers but the head."""
        return self.layers[:-1]

    def after(self, part: Part) -> Sequence[Part]:
        """Return the leaves that were called after one."""
        return self.parts[self.parts.index(part) + 1 :]


class NotCalledError(ValueError):
    """The model itself is never called, only parts of it, so that there is no place in front of it."""


def anatomy(model: nn.Module, training: Training) -> Anatomy:
    """Run the training's loss on one batch and note what is called.

    Raises:
        NotCalledError: the loss calls no module of the model.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))
        >>> make = lambda model: torch.optim.SGD(model.parameters(), lr=0.1)
        >>> found = anatomy(net, Training(lambda: net, [torch.ones(8, 4)], lambda model, x: model(x).sum(), make))
        >>> [part.name for part in found.parts], found.head.name
        (['0', '1', '2'], '2')
    """
    parts: dict[str, Part] = {}
    whole: dict[str, Any] = {"given": (), "made": None}

    def seen(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: Any, keywords: Any, made: Any) -> None:
            tensors = [*tensors_in(given), *tensors_in(tuple(keywords.values()))]
            if not name:
                floating = [t for t in tensors if t.is_floating_point()]
                whole.update(given=tuple(floating), made=made if isinstance(made, Tensor) else None)
            elif name in parts:
                parts[name] = replace(parts[name], calls=parts[name].calls + 1)
            else:
                part = Part(name, module, next(iter(tensors), None), next(iter(tensors_in(made)), None))
                if part.is_layer or not any(True for _ in module.children()):  # a layer may hold its norm
                    parts[name] = part

        return hook

    handles = [m.register_forward_hook(seen(name), with_kwargs=True) for name, m in model.named_modules()]
    try:
        run_loss(model, training)
    finally:
        for handle in handles:
            handle.remove()
    if not parts and not isinstance(whole["made"], Tensor):
        raise NotCalledError("the loss calls no module of the model: give a loss that calls model(...)")
    return Anatomy(tuple(parts.values()), whole["given"], whole["made"])


def fresh(training: Training) -> nn.Module:
    """Make the model of a training, and leave random numbers as they were."""
    with random_numbers_kept():
        return training.model()


def run_loss(model: nn.Module, training: Training, batches: int = 1, evaluating: bool = False) -> Tensor:
    """Compute the loss of some batches in training mode, without a graph; buffers and random numbers stay as they are.

    Args:
        model: the training's.
        training: whose loss, of whose batches.
        batches: how many.
        evaluating: do it in evaluation mode, without dropout.

    Returns:
        The last batch's loss.

    Raises:
        ValueError: there is no batch.
    """
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    mode, loss = model.training, None
    model.train(not evaluating)
    try:
        with random_numbers_kept(), torch.no_grad():
            for batch in training.sample(batches):
                loss = derived(partial(training.loss, model, batch))  # as it is: modes that follow would see a detach()
    finally:
        model.train(mode)
        for name, buffer in model.named_buffers():
            if name in kept:
                buffer.copy_(kept[name])
    if loss is None:
        raise ValueError("there is no batch to run the model on")
    return loss


def replace_module(model: nn.Module, name: str, new: nn.Module) -> None:
    """Put a module in another's place, under its name.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid())
        >>> replace_module(net, "1", nn.Tanh())
        >>> net[1]
        Tanh()
    """
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, new)
