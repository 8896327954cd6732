"""The promise that an examination leaves no trace."""

import gc
import threading
import zlib
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from undertow.examination.interrupts import Interrupts
from undertow.examination.surroundings import Restore, random_states, surroundings
from undertow.tape.members import modules_of, parameters_of

_ONE_AT_A_TIME = threading.RLock()
"""Examinations of one process wait for each other: models may share parameters, and all share the random numbers."""

WORDS = 509
"""Words of 8 bytes in a row of a large parameter, whose columns are summed up to tell whether it changed: a prime, so
that rows of weights that change places are other words in each column."""

LARGE = 2**13
"""Bytes from which on a parameter is large."""

_HOOKS = tuple(
    f"_forward_{name}"
    for name in ("hooks", "pre_hooks", "hooks_with_kwargs", "pre_hooks_with_kwargs", "hooks_always_called")
)


class Untouched:
    """Know a model and its surroundings as they are, and put them back, whatever interrupts what.

    Enter it twice, ``with untouched, untouched:``, and call `begin` inside: an exception that comes in the midst of
    the first return, or just before it, meets the second one. Ctrl-C is held back, but for what `interruptible` calls.

    Inside, gradients start from None, nothing that is hooked on the accumulation of a gradient runs (some train
    there), and stepping an optimizer is an error. Put back are parameters that were exchanged, gradients, buffers,
    training modes, hooks, random numbers, and what of torch's and NumPy's state we change. Parameters are not copied,
    as that could double a model's memory: `check` tells whether their numbers were changed.

    Args:
        model: looked through by `begin`.

    Attributes:
        random_states: of all generators at the beginning, as `surroundings.random_states` returned them.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> untouched = Untouched(net)
        >>> with untouched, untouched:
        ...     untouched.begin()
        ...     net.eval().weight.grad = torch.zeros(1, 2)
        >>> net.training, net.weight.grad
        (True, None)
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._interrupts = Interrupts()
        self.random_states: dict[str, Any] = {}
        self._restores: list[Restore] = []
        self._kept: dict[str, tuple[nn.Parameter, int, Tensor, int | None]] = {}
        self._grad = torch.is_grad_enabled()
        self._is_held = self._is_done = self._collects = False

    def __enter__(self) -> None:
        return

    def begin(self) -> None:
        """Look at everything, hold Ctrl-C back, and clear the model's gradients."""
        self._interrupts.hold()
        self._is_held = _ONE_AT_A_TIME.acquire()
        self._collects = gc.isenabled()
        self.random_states = random_states()
        self._restores = surroundings(self.random_states)
        gc.disable()  # looking for garbage among the many objects of a large graph takes a quarter of the time
        by_path = modules_of(self._model)
        named = parameters_of(self._model, by_path)
        modules, parameters = list(by_path.values()), list(named.values())
        with torch.inference_mode(False):  # copies are written back outside of it
            held = {name: (p, p._version, p.data) for name, p in named.items()}
            self._kept = {name: (*each, _content(each[2])) for name, each in held.items()}
            self._restores += [
                _owned(modules),
                _numbers([(p, data) for p, _, data in held.values()]),
                _gradients(parameters),
                _hooks(modules),
                _buffers(modules),
                _modes(modules),
            ]
            for parameter in parameters:
                parameter.grad = None
                (getattr(parameter, "_post_accumulate_grad_hooks", None) or {}).clear()
            register_optimizer_step_pre_hook(_refusal())

    def interruptible(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """Return the function, made to be ended by Ctrl-C, and to have its garbage collected."""

        def collected() -> Any:
            if self._collects:
                gc.enable()
            try:
                return function()
            finally:
                gc.disable()

        return self._interrupts.through(collected)

    def check(self) -> None:
        """Hold the parameters' numbers against those at the beginning. Raises: RuntimeError if they were changed."""
        for name, (parameter, version, data, content) in self._kept.items():
            if parameter._version != version or _content(data) != content:
                raise RuntimeError(
                    f"compute_loss changed {name} in place, and undertow keeps no copy of parameters: "
                    "leave updates, clipping and re-initialisation of weights out of it"
                )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failed = None if self._is_done else self._restore()
        self._is_done = True
        # In one line, so that nothing comes between the two.
        self._is_held = self._is_held and bool(_ONE_AT_A_TIME.release())  # type: ignore[func-returns-value]
        self._interrupts.release()
        if failed is not None:
            raise failed

    def _restore(self) -> Exception | None:
        failed: Exception | None = None
        with torch.inference_mode(False):
            for restore in self._restores:
                try:
                    restore()
                except Exception as error:  # the others must be put back all the same
                    failed = failed or error
        torch._C._set_grad_enabled(self._grad)
        return failed


def _content(data: Tensor) -> int | None:
    """Return a sum of a parameter's bits: writing to ``.data`` leaves no new version. None where none can be had."""
    try:
        if data.is_cpu and data.nbytes < LARGE and data.dtype is torch.float32 and data.is_contiguous():
            return zlib.crc32(data.numpy().data)  # as most are: the rest costs more to call than to do
        bits = data.reshape(-1).view(torch.uint8)
        return _checksum(bits) if bits.is_cpu else int(bits.sum(dtype=torch.int64))
    except Exception:  # kinds of tensors that have no bits of their own
        return None


def _checksum(bits: Tensor) -> int:
    """Return a CRC, of large tensors that of the sums of their words' columns: many times as fast."""
    row = 8 * WORDS
    whole = len(bits) - len(bits) % row if len(bits) >= LARGE and not bits.storage_offset() % 8 else 0
    found = zlib.crc32(bits[whole:].numpy().data)
    if whole:
        words = bits[:whole].view(torch.int64).view(-1, WORDS)
        found = zlib.crc32(words.sum(0).numpy().data, found)
    return found


def _owned(modules: Sequence[nn.Module]) -> Restore:
    """Give modules back the parameters that were exchanged for others."""
    kept = [(module._parameters, dict(module._parameters)) for module in modules if module._parameters]
    return lambda: _refill(kept)


def _hooks(modules: Sequence[nn.Module]) -> Restore:
    """Leave every module the hooks that it had, and no others."""
    attributes = [vars(module) for module in modules]
    tables = [table for each in attributes for name in _HOOKS if (table := each.get(name)) is not None]
    kept, empty = [(table, dict(table)) for table in tables if table], [table for table in tables if not table]

    def restore() -> None:
        _refill(kept)
        for table in empty:  # as most are: nothing has to be kept of them
            if table:
                table.clear()

    return restore


def _refill(kept: list[tuple[dict[Any, Any], dict[Any, Any]]]) -> None:
    for table, content in kept:
        if list(table) != list(content) or any(table[key] is not value for key, value in content.items()):
            table.clear()
            table.update(content)


def _numbers(kept: Sequence[tuple[nn.Parameter, Tensor]]) -> Restore:
    """Put back numbers that were exchanged, as ``parameter.data = other`` does."""

    def restore() -> None:
        for parameter, data in kept:
            if not _is_same(parameter, data):
                parameter.data = data

    return restore


def _is_same(parameter: Tensor, data: Tensor) -> bool:
    try:
        return parameter.data_ptr() == data.data_ptr() and parameter.shape == data.shape
    except RuntimeError:  # kinds of tensors that lie nowhere
        return True


def _gradients(parameters: Sequence[nn.Parameter]) -> Restore:
    kept = [(p, p.grad, dict(getattr(p, "_post_accumulate_grad_hooks", None) or {})) for p in parameters]

    def restore() -> None:
        for parameter, grad, hooks in kept:
            parameter.grad = grad
            if hooks:
                parameter._post_accumulate_grad_hooks.update(hooks)

    return restore


def _buffers(modules: Sequence[nn.Module]) -> Restore:
    kept = [
        (module, name, buffer, None if buffer is None else buffer.detach().clone())
        for module in modules
        for name, buffer in module._buffers.items()
    ]

    def restore() -> None:
        for module, name, buffer, content in kept:
            module._buffers[name] = buffer
            # Compared by content: batch normalisation writes its statistics without a new version. And written only
            # if changed: a new version would spoil a graph of the user's that waits for its backward pass.
            if buffer is not None and content is not None and not _equal(buffer, content):
                _write(buffer, content)

    return restore


def _equal(a: Tensor, b: Tensor) -> bool:
    """Tell whether two tensors hold the same, nan included."""
    if torch.equal(a, b):
        return True
    return (
        a.shape == b.shape and a.is_floating_point() and torch.equal(a.isnan(), b.isnan()) and _equal_beside_nan(a, b)
    )


def _equal_beside_nan(a: Tensor, b: Tensor) -> bool:
    return bool(torch.equal(a.nan_to_num(0.0, None, None), b.nan_to_num(0.0, None, None)))


def _write(buffer: Tensor, content: Tensor) -> None:
    with torch.no_grad():
        if buffer.shape == content.shape:
            buffer.copy_(content)
        else:
            buffer.data = content


def _modes(modules: Sequence[nn.Module]) -> Restore:
    kept = [(module, module.training) for module in modules]

    def restore() -> None:
        for module, training in kept:
            if module.training != training:  # a module takes long to be set anything
                module.training = training

    return restore


def _refusal() -> Callable[..., None]:
    own = threading.get_ident()

    def refuse(optimizer: Optimizer, *_: object) -> None:
        if threading.get_ident() == own:  # other threads may train
            raise RuntimeError(
                f"compute_loss called {type(optimizer).__name__}.step(): it must only compute the loss. "
                "Hand the optimizer to examine(model, compute_loss, optimizer) instead"
            )

    return refuse
