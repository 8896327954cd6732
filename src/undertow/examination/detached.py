"""Follow values that come from what learns and take no gradient themselves: no data, states cut off at each step."""

import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from undertow.examination.sources import users_line
from undertow.tape.graph import reached

Node = Any
Fact = dict[str, Any]

_CUTS = frozenset({"detach", "detach_", "__get__"})
_WRITES = frozenset({"__setitem__", "copy_"})

FEWEST_CUTS = 2
"""Cuts in a row, each of what follows from the one before: three steps of a loop, or more."""


class DetachedValues:
    """Follows, over a forward pass, values that take no gradient though they come from something that does.

    No tensor is changed, and none is kept alive but by the graph behind what was detached, until it is let go.

    Example:
        >>> import torch
        >>> w, values = torch.ones(2, requires_grad=True), DetachedValues()
        >>> x = w.detach()
        >>> values.look("detach", (w,), {}, x)
        >>> values.learned(x), values.learned(torch.ones(2))
        (True, False)
    """

    def __init__(self) -> None:
        self._learned: dict[int, weakref.ref[Tensor]] = {}
        self._after: dict[int, tuple[weakref.ref[Tensor], Mapping[str, int]]] = {}
        self._nodes: list[tuple[Node, Mapping[str, int]]] = []
        self._lines: set[str] = set()

    def look(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        """Take one call of a function of torch."""
        if type(out) is Tensor and out.requires_grad and not self._lines and name not in _WRITES:
            return  # as nearly always
        results = list(_tensors((out,)))
        if name in _WRITES and args and isinstance(args[0], Tensor):
            results.append(args[0])
        if not results or (not self._lines and all(each.requires_grad for each in results)):
            return
        given = list(_tensors((*args, *kwargs.values())))
        if any(each.requires_grad or self.learned(each) for each in given):
            for each in results:
                if not each.requires_grad:
                    self._learned[id(each)] = weakref.ref(each)
        cut = name in _CUTS and bool(given) and given[0].grad_fn is not None and not results[0].requires_grad
        if cut or self._lines:
            self._follow(given, results, users_line() if cut else "")

    def learned(self, tensor: Tensor) -> bool:
        """Tell whether a tensor without gradient was computed from what takes some."""
        known = self._learned.get(id(tensor))
        return known is not None and known() is tensor

    def fact(self, loss: Tensor) -> Fact:
        """Return how often in a row a state was detached in one line, none of which the loss gets to; {} if none was.

        Args:
            loss: that the pass ended in; its graph must not be freed yet.
        """
        depths: dict[str, int] = {}
        for _, lines in self._nodes:
            for line, depth in lines.items():
                depths[line] = max(depth, depths.get(line, 0))
        long = {line: depth for line, depth in depths.items() if depth > FEWEST_CUTS}
        if not long:
            return {}
        behind = set(reached(loss.grad_fn))
        heard = {line for node, lines in self._nodes if node in behind for line in lines if lines[line] < depths[line]}
        unheard = [(times, line) for line, times in long.items() if line not in heard]
        return {"times": max(unheard)[0], "source": max(unheard)[1]} if unheard else {}

    def _follow(self, given: Sequence[Tensor], results: Sequence[Tensor], line: str) -> None:
        """Note after how many cuts of each line the results come."""
        after: dict[str, int] = {}
        for each in given:
            known, lines = self._after.get(id(each), (None, {}))
            for name, depth in lines.items() if known is not None and known() is each else ():
                after[name] = max(depth, after.get(name, 0))
        if line:
            after[line] = after.get(line, 0) + 1
            self._lines.add(line)
        for each in results if after else ():
            self._after[id(each)] = weakref.ref(each), after
            if each.grad_fn is not None:
                self._nodes.append((each.grad_fn, after))


def _tensors(values: Iterable[Any]) -> Iterable[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
