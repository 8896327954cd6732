"""Numbers collected on their devices: reduced at once, or together with others where they are small, read once."""

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertow.measure.norms import fit_together, host_count_above, host_inner, host_norm, host_parts
from undertow.measure.reading import Label, Reading, index
from undertow.measure.to_host import Kind, real_by_kind, sent
from undertow.measure.together import SMALL_UP_TO, WAITING_UP_TO, Reduce, Waiting, can_wait, norms_of_small

FLOAT32_UP_TO = 2**20
"""Elements up to which a device's sums of squares are taken for right in float32."""

SMALLEST_SQUARED, LARGEST_SQUARED = 1e-14, 1e14
"""Norms between these have elements whose squares float32 holds, if there are a million of them or fewer."""


def squares_fit(norms: NDArray[Any] | float) -> bool:
    """Tell whether float32 could square what these norms were taken of.

    Example:
        >>> squares_fit(np.array([1e-3, 2.0])), squares_fit(0.0), squares_fit(np.inf)
        (True, False, False)
    """
    if isinstance(norms, float):  # asked of every light step
        return SMALLEST_SQUARED < norms < LARGEST_SQUARED
    return bool(np.all((norms > SMALLEST_SQUARED) & (norms < LARGEST_SQUARED)))


class Meter:
    """Collects numbers: those of large tensors on the host at once, others together, so that nobody waits for a device.

    Args:
        precise: accumulate in float64, where the device has it, whatever the size: float32 can't hold the squares of
            numbers under 1e-19. (Large tensors always are: see `FLOAT32_UP_TO`.) On the host it makes no difference,
            as there each norm is taken again if its squares were lost.
        count_nonfinite: count inf and nan at every Site. A norm already tells whether there are any.
        inflow: look at what comes into layers and activations, too, as theory wants to know it.
        verify: hold what autograd passes on against what weights and derivatives say; else it is taken for right.
        lasting: parameters are neither changed nor freed before `settle`, so that norms of small ones may wait.

    Attributes:
        exact: whether all norms so far are right whatever the range of their squares: nothing lay on another device.
        gathers: small tensors on the host wait for others; of few operations it is less work to reduce each at once.

    Example:
        >>> meter = Meter()
        >>> meter.norm("received", 3, torch.tensor([3.0, 4.0]))
        >>> meter.note("rows", 3, 2)
        >>> reading = meter.read()
        >>> reading["received"].values, reading["rows"].values
        (array([5.]), array([2.]))
    """

    def __init__(
        self,
        precise: bool = False,
        count_nonfinite: bool = False,
        inflow: bool = False,
        verify: bool = True,
        lasting: bool = False,
    ) -> None:
        self.precise = precise
        self.count_nonfinite = count_nonfinite
        self.inflow = inflow
        self.verify = verify
        self.lasting = lasting
        self.exact = self.gathers = True
        self._taken: dict[Kind, tuple[list[Label], list[Tensor]]] = {}
        self._labels: list[Label] = []
        self._noted: list[float] = []
        self._on_host = Waiting()
        self._waiting: list[tuple[Label, Tensor]] = []
        self._counted: list[tuple[Label, Tensor, float]] = []
        self._pairs: list[tuple[int, Tensor, Tensor]] = []
        self._weighed: list[tuple[Label, int, Tensor]] = []
        self._size = 0
        self._weights: dict[int, Tensor | float] = {}
        self._last: tuple[Tensor | None, int, float] = (None, 0, 0.0)

    def take(self, name: str, place: int, value: Tensor) -> None:
        """Keep a 0-d tensor for later."""
        labels, values = self._group(value)
        labels.append((name, place))
        values.append(value)

    def take_each(self, labels: Sequence[Label], values: Sequence[Tensor | float]) -> None:
        """Keep many, of whatever device and precision."""
        known = [value for value in values if type(value) is float]
        if len(known) == len(values):  # as on the host
            self.note_each(labels, known)
            return
        for (name, place), value in zip(labels, values, strict=True):
            if isinstance(value, Tensor):
                self.take(name, place, value)
            else:
                self.note(name, place, value)

    def take_all(self, labels: Sequence[Label], values: Sequence[Tensor]) -> None:
        """Keep many of one device and precision."""
        if values:
            mine, kept = self._group(values[0])
            mine += labels
            kept += values

    def _group(self, value: Tensor) -> tuple[list[Label], list[Tensor]]:
        kind = value.device, value.dtype
        group = self._taken.get(kind)
        if group is None:
            group = self._taken[kind] = ([], [])
        return group

    def note(self, name: str, place: int, value: float) -> None:
        """Keep a number that the host knows already."""
        self._labels.append((name, place))
        self._noted.append(value)

    def note_each(self, labels: Sequence[Label], values: Sequence[float]) -> None:
        """Keep many numbers that the host knows already."""
        self._labels += labels
        self._noted += values

    def can_wait(self, x: Tensor) -> bool:
        """Tell whether a tensor is to wait for others, to be reduced `together` with them."""
        return self.gathers and can_wait(x)

    def together(self, reduce: Reduce, how: Hashable, of: object, *tensors: Tensor) -> None:
        """Have tensors reduced together with others alike, when enough of them wait: see `Waiting.add`."""
        self._on_host.add(reduce, how, of, *tensors)
        self._take_if_many()

    def norm(self, name: str, place: int, x: Tensor) -> float | None:
        """Take the Euclidean norm of a tensor and return it; None of a small one, held until many are taken at once."""
        if self.can_wait(x):
            self._on_host.norm((name, place), x)
            self._take_if_many()
            return None
        if x.is_cpu:
            last, version, known = self._last
            found = known if x is last and x._version == version else host_norm(x)
            self._labels.append((name, place))
            self._noted.append(found)
            return found
        self.exact = False
        size = x.numel()
        if size <= SMALL_UP_TO:
            self._waiting.append(((name, place), x))
            self._wait(size)
            return None
        x = torch.view_as_real(x) if x.is_complex() else x
        self.take(name, place, torch.linalg.vector_norm(x, dtype=self._accumulator(x, size)))
        return None

    def norm_to_be_received(self, name: str, place: int, x: Tensor) -> None:
        """Take the norm of a tensor on the host that the next Site, most likely, receives: it is taken once."""
        self.norm(name, place, x)
        self._last = x, x._version, self._noted[-1]

    def arrivals(self, arrived: Sequence[tuple[int, Tensor, Tensor]]) -> None:
        """Take the norm of what came along each edge, and its product with the sum that it became part of.

        Args:
            arrived: edge, what came along it, and the sum.
        """
        total = arrived[0][2]
        edges, parts = [edge for edge, _, _ in arrived], [part for _, part, _ in arrived]
        large = total.is_cpu and not self.can_wait(total)
        if large and all(each is total for _, _, each in arrived) and fit_together(parts, total):
            norms, inners, length = host_parts(parts, total)
            self._last = total, total._version, length
            for edge, norm, inner in zip(edges, norms, inners, strict=True):
                self.note("contribution", edge, norm)
                self.note("inner", edge, inner)
            return
        for edge, part, its in arrived:
            self.norm("contribution", edge, part)
            self.inner("inner", edge, part, its)

    def norm_of_all(self, name: str, place: int, many: Sequence[Tensor]) -> None:
        """Take the Euclidean norm of several tensors together."""
        if all(x.is_cpu for x in many):
            self.note(name, place, math.hypot(*map(host_norm, many)))
        else:
            self.take(name, place, torch.stack(torch._foreach_norm(list(many))).norm())

    def count_above(self, name: str, place: int, x: Tensor, threshold: float) -> None:
        """Count the elements above a threshold, twice, and those that equal it, once. A small tensor is held meanwhile.

        Sign and sum: on CPU many times as fast as to compare and count, which goes by way of bool.
        """
        if x.is_cpu:
            self.note(name, place, host_count_above(x, threshold))
            return
        size = x.numel()
        if size <= SMALL_UP_TO:
            self._counted.append(((name, place), x, threshold))
            self._wait(size)
            return
        above_less_below = x.sub(threshold).sign_().sum(dtype=_exact(x))
        self.take(name, place, above_less_below.add_(size))

    def agreement(self, place: int, expected: Tensor, arrived: Tensor) -> None:
        """Take what <expected, arrived> follows from: the norms of both and of their difference."""
        if arrived.is_cpu or arrived.numel() > SMALL_UP_TO:
            self._take_agreements([(place, expected, arrived)])
            return
        self._pairs.append((place, expected, arrived))
        self._wait(2 * arrived.numel())

    def inner(self, name: str, place: int, x: Tensor, y: Tensor) -> None:
        """Take <x, y>, of complex tensors the real part."""
        if self.can_wait(x) and self.can_wait(y) and x.shape == y.shape:
            self._on_host.inner((name, place), x, y)
            self._take_if_many()
            return
        if x.is_cpu and y.is_cpu:
            self.note(name, place, host_inner(x, y))
            return
        if x.is_complex() or y.is_complex():
            x, y = (torch.view_as_real(each.to(torch.promote_types(x.dtype, y.dtype))) for each in (x, y))
        wide = self._accumulator(x, x.numel()) or x.dtype
        self.take(name, place, torch.dot(x.reshape(-1).to(wide), y.reshape(-1).to(wide)))

    def weight_norm(self, name: str, place: int, weight: Tensor, identity: int | None) -> None:
        """Take ||W||_F; of a parameter, known by its ``id``, only the first time it is asked for.

        Unless parameters are `lasting`, it doesn't wait: one may be changed in place before it is taken, and a sharded
        one be freed.
        """
        known = None if identity is None else self._weights.get(identity)
        waits = self.lasting and (self.can_wait(weight) or (not weight.is_cpu and weight.numel() <= SMALL_UP_TO))
        if known is None and identity is not None and waits:
            self._weighed.append(((name, place), identity, weight))
            return
        if known is None and weight.is_cpu:
            known = host_norm(weight)
            if identity is not None:
                self._weights[identity] = known
        if known is None:
            weight = torch.view_as_real(weight) if weight.is_complex() else weight
            known = torch.linalg.vector_norm(weight, dtype=self._accumulator(weight, weight.numel()))
            if identity is not None:
                self._weights[identity] = known
        self.take_each([(name, place)], [known])

    def known_norm(self, identity: int) -> Tensor | float | None:
        """||W||_F of a parameter, by ``id``, if it was taken."""
        return self._weights.get(identity)

    def forget(self) -> None:
        """Let go of everything that was taken: the pass that it was of came to no end."""
        for each in (
            self._taken,
            self._labels,
            self._noted,
            self._on_host,
            self._waiting,
            self._counted,
            self._pairs,
            self._weighed,
            self._weights,
        ):
            each.clear()
        self._size, self._last = 0, (None, 0, 0.0)

    def read(self) -> Reading:
        """Everything taken and noted. One transfer for each device and precision."""
        return self.send()()

    def send(self) -> Callable[[], Reading]:
        """Start the transfers; what is returned waits for them and gives what `read` gives, on any thread."""
        self.settle()
        noted = index(tuple(self._labels)), list(self._noted)
        coming = [(index(tuple(labels)), sent(values)) for labels, values in self._taken.values()]
        return lambda: Reading.of([noted, *((labels, values()) for labels, values in coming)])

    def settle(self) -> None:
        """Take what waits: before weights are changed in place, or anything else that was handed in."""
        self._last = None, 0, 0.0
        if self._on_host.size or self._pairs or self._weighed or self._waiting or self._counted:
            with torch.no_grad():
                self._settle()

    def _settle(self) -> None:
        if self._on_host.size:
            self._on_host.take(self.note_each)
        pairs, self._pairs = self._pairs, []
        self._take_agreements(pairs)
        self._take_weights()
        waiting, self._waiting, self._size = self._waiting, [], 0
        for labels, tensors in real_by_kind(waiting):
            self.take_all(labels, torch._foreach_norm(tensors, 2, self._accumulator(tensors[0], 0)))
        self._take_counts()

    def _take_if_many(self) -> None:
        if self._on_host.size > WAITING_UP_TO:
            with torch.no_grad():  # parameters are measured where gradients are on, and saved results still wait then
                self._on_host.take(self.note_each)

    def _wait(self, size: int) -> None:
        self._size += size
        if self._size > WAITING_UP_TO:
            self.settle()

    def _take_weights(self) -> None:
        weighed, self._weighed = self._weighed, []
        if not weighed:
            return
        new = {identity: weight for _, identity, weight in weighed if identity not in self._weights}
        self._weights.update(norms_of_small(new.items()))
        for identities, weights in real_by_kind((i, weight) for i, weight in new.items() if i not in self._weights):
            norms = torch._foreach_norm(weights, 2, self._accumulator(weights[0], 0))
            self._weights.update(zip(identities, norms, strict=True))
        self.take_each([label for label, _, _ in weighed], [self._weights[identity] for _, identity, _ in weighed])

    def _take_counts(self) -> None:
        counted, self._counted = self._counted, []
        if not counted:
            return
        thresholds = {label: threshold for label, _, threshold in counted}
        for labels, tensors in real_by_kind((label, x) for label, x, _ in counted):
            signs = torch._foreach_sub(tensors, [thresholds[label] for label in labels])
            torch._foreach_sign_(signs)
            torch._foreach_add_(signs, 1)
            self.take_all(labels, torch._foreach_norm(signs, 1, _exact(signs[0])))

    def _take_agreements(self, pairs: Sequence[tuple[int, Tensor, Tensor]]) -> None:
        for place, expected, arrived in pairs:
            self.norm("expected", place, expected)
            self.norm("arrived", place, arrived)
            self.norm("differing", place, expected - arrived)

    def _accumulator(self, x: Tensor, size: int) -> torch.dtype | None:
        """Return the type to sum squares in; None for the tensor's own precision."""
        if (self.precise or size > FLOAT32_UP_TO) and x.device.type != "mps":
            return torch.float64
        return _exact(x)


def _exact(x: Tensor) -> torch.dtype | None:
    """Return the type to add up in; None for the tensor's own precision."""
    return None if x.dtype in (torch.float32, torch.float64) else torch.float32
