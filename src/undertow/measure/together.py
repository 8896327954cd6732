"""Small tensors on the host: they wait for others, and are reduced with them at once.

To call torch for each of them takes ten times as long as the arithmetic.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from undertow.measure.norms import LARGEST, SMALLEST, host_norm, host_norms
from undertow.measure.reading import Label

SMALL_UP_TO = 2**12
"""Elements up to which calling torch costs more than the arithmetic: such tensors wait, and are reduced together."""

WAITING_UP_TO = 2**16
"""Elements that may wait. They are all that is held of a pass: 256 kB in float32."""

MANY_NORMS = 32
"""Tensors from which on it is less work to put them side by side than to have torch take the norm of each."""

L = TypeVar("L")

_KINDS = frozenset({torch.float32, torch.float64})
_TYPES = frozenset({Tensor, nn.Parameter})
"""Other kinds of tensors may not lie where they say, or be no longer there when it is their turn."""

Note = Callable[[Sequence[Label], Sequence[float]], None]
"""Takes numbers, each under its label."""


def can_wait(x: Tensor) -> bool:
    """Tell whether a tensor is one of those that are reduced together.

    Example:
        >>> can_wait(torch.zeros(3, 4)), can_wait(torch.zeros(3, dtype=torch.bfloat16))
        (True, False)
    """
    return 0 < x.numel() <= SMALL_UP_TO and in_numpy(x)


def in_numpy(x: Tensor) -> bool:
    """Tell whether a tensor's numbers lie in the host's memory as NumPy takes them.

    Example:
        >>> in_numpy(torch.zeros(3, 4)), in_numpy(torch.zeros(3, dtype=torch.bfloat16))
        (True, False)
    """
    return x.is_cpu and x.dtype in _KINDS and type(x) in _TYPES


class Reduced:
    """Takes what becomes of tensors that waited: numbers, or tensors of which the norm is wanted, all in one go.

    Args:
        note: takes the numbers.

    Example:
        >>> reduced = Reduced(lambda labels, values: print(labels, values))
        >>> reduced.norms([("a", 0), ("a", 1)], torch.tensor([[3e-30, 4e-30], [0.0, torch.inf]]))
        >>> reduced.norms([("b", 0)], torch.ones(1, 2, 2, dtype=torch.float64))
        >>> reduced.finish()
        [('a', 0), ('a', 1), ('b', 0)] [5.000000015855384e-30, inf, 2.0]
    """

    def __init__(self, note: Note) -> None:
        self.note = note
        self._labels: list[Label] = []
        self._sizes: list[int] = []
        self._flat: list[Tensor] = []

    def norms(self, labels: Sequence[Label], x: Tensor) -> None:
        """Take the Euclidean norm of each of several stacked tensors, [labels, ...], of one element or more."""
        self._labels += labels
        self._sizes += [x.numel() // len(labels)] * len(labels)
        self._flat.append(x.reshape(-1))

    def norms_of(self, labels: Sequence[Label], tensors: Sequence[Tensor]) -> None:
        """Take the Euclidean norm of each of several tensors, of one element or more."""
        self._labels += labels
        self._sizes += [x.numel() for x in tensors]
        self._flat += [x.view(-1) if x.is_contiguous() else x.reshape(-1) for x in tensors]

    def finish(self) -> None:
        """Compute the norms."""
        if not self._flat:
            return
        flat = torch.cat(self._flat)
        found = np.sqrt(sums(flat.double().square(), self._sizes))
        if flat.dtype is torch.float64 and not ((found >= SMALLEST**9) & (found <= LARGEST**9)).all():
            found = np.array([host_norm(each) for each in flat.split(self._sizes)])
        self.note(self._labels, found.tolist())


Reduce = Callable[[Any, list[Any], list[Tensor], Reduced], None]
"""What is done with tensors alike: how, what each of them is of, the tensors stacked along a new first dimension."""


class Waiting:
    """Tensors that wait.

    Attributes:
        size: elements that wait.
    """

    def __init__(self) -> None:
        self.size = 0
        self._groups: dict[Hashable, tuple[Reduce, Any, list[Any], list[list[Tensor]]]] = {}
        self._labels: list[Label] = []
        self._tensors: list[Tensor] = []
        self._pairs: list[tuple[Label, Tensor, Tensor]] = []

    def norm(self, label: Label, x: Tensor) -> None:
        """Let a tensor wait until its norm is taken."""
        self._labels.append(label)
        self._tensors.append(x)
        self.size += x.numel()

    def inner(self, label: Label, x: Tensor, y: Tensor) -> None:
        """Let two tensors of one shape wait until their inner product is taken."""
        self._pairs.append((label, x, y))
        self.size += 2 * x.numel()

    def add(self, reduce: Reduce, how: Hashable, of: object, *tensors: Tensor) -> None:
        """Let tensors wait that belong to one thing, until they are stacked with others of the same shapes.

        Args:
            reduce: what will be done with them.
            how: handed to it; what is done in another way isn't done together.
            of: what they belong to, handed to it, too.
            tensors: of which `can_wait` is true; nobody changes them meanwhile.
        """
        key = (reduce, how, *[(x.shape, x.dtype) for x in tensors])
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = (reduce, how, [], [[] for _ in tensors])
        group[2].append(of)
        for column, x in zip(group[3], tensors):  # noqa: B905  # one for each, on the way of every gradient
            column.append(x)
            self.size += x.numel()

    def take(self, note: Note) -> None:
        """Reduce everything that waits, where no gradients are computed.

        Args:
            note: takes the numbers.
        """
        reduced = Reduced(note)
        for reduce, how, of, columns in self._groups.values():
            reduce(how, of, [torch.stack(column) for column in columns], reduced)
        if len(self._tensors) < MANY_NORMS:
            note(self._labels, host_norms(self._tensors))
        else:
            reduced.norms_of(self._labels, self._tensors)
        reduced.finish()
        if self._pairs:
            labels, xs, ys = zip(*self._pairs, strict=True)
            flat = (torch.cat([x.reshape(-1) for x in each]).double() for each in (xs, ys))
            note(labels, sums(next(flat) * next(flat), [x.numel() for x in xs]).tolist())
        self.clear()

    def clear(self) -> None:
        """Let go of everything that waits."""
        for each in (self._groups, self._labels, self._tensors, self._pairs):
            each.clear()
        self.size = 0


@torch.no_grad()
def norms_of_small(labelled: Iterable[tuple[L, Tensor]]) -> dict[L, float]:
    """Return the norm of each tensor that `can_wait`; others are left out.

    Example:
        >>> norms_of_small([("a", torch.tensor([3.0, 4.0])), ("b", torch.zeros(3).half()), ("c", torch.zeros(3))])
        {'a': 5.0, 'c': 0.0}
    """
    many = [(name, x) for name, x in labelled if can_wait(x)]
    if len(many) < MANY_NORMS:
        return dict(zip([name for name, _ in many], host_norms([x for _, x in many]), strict=True))
    norms: list[float] = []
    waiting = Waiting()
    for place, (_, x) in enumerate(many):
        waiting.norm(("", place), x)
        if waiting.size > WAITING_UP_TO:
            waiting.take(lambda _, values: norms.extend(values))
    waiting.take(lambda _, values: norms.extend(values))
    return dict(zip([name for name, _ in many], norms, strict=True))


def sums(flat: Tensor, sizes: Sequence[int]) -> NDArray[np.float64]:
    """Add up neighbours.

    Args:
        flat: float64, on the host.
        sizes: how many belong together, one or more, from the first on.

    Example:
        >>> sums(torch.tensor([1.0, 2.0, 3.0]).double(), [2, 1])
        array([3., 3.])
    """
    found: NDArray[np.float64] = np.add.reduceat(flat.numpy(), [0, *accumulate(sizes[:-1])])
    return found


def counts_above(x: Tensor, thresholds: list[float]) -> list[float]:
    """Count, in each of several stacked tensors, the elements above its threshold twice, and those that equal it once.

    Example:
        >>> counts_above(torch.tensor([[0.0, 1.0, 2.0], [0.0, 0.0, 3.0]]), [1.0, 2.0])
        [3.0, 2.0]
    """
    flat = x.flatten(1)
    above_less_below = flat.sub(torch.tensor(thresholds, dtype=x.dtype)[:, None]).sign_().sum(1)
    counts: list[float] = above_less_below.add_(flat.shape[1]).tolist()
    return counts
