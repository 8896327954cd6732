"""Numbers collected on their devices: reduced at once, or together with others where they are small, read once."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

FLOAT32_UP_TO = 2**20
"""Elements up to which sums of squares are right to five digits in float32; at 50 million they are off by 0.4 %."""

SMALL_UP_TO = 2**12
"""Elements up to which calling torch costs more than the arithmetic: such norms wait, and are taken together."""

WAITING_UP_TO = 2**16
"""Elements that may wait. They are all that is held of a pass: 256 kB in float32."""

Label = tuple[str, int]
"""Of a number: its name, and the place of its Site, edge or parameter."""


class Meter:
    """Collects numbers that are still on their devices.

    Args:
        precise: accumulate in float64, where the device has it, whatever the size: float32 can't hold the squares of
            numbers under 1e-19. (Large tensors always are: see `FLOAT32_UP_TO`.)
        count_nonfinite: count inf and nan at every Site. A norm already tells whether there are any.
        inflow: look at what comes into layers and activations, too, as theory wants to know it.

    Example:
        >>> meter = Meter()
        >>> meter.norm("received", 3, torch.tensor([3.0, 4.0]))
        >>> meter.note("rows", 3, 2)
        >>> meter.read()
        {'rows': {3: 2.0}, 'received': {3: 5.0}}
    """

    def __init__(self, precise: bool = False, count_nonfinite: bool = False, inflow: bool = False) -> None:
        self.precise = precise
        self.count_nonfinite = count_nonfinite
        self.inflow = inflow
        self._taken: dict[tuple[torch.device, torch.dtype], list[tuple[Label, Tensor]]] = defaultdict(list)
        self._noted: dict[str, dict[int, float]] = defaultdict(dict)
        self._waiting: list[tuple[Label, Tensor]] = []
        self._pairs: list[tuple[int, Tensor, Tensor]] = []
        self._size = 0
        self._weights: dict[int, Tensor] = {}
        self._rooms: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def room(self, like: Tensor) -> Tensor:
        """A tensor to write to, of another's shape and kind. It is the same memory each time, unless it is small.

        Small ones wait, and need their own. For large ones the system would have to find new memory each time.
        """
        size = like.numel()
        if size <= SMALL_UP_TO or not like.is_contiguous():
            return torch.empty_like(like)
        room = self._rooms.get((like.device, like.dtype))
        if room is None or room.numel() < size:
            room = self._rooms[like.device, like.dtype] = torch.empty(size, dtype=like.dtype, device=like.device)
        return room[:size].view(like.shape)

    def take(self, name: str, place: int, value: Tensor) -> None:
        """Keep a 0-d tensor for later."""
        self._taken[value.device, value.dtype].append(((name, place), value))

    def note(self, name: str, place: int, value: float) -> None:
        """Keep a number that the host knows already."""
        self._noted[name][place] = float(value)

    def norm(self, name: str, place: int, x: Tensor) -> None:
        """Take the Euclidean norm of a tensor. A small one is held until many are taken at once."""
        size = x.numel()
        if size > SMALL_UP_TO:
            x = torch.view_as_real(x) if x.is_complex() else x
            self.take(name, place, torch.linalg.vector_norm(x, dtype=self._accumulator(x, size)))
            return
        self._waiting.append(((name, place), x))
        self._size += size
        if self._size > WAITING_UP_TO:
            self.settle()

    def agreement(self, place: int, expected: Tensor, arrived: Tensor) -> None:
        """Take what <expected, arrived> follows from: the norms of both and of their difference."""
        if arrived.numel() > SMALL_UP_TO:
            self._take_agreements([(place, expected, arrived)])
            return
        self._pairs.append((place, expected, arrived))
        self._size += 2 * arrived.numel()

    def inner(self, name: str, place: int, x: Tensor, y: Tensor) -> None:
        """Take <x, y>, of complex tensors the real part."""
        if x.is_complex() or y.is_complex():
            x, y = (torch.view_as_real(each.to(torch.promote_types(x.dtype, y.dtype))) for each in (x, y))
        wide = self._accumulator(x, x.numel()) or x.dtype
        self.take(name, place, torch.dot(x.reshape(-1).to(wide), y.reshape(-1).to(wide)))

    def weight_norm(self, name: str, place: int, weight: Tensor, identity: int | None) -> None:
        """Take ||W||_F; of a parameter, known by its ``id``, only the first time it is asked for.

        It does not wait: a weight may be changed in place before it is taken, and a sharded one be freed.
        """
        known = None if identity is None else self._weights.get(identity)
        if known is None:
            weight = torch.view_as_real(weight) if weight.is_complex() else weight
            known = torch.linalg.vector_norm(weight, dtype=self._accumulator(weight, weight.numel()))
            if identity is not None:
                self._weights[identity] = known
        self.take(name, place, known)

    def known_norm(self, identity: int) -> Tensor | None:
        """||W||_F of a parameter, by ``id``, if it was taken."""
        return self._weights.get(identity)

    def read(self) -> dict[str, dict[int, float]]:
        """Everything taken and noted, by name and place. One transfer for each device and precision."""
        return self.send()()

    def send(self) -> Callable[[], dict[str, dict[int, float]]]:
        """Start the transfers; what is returned waits for them and gives what `read` gives, on any thread."""
        self.settle()
        noted = self._noted
        coming = [
            (_one(tuple(label for label, _ in group)), sent([v for _, v in group])) for group in self._taken.values()
        ]

        def arrived() -> dict[str, dict[int, float]]:
            read: dict[str, dict[int, float]] = defaultdict(dict, {name: dict(by) for name, by in noted.items()})
            for labels, values in coming:
                for (name, place), value in zip(labels, values(), strict=True):
                    read[name][place] = value
            return dict(read)

        return arrived

    @torch.no_grad()
    def settle(self) -> None:
        """Take what waits: before weights are changed in place, or anything else that was handed in."""
        pairs, self._pairs = self._pairs, []
        self._take_agreements(pairs)
        waiting, self._waiting, self._size = self._waiting, [], 0
        by_kind: dict[tuple[torch.device, torch.dtype], tuple[list[Label], list[Tensor]]] = {}
        for label, x in waiting:
            labels, tensors = by_kind.setdefault((x.device, x.dtype), ([], []))
            labels.append(label)
            tensors.append(torch.view_as_real(x) if x.is_complex() else x)
        for labels, tensors in by_kind.values():
            norms = torch._foreach_norm(tensors, 2, self._accumulator(tensors[0], 0))
            self._taken[norms[0].device, norms[0].dtype] += zip(labels, norms, strict=True)

    def _take_agreements(self, pairs: Sequence[tuple[int, Tensor, Tensor]]) -> None:
        for place, expected, arrived in pairs:
            self.norm("expected", place, expected)
            self.norm("arrived", place, arrived)
            self.norm("differing", place, expected - arrived)

    def _accumulator(self, x: Tensor, size: int) -> torch.dtype | None:
        """What to sum squares in; None for the tensor's own precision."""
        if (self.precise or size > FLOAT32_UP_TO) and x.device.type != "mps":
            return torch.float64
        return None if x.dtype in (torch.float32, torch.float64) else torch.float32


@lru_cache(maxsize=64)
def _one(labels: tuple[Label, ...]) -> tuple[Label, ...]:
    """The same labels as those of the passes before, instead of more that wait with what they name."""
    return labels


def sent(values: Sequence[Tensor]) -> Callable[[], list[Any]]:
    """Send tensors of one shape, device and precision to the host; what is returned waits for them, on any thread.

    Nobody waits here. A GPU copies into pinned memory and records an event behind it. Elsewhere there is nothing to
    wait for, or no such copy. They are stacked at once: hundreds of small tensors that wait to be read keep the garbage
    collector busier than all the rest.

    Example:
        >>> sent([torch.tensor(2.0), torch.tensor(3.0)])()
        [2.0, 3.0]
    """
    if not values:
        return list
    packed = torch.stack(tuple(values))
    if packed.device.type != "cuda":
        return packed.tolist
    host = torch.empty(packed.shape, dtype=packed.dtype, pin_memory=True)
    host.copy_(packed, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record(torch.cuda.current_stream(packed.device))

    def arrived() -> list[float]:
        copied.synchronize()
        return host.tolist()

    return arrived
