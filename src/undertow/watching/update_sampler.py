"""`UpdateSampler`: what an optimizer's step did to the weights, from a sample of them, without a copy of the model.

From a large parameter short runs of weights are taken at equal distances, which share no factor with the length of a
row: so all rows and all columns are met alike, and of an embedding, of which a step touches some rows only, every row
is. At least `WEIGHTS` are taken, and at least one of each row; of a small parameter all. A sampled step's norm is off
by a few percent (4 % with 4,096 weights), a small parameter's is exact.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertow.measure import Array, Part, host_products, index, sending

WEIGHTS = 4096
RUN, FEWEST = 16, 4
"""Neighbours to take together: memory comes in lines of so many."""


@dataclass(frozen=True, slots=True)
class SamplePattern:
    """The sampled weights of a parameter: runs of ``run``, from one's start to the next ``step``; all if 0."""

    run: int
    step: int

    def count(self, size: int) -> int:
        """Return how many weights are taken of so many."""
        return ((size - self.run) // self.step + 1) * self.run if self.step else size


def sample_pattern(shape: Sequence[int]) -> SamplePattern:
    """Return the pattern for a parameter of this shape.

    Example:
        >>> sample_pattern((30, 10)), sample_pattern((256, 256)), sample_pattern((50_000, 768))
        (SamplePattern(run=0, step=0), SamplePattern(run=16, step=255), SamplePattern(run=4, step=767))
    """
    size, rows = math.prod(shape), shape[0] if len(shape) > 1 else 1
    wanted = max(WEIGHTS, rows)
    if size < 2 * wanted:
        return SamplePattern(0, 0)
    run = max(FEWEST, min(RUN, wanted // rows))
    step, row = size // max(wanted // run, rows), size // rows
    while len(shape) > 1 and step > run and math.gcd(step, row) != 1:
        step -= 1
    return SamplePattern(run, step)


def sample(x: Tensor, chosen: SamplePattern) -> Tensor:
    """Return the weights taken, [runs, run], or all as they are: a view wherever there can be one."""
    if not chosen.step:
        return x
    if not x.is_contiguous():
        # Channels last is contiguous in another order: its view needs no copy.
        channels_last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
        x = x.permute(0, 2, 3, 1) if channels_last else x.contiguous()
    return x.as_strided(((x.numel() - chosen.run) // chosen.step + 1, chosen.run), (chosen.step, 1))


class UpdateSampler:
    """Samples the same parameters before and after a step, over and over, into the same memory.

    Args:
        weights: as they are now; what they are at a step is handed in then.
        places: numbers to call them by.

    Example:
        >>> from undertow.measure import Reading
        >>> w, gradient = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
        >>> sampler = UpdateSampler([w], [0])
        >>> sampler.weights_before([w])
        >>> sampler.gradients_before([gradient])
        >>> _ = w.sub_(gradient, alpha=0.5)
        >>> moved = Reading.of(arrived() for arrived in sampler.after([w]))
        >>> moved["step"].values, moved["ascent"].values
        (array([2.5]), array([-12.5]))
    """

    def __init__(self, weights: Sequence[Tensor], places: Sequence[int]) -> None:
        self._kinds = _kinds(weights)
        groups: dict[tuple[torch.device, torch.dtype], list[int]] = {}
        for at, w in enumerate(weights):
            if w.numel():
                groups.setdefault((w.device, _wide(w.dtype)), []).append(at)
        self._batches = [
            _Batch(kind, at, [places[n] for n in at], [weights[n] for n in at])
            for kind, members in groups.items()
            for at in [sorted(members, key=lambda n: _sampled(weights[n]))]
        ]

    def fits(self, weights: Sequence[Tensor]) -> bool:
        """Tell whether these are still of the shapes and kinds that it was made for."""
        return _kinds(weights) == self._kinds

    def weights_before(self, weights: Sequence[Tensor]) -> None:
        """Keep a sample of the weights: a step is about to be taken."""
        for batch in self._batches:
            batch.keep(1, weights)

    def gradients_before(self, gradients: Sequence[Tensor]) -> None:
        """Keep a sample of the gradients that the step is taken with."""
        for batch in self._batches:
            batch.keep(2, gradients)

    def after(self, weights: Sequence[Tensor]) -> list[Callable[[], Part]]:
        """Compare with the weights after the step.

        Returns:
            What waits for ``step``, ||dw||, and ``ascent``, <g, dw>, of each parameter.
        """
        return [batch.after(weights) for batch in self._batches]


def _kinds(weights: Sequence[Tensor]) -> list[tuple[object, ...]]:
    return [(w.shape, w.dtype, w.device) for w in weights]


def _sampled(weight: Tensor) -> int:
    """Return how many numbers are taken of a parameter."""
    w = _real(weight)
    return sample_pattern(w.shape).count(w.numel())


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype in (torch.float64, torch.complex128) else torch.float32


class _Batch:
    """Parameters of one device and precision, whose samples lie side by side, in the order of their sizes."""

    def __init__(
        self, kind: tuple[torch.device, torch.dtype], at: list[int], places: list[int], weights: list[Tensor]
    ) -> None:
        device, dtype = kind
        self._complex = any(w.is_complex() for w in weights)
        weights = [_real(w) for w in weights]
        self._members = [(n, sample_pattern(w.shape)) for n, w in zip(at, weights, strict=True)]
        self._index = index(tuple((name, place) for name in ("step", "ascent") for place in places))
        samples = [sample(w, chosen) for w, (_, chosen) in zip(weights, self._members, strict=True)]
        sizes = [each.numel() for each in samples]
        self._memory = torch.empty((3, sum(sizes)), dtype=dtype, device=device)
        self._rooms = [
            [room.view(s.shape) for room, s in zip(row.split(sizes), samples, strict=True)] for row in self._memory
        ]
        self._lengths = torch.tensor(2 * sizes, device=device)
        self._pairs = _stacked(self._memory.numpy()[::2], sizes) if self._memory.is_cpu else []
        self._share = np.array([w.numel() / n for w, n in zip(weights, sizes, strict=True)])

    def keep(self, row: int, tensors: Sequence[Tensor]) -> None:
        torch._foreach_copy_(self._rooms[row], self._taken(tensors))

    def after(self, weights: Sequence[Tensor]) -> Callable[[], Part]:
        moved, before, _ = self._memory
        torch._foreach_copy_(self._rooms[0], self._taken(weights))
        moved.sub_(before)
        if moved.is_cpu:
            found = self._index, self._on_host()
            return lambda: found
        return self._sent()

    def _on_host(self) -> Array:
        """Return the norms of the steps, and their products with the gradients: nobody waits for them here."""
        norms, ascents = host_products(self._pairs)
        return np.concatenate((norms * np.sqrt(self._share), ascents * self._share))

    def _sent(self) -> Callable[[], Part]:
        """Start to send the same from another device, summed up in as few calls as there can be."""
        moved, inner, gradient = self._memory
        torch.mul(moved, gradient, out=inner)
        moved.mul_(moved)
        sums = torch.segment_reduce(self._memory[:2].view(-1), "sum", lengths=self._lengths, unsafe=True)
        coming, labels, share = sending(sums), self._index, self._share

        def arrived() -> Part:
            values = coming().astype(np.float64).reshape(2, -1) * share
            np.sqrt(values[0], out=values[0])
            return labels, values.reshape(-1)

        return arrived

    def _taken(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        if self._complex:
            return [sample(_real(tensors[n]), chosen) for n, chosen in self._members]
        return [sample(tensors[n], chosen) if chosen.step else tensors[n] for n, chosen in self._members]


def _real(x: Tensor) -> Tensor:
    return torch.view_as_real(x) if x.is_complex() else x


def _stacked(rows: NDArray[Any], sizes: Sequence[int]) -> list[NDArray[Any]]:
    """Cut rows of samples that lie side by side, as many samples at once as follow each other in one size.

    Returns:
        Views, each [rows, samples, size].
    """
    found, start = [], 0
    for size, alike in groupby(sizes):
        end = start + size * len(list(alike))
        found.append(rows[:, start:end].reshape(len(rows), -1, size))
        start = end
    return found
