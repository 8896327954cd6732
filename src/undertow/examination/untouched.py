"""The promise that an examination leaves no trace."""

import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Put back, however the block ends: gradients, buffers, training modes, random numbers, hooks on parameters.

    Inside, gradients start from None, nothing that is hooked on the accumulation of a gradient runs (some train
    there), and stepping an optimizer is an error. Parameters are not copied, as that could double a model's memory.

    Raises:
        RuntimeError: a parameter was changed in place.
    """
    versions = {name: parameter._version for name, parameter in model.named_parameters()}
    with ExitStack() as stack:
        for keep in (_gradients, _buffers, _modes):
            stack.enter_context(keep(model))
        stack.enter_context(untouched_random_numbers())
        stack.enter_context(_no_optimizer_steps())
        yield
    changed = [name for name, p in model.named_parameters() if p._version != versions.get(name)]
    if changed:
        raise RuntimeError(
            f"compute_loss changed {changed[0]} in place, and undertow keeps no copy of parameters: "
            "leave updates, clipping and re-initialisation of weights out of it"
        )


@contextmanager
def _gradients(model: nn.Module) -> Iterator[None]:
    kept = [(parameter, parameter.grad, _take_hooks(parameter)) for parameter in model.parameters()]
    for parameter, _, _ in kept:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, grad, hooks in kept:
            parameter.grad = grad
            if hooks:
                parameter._post_accumulate_grad_hooks.update(hooks)


def _take_hooks(parameter: Tensor) -> dict[int, Any]:
    hooks: dict[int, Any] = getattr(parameter, "_post_accumulate_grad_hooks", None) or {}
    taken = dict(hooks)
    hooks.clear()
    return taken


@contextmanager
def _buffers(model: nn.Module) -> Iterator[None]:
    kept = [
        (module, name, buffer, None if buffer is None else buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
    ]
    try:
        yield
    finally:
        for module, name, buffer, content in kept:
            module._buffers[name] = buffer
            # Compared by content: batch normalisation writes its statistics without a new version. And written only
            # if changed: a new version would spoil a graph of the user's that waits for its backward pass.
            if buffer is not None and content is not None and not torch.equal(buffer, content):
                with torch.no_grad():
                    buffer.copy_(content)


@contextmanager
def _modes(model: nn.Module) -> Iterator[None]:
    kept = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in kept:
            module.training = training


@contextmanager
def untouched_random_numbers() -> Iterator[None]:
    """Put back the state of every random number generator, however the block ends."""
    states = random_states()
    try:
        yield
    finally:
        set_random_states(states)


def random_states() -> dict[str, Any]:
    """The state of every random number generator: Python's, NumPy's, and torch's of every device in use."""
    states: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002  # the global generator is the one a user's loss may draw from
        "cpu": torch.get_rng_state(),
    }
    if torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_random_states(states: dict[str, Any]) -> None:
    """Go back to what `random_states` returned."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002  # as above
    torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state_all(states["cuda"])
    if "mps" in states:
        torch.mps.set_rng_state(states["mps"])


@contextmanager
def _no_optimizer_steps() -> Iterator[None]:
    def refuse(optimizer: Optimizer, *_: object) -> None:
        raise RuntimeError(
            f"compute_loss called {type(optimizer).__name__}.step(): it must only compute the loss. "
            "Hand the optimizer to examine(model, compute_loss, optimizer) instead"
        )

    handle = register_optimizer_step_pre_hook(refuse)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def eager() -> Iterator[None]:
    """Run compiled models eagerly, without compiling anything anew: a compiled model is one opaque Node."""
    if "torch._dynamo" not in sys.modules:  # nothing has been compiled, and loading it takes seconds
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
