"""What an optimizer's step did to the weights, from a sample of them: no second copy of a model is kept.

From a large parameter short runs of weights are taken at equal distances, which share no factor with the length of a
row: so all rows and all columns are met alike, and of an embedding, of which a step touches some rows only, every row
is. At least `WEIGHTS` are taken, and at least one of each row; of a small parameter all. A sampled step's norm is off
by a few percent (4 % with 4,096 weights), a small parameter's is exact.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from undertow.measure import sent
from undertow.watching.members import local

WEIGHTS = 4096
RUN, FEWEST = 16, 4
"""Neighbours to take together: memory comes in lines of so many."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which weights of a parameter are taken: runs of ``run``, from one's start to the next ``step``; all if 0."""

    run: int
    step: int


def pattern(shape: Sequence[int]) -> Pattern:
    """The pattern for a parameter of this shape.

    Example:
        >>> pattern((30, 10)), pattern((256, 256)), pattern((50_000, 768))
        (Pattern(run=0, step=0), Pattern(run=16, step=255), Pattern(run=4, step=767))
    """
    size, rows = math.prod(shape), shape[0] if len(shape) > 1 else 1
    wanted = max(WEIGHTS, rows)
    if size < 2 * wanted:
        return Pattern(0, 0)
    run = max(FEWEST, min(RUN, wanted // rows))
    step, row = size // max(wanted // run, rows), size // rows
    while len(shape) > 1 and step > run and math.gcd(step, row) != 1:
        step -= 1
    return Pattern(run, step)


def sample(parameter: Tensor, chosen: Pattern) -> Tensor:
    """The weights taken, [runs, run] or [weights]: a view wherever there can be one."""
    x = local(parameter.detach())
    if x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        x = x.permute(0, 2, 3, 1)
    flat = x.reshape(-1)
    return flat.unfold(0, chosen.run, chosen.step) if chosen.step else flat


Moved = dict[int, tuple[float, float]]
"""Of every parameter, by its place: ||dw|| and <g, dw>."""


class Step:
    """One step of an optimizer, as a sample of the weights tells it.

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
        >>> w.grad = torch.tensor([3.0, 4.0])
        >>> step = Step([w])
        >>> with torch.no_grad():
        ...     _ = w.sub_(w.grad, alpha=0.5)
        >>> step.finish()()
        {0: (2.5, -12.5)}
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._batches: list[_Batch] = []
        kinds: dict[tuple[torch.device, torch.dtype, int], list[tuple[int, Tensor, Pattern]]] = {}
        for place, p in enumerate(parameters):
            mine = local(p)
            if p.grad is not None and p.grad.layout is torch.strided and mine.numel():
                chosen = pattern(mine.shape)
                kinds.setdefault((mine.device, mine.dtype, chosen.run), []).append((place, p, chosen))
        for (device, _, run), members in kinds.items():
            self._batches.append(_Batch(device, run, members))

    def finish(self) -> Callable[[], Moved]:
        """The step was taken. What is returned waits for the numbers."""
        coming = [batch.finish() for batch in self._batches]
        self._batches.clear()

        def arrived() -> Moved:
            return {place: pair for batch in coming for place, pair in batch().items()}

        return arrived


class _Batch:
    """Parameters of one device and kind, whose samples lie side by side."""

    def __init__(self, device: torch.device, run: int, members: list[tuple[int, Tensor, Pattern]]) -> None:
        self._members = members
        before = [sample(p, chosen) for _, p, chosen in members]
        self._lengths = [len(each) for each in before]
        self._before = torch.cat(before)
        self._gradients = torch.cat([sample(p.grad, chosen) for _, p, chosen in members if p.grad is not None])
        self._device, self._run = device, run

    def finish(self) -> Callable[[], Moved]:
        moved = torch.cat([sample(p, chosen) for _, p, chosen in self._members])
        if moved.dtype not in (torch.float32, torch.float64):
            moved, self._before = moved.float(), self._before.float()
        moved = moved.sub_(self._before)
        inner = self._sums(self._gradients.to(moved.dtype).mul_(moved))
        squares = self._sums(moved.mul_(moved))
        share = [
            local(p).numel() / (n * max(self._run, 1))
            for n, (_, p, _) in zip(self._lengths, self._members, strict=True)
        ]
        places, coming = [place for place, _, _ in self._members], sent([torch.cat([squares, inner])])

        def arrived() -> Moved:
            values = coming()
            half = len(places)
            return {
                place: ((values[0][n] * share[n]) ** 0.5, values[0][half + n] * share[n])
                for n, place in enumerate(places)
            }

        return arrived

    def _sums(self, values: Tensor) -> Tensor:
        """Of each parameter, [parameters]."""
        if values.dim() == 2:
            values = values.sum(1)
        lengths = torch.tensor(self._lengths, device=self._device)
        return torch.segment_reduce(values, "sum", lengths=lengths, unsafe=True)
