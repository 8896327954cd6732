"""Which module an operation ran in, from the numbers that autograd gives its Nodes.

A module's forward pre-hook and forward hook bracket the sequence numbers of the Nodes born inside it. The numbers
are counted per thread, so windows are kept per thread.
"""

import itertools
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle


@dataclass
class Window:
    """The Nodes born during one call of a module: sequence numbers from ``start`` up to, not with, ``stop``."""

    module: str
    module_type: str
    start: int
    stop: int = -1
    depth: int = 0


OUTSIDE = Window("", "", 0)


@dataclass
class Windows:
    """Brackets every call of every module of a model while it is open.

    A call that ends with an exception leaves no window, and neither does one after `close`: checkpointing calls
    modules again during the backward pass, and stops in the middle of them.
    """

    model: nn.Module
    unroll: bool = False
    _found: dict[int, list[Window]] = field(default_factory=lambda: defaultdict(list))
    _open: dict[int, list[tuple[Window, Any]]] = field(default_factory=lambda: defaultdict(list))
    _handles: list[RemovableHandle] = field(default_factory=list)
    _local: threading.local = field(default_factory=threading.local)
    _threads: Iterator[int] = field(default_factory=itertools.count)

    def open(self) -> None:
        """Hook the modules."""
        for name, module in self.model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue  # takes no hooks; what runs inside is named by the module around it
            self._hook(name.replace("_orig_mod.", "").removesuffix("_orig_mod"), module)

    def close(self) -> None:
        """Take the hooks off the modules; what was found stays."""
        while self._handles:
            self._handles.pop().remove()

    def _thread(self) -> int:
        """A number for this thread. Its ident won't do: the next thread may get the same one."""
        if not hasattr(self._local, "number"):
            self._local.number = next(self._threads)
        number: int = self._local.number
        return number

    def _hook(self, name: str, module: nn.Module) -> None:
        kind = type(module).__name__
        fused = self.unroll and isinstance(module, nn.RNNBase)

        def enter(*_: object) -> None:
            stack = self._open[self._thread()]
            window = Window(name, kind, torch._C._autograd._get_sequence_nr(), depth=len(stack))
            stack.append((window, _forbid_fused_kernels() if fused else None))

        def leave(*_: object) -> None:
            thread = self._thread()
            stack = self._open[thread]
            while stack:
                window, allow = stack.pop()
                if allow is not None:
                    allow()
                if window.module == name:
                    window.stop = torch._C._autograd._get_sequence_nr()
                    self._found[thread].append(window)
                    return

        # First in, last out: what the user's own hooks compute belongs to the module too (weight norm, pruning).
        self._handles.append(module.register_forward_pre_hook(enter, prepend=True))
        self._handles.append(module.register_forward_hook(leave))

    def abandon(self) -> None:
        """Put back what calls that never came to their end have changed."""
        for stack in self._open.values():
            while stack:
                _, allow = stack.pop()
                if allow is not None:
                    allow()

    @property
    def called(self) -> frozenset[str]:
        """Paths of the modules whose calls came to their end."""
        return frozenset(window.module for found in self._found.values() for window in found)

    def index(self) -> "WindowIndex":
        """For looking Nodes up."""
        return WindowIndex({thread: sorted(found, key=_outermost_first) for thread, found in self._found.items()})


class WindowIndex:
    """Looks up the innermost window around a Node."""

    def __init__(self, windows: dict[int, list[Window]]) -> None:
        self._runs = {thread: list(_flatten(found)) for thread, found in windows.items() if found}

    def candidates(self, number: int) -> dict[int, Window]:
        """The innermost window around a sequence number, by thread; more than one if several threads counted alike."""
        found = {thread: self._innermost(thread, number) for thread in self._runs}
        return {thread: window for thread, window in found.items() if window is not OUTSIDE}

    def _innermost(self, thread: int, number: int) -> Window:
        runs = self._runs[thread]
        low, high = 0, len(runs)
        while low < high:
            middle = (low + high) // 2
            if runs[middle][0] <= number:
                low = middle + 1
            else:
                high = middle
        return runs[low - 1][1] if low else OUTSIDE


def _outermost_first(window: Window) -> tuple[int, int]:
    return window.start, window.depth


def _flatten(windows: list[Window]) -> Iterator[tuple[int, Window]]:
    """From nested windows to the numbers at which the innermost one changes."""
    around: list[Window] = []
    for window in windows:
        while around and around[-1].stop <= window.start:
            yield from _ending(around)
        if window.start < window.stop:
            yield window.start, window
            around.append(window)
    while around:
        yield from _ending(around)


def _ending(around: list[Window]) -> Iterator[tuple[int, Window]]:
    ended = around.pop()
    yield ended.stop, around[-1] if around else OUTSIDE


def _forbid_fused_kernels() -> Any:
    """Let RNNs run step by step, so that every step is seen; returns what allows fused kernels again."""
    mkldnn, cudnn = torch._C._get_mkldnn_enabled(), torch._C._get_cudnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    torch._C._set_cudnn_enabled(False)

    def allow() -> None:
        torch._C._set_mkldnn_enabled(mkldnn)
        torch._C._set_cudnn_enabled(cudnn)

    return allow
