"""Which module an operation ran in, from the numbers that autograd gives its Nodes.

A module's forward pre-hook and forward hook bracket the sequence numbers of the Nodes born inside it. The numbers
are counted per thread, so windows are kept per thread.
"""

import itertools
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn

from undertow.tape.copying import Hook


@dataclass(slots=True)
class Window:
    """The Nodes born during one call of a module: sequence numbers from ``start`` up to, not with, ``stop``."""

    module: str
    module_type: str
    start: int
    stop: int = -1
    depth: int = 0


OUTSIDE = Window("", "", 0)

_KEYS = itertools.count()
"""Numbers for our hooks among a module's own, which torch has numbers for, too: ours are words."""


@dataclass(slots=True)
class _ThreadCalls:
    """Keep one thread's calls under way, with what puts back what they changed, and those that have ended."""

    under_way: list[tuple[int, Window, Callable[[], None] | None]] = field(default_factory=list)
    ended: list[Window] = field(default_factory=list)


class Windows:
    """Brackets every call of every module of a model while it is open.

    A call that ends with an exception leaves no window, and neither does one after `close`: checkpointing calls
    modules again during the backward pass, and stops in the middle of them.

    Args:
        modules: by path.
        unroll: run RNN modules step by step.
    """

    def __init__(self, modules: Mapping[str, nn.Module], unroll: bool = False) -> None:
        self._hooked = [m for m in modules.values() if not isinstance(m, torch.jit.ScriptModule)]  # those take no hooks
        self._names = {id(module): (clean_path(name), type_name(module)) for name, module in modules.items()}
        self._fused = {id(m) for m in modules.values() if isinstance(m, nn.RNNBase)} if unroll else set()
        self._key: Any = f"undertow {next(_KEYS)}"
        self._local = threading.local()
        self._threads: list[_ThreadCalls] = []

    def open(self) -> None:
        """Hook the modules: by hand, as a handle for each hook would cost more than what the hook does."""
        enter, leave = Hook(self._enter), Hook(self._leave)
        for module in self._hooked:
            # First in, last out: what the user's own hooks compute belongs to the module too (weight norm, pruning).
            before = cast("OrderedDict[Any, Any]", module._forward_pre_hooks)
            before[self._key] = enter
            before.move_to_end(self._key, last=False)
            module._forward_hooks[self._key] = leave

    def close(self) -> None:
        """Take the hooks off the modules; what was found stays."""
        while self._hooked:
            module = self._hooked.pop()
            module._forward_pre_hooks.pop(self._key, None)
            module._forward_hooks.pop(self._key, None)

    def _calls(self) -> _ThreadCalls:
        """This thread's. Its ident would not do to tell it from others: the next thread may get the same one."""
        calls: _ThreadCalls | None = getattr(self._local, "calls", None)
        if calls is None:
            calls = self._local.calls = _ThreadCalls()
            self._threads.append(calls)
        return calls

    def _enter(self, module: nn.Module, _: object) -> None:
        if torch.compiler.is_compiling():  # a function that calls it: our own must not become part of that
            return
        place = id(module)
        known = self._names.get(place)
        if known is None:  # a copy made meanwhile, which has our hooks too
            return
        under_way = self._calls().under_way
        window = Window(*known, torch._C._autograd._get_sequence_nr(), depth=len(under_way))
        under_way.append((place, window, _forbid_fused_kernels() if place in self._fused else None))

    def _leave(self, module: nn.Module, *_: object) -> None:
        if torch.compiler.is_compiling():
            return
        place, calls = id(module), self._calls()
        if place not in self._names:
            return
        while calls.under_way:
            entered, window, allow = calls.under_way.pop()
            if allow is not None:
                allow()
            if entered == place:
                window.stop = torch._C._autograd._get_sequence_nr()
                calls.ended.append(window)
                return

    def abandon(self) -> None:
        """Put back what calls that never came to their end have changed."""
        for calls in self._threads:
            while calls.under_way:
                *_, allow = calls.under_way.pop()
                if allow is not None:
                    allow()

    @property
    def called(self) -> frozenset[str]:
        """Paths of the modules whose calls came to their end."""
        return frozenset(window.module for calls in self._threads for window in calls.ended)

    def index(self) -> "WindowIndex":
        """For looking Nodes up."""
        return WindowIndex([sorted(calls.ended, key=_outermost_first) for calls in self._threads])


_PARAMETRIZATION = ".parametrizations."


def clean_path(name: str) -> str:
    """Return a module's path without what torch.compile puts between.

    Example:
        >>> clean_path("_orig_mod.body.0._orig_mod"), clean_path("_orig_mod")
        ('body.0', '')
    """
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def type_name(module: object) -> str:
    """Return the name of a module's class, as its author called it: FSDP2 makes a class of its own of each, and so do
    parametrizations.

    Example:
        >>> class FSDPModule: ...
        >>> class Linear: ...
        >>> type_name(type("FSDPLinear", (FSDPModule, Linear), {})()), type_name(Linear())
        ('Linear', 'Linear')
    """
    kind = type(module)
    if kind.__name__ == f"Parametrized{kind.__bases__[0].__name__}" and hasattr(module, "parametrizations"):
        return kind.__bases__[0].__name__
    made = len(kind.__bases__) > 1 and kind.__bases__[0].__name__ == "FSDPModule"
    return (kind.__bases__[1] if made else kind).__name__


class WindowIndex:
    """Looks up the innermost window around a Node. Threads are numbered from 0."""

    def __init__(self, threads: Sequence[list[Window]]) -> None:
        self._threads = [_Innermost(found) for found in threads if found]
        self._parametrized = any(_PARAMETRIZATION in f".{each.module}." for found in threads for each in found)

    def candidates(self, number: int) -> dict[int, Window]:
        """The innermost window around a sequence number, by thread; more than one if several threads counted alike."""
        found = {thread: innermost.at(number) for thread, innermost in enumerate(self._threads)}
        return {thread: window for thread, window in found.items() if window is not OUTSIDE}

    def makes_weights(self, number: int) -> bool:
        """Tell whether a Node ran in a parametrization (of torch.nn.utils), which makes weights out of parameters."""
        if not self._parametrized:  # as most models are
            return False
        return any(_PARAMETRIZATION in f".{each.module}." for each in self.candidates(number).values())

    def only_thread(self) -> "_Innermost | None":
        """Return the thread that alone called modules, as a rule, so that there is nothing to choose between."""
        return self._threads[0] if len(self._threads) == 1 else None


class _Innermost:
    """Find the innermost of one thread's windows by sequence number."""

    def __init__(self, windows: list[Window]) -> None:
        changes = list(_flatten(windows))
        self._numbers = [number for number, _ in changes]
        self._windows = [OUTSIDE, *(window for _, window in changes)]

    def at(self, number: int) -> Window:
        return self._windows[bisect_right(self._numbers, number)]


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


def _forbid_fused_kernels() -> Callable[[], None]:
    """Let RNNs run step by step, so that every step is seen; returns what allows fused kernels again."""
    mkldnn, cudnn = torch._C._get_mkldnn_enabled(), torch._C._get_cudnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    torch._C._set_cudnn_enabled(False)

    def allow() -> None:
        torch._C._set_mkldnn_enabled(mkldnn)
        torch._C._set_cudnn_enabled(cudnn)

    return allow
