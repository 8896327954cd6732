"""Put back what an examination changes beside the model: random numbers, modes of the thread, flags of libraries."""

import ctypes
import gc
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.optim import optimizer as stepping
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

Restore = Callable[[], None]

_MT19937_BYTES = 4 * 624 + 4
"""Of the generator's words and its place among them."""


def surroundings(random_numbers: dict[str, Any]) -> list[Restore]:
    """Return what puts the surroundings of a model back to what they are now, as often as it is called.

    Args:
        random_numbers: as `random_states` returned them just now.
    """
    restores = [_modes(), _flags(), _stance(), _optimizer_hooks(), _error_state()]
    return [*restores, lambda: set_random_states(random_numbers), _garbage_collector()]


def _modes() -> Restore:
    """Leave the function and dispatch modes that were entered since: theirs are on a stack of the thread."""
    stacks: list[Callable[[], list[Any]]] = [_get_current_function_mode_stack, _get_current_dispatch_mode_stack]
    depths = [len(stack()) for stack in stacks]

    def restore() -> None:
        for stack, depth in zip(stacks, depths, strict=True):
            while len(modes := stack()) > depth:
                modes[-1].__exit__(None, None, None)

    return restore


def _flags() -> Restore:
    mkldnn, cudnn = torch._C._get_mkldnn_enabled(), torch._C._get_cudnn_enabled()

    def restore() -> None:
        torch._C._set_mkldnn_enabled(mkldnn)
        torch._C._set_cudnn_enabled(cudnn)

    return restore


def _stance() -> Restore:
    """Let torch.compile do what it did; its stance is private to torch."""
    compiler: Any = sys.modules.get("torch._dynamo.eval_frame")
    before = getattr(compiler, "_stance", None)

    def restore() -> None:
        if before is not None and compiler._stance is not before:
            compiler._set_stance(before)

    return restore


def _optimizer_hooks() -> Restore:
    hooks = stepping._global_optimizer_pre_hooks
    before = set(hooks)

    def restore() -> None:
        for key in set(hooks) - before:
            hooks.pop(key, None)

    return restore


def _error_state() -> Restore:
    before = np.geterr()
    return lambda: _back_to(before)


def _back_to(before: Any) -> None:
    np.seterr(**before)


def _garbage_collector() -> Restore:
    return gc.enable if gc.isenabled() else gc.disable


def random_states(before: dict[str, Any] | None = None) -> dict[str, Any]:
    """The state of every random number generator: Python's, NumPy's, and torch's of every device in use.

    Args:
        before: states of before, which those that nobody has drawn from since are taken from.
    """
    known = before is not None and _is_as_it_was(before)
    states: dict[str, Any] = {
        "python": random.getstate(),
        # The global generator is the one a user's loss may draw from.
        "numpy": before["numpy"] if before is not None and known else np.random.get_state(),  # noqa: NPY002
        "numpy words": _numpy_words(),
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
    if not _is_as_it_was(states):
        np.random.set_state(states["numpy"])  # noqa: NPY002  # as above
    torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state_all(states["cuda"])
    if "mps" in states:
        torch.mps.set_rng_state(states["mps"])


def _is_as_it_was(states: dict[str, Any]) -> bool:
    """Tell whether NumPy's generator is in such a state now, for certain.

    A number drawn from the normal distribution leaves a second one, which may be taken without a change of the words.
    """
    second_waits = states["numpy"][3]
    return states["numpy words"] is not None and not second_waits and _numpy_words() == states["numpy words"]


def _numpy_words() -> bytes | None:
    """Return the words of NumPy's generator as they lie in memory: its state takes thirty times as long to be made."""
    generator = np.random.get_bit_generator()  # type: ignore[attr-defined]  # NumPy's stubs don't know it
    if type(generator) is not np.random.MT19937:
        return None
    return ctypes.string_at(generator.ctypes.state_address, _MT19937_BYTES)


@contextmanager
def eager() -> Iterator[None]:
    """Run compiled models eagerly, without compiling anything anew: a compiled model is one opaque Node."""
    if "torch._dynamo" not in sys.modules:  # nothing has been compiled, and loading it takes seconds
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
