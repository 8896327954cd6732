"""Numbers on their way from devices to the host: sorted by what can be sent together, and sent without waiting."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Kind = tuple[torch.device, torch.dtype]
L = TypeVar("L")


def by_kind(labelled: Iterable[tuple[L, Tensor]]) -> Iterable[tuple[list[L], list[Tensor]]]:
    """Sort labelled tensors by device and precision: what can be computed and sent together.

    Example:
        >>> [labels for labels, _ in by_kind([("a", torch.ones(1)), ("b", torch.tensor(2)), ("c", torch.ones(2))])]
        [['a', 'c'], ['b']]
    """
    many = list(labelled)
    kinds = [(x.device, x.dtype) for _, x in many]
    if kinds and kinds.count(kinds[0]) == len(kinds):  # as it is nearly always, at every light step
        return [([label for label, _ in many], [x for _, x in many])]
    groups: dict[Kind, tuple[list[L], list[Tensor]]] = {}
    for kind, (label, x) in zip(kinds, many, strict=True):
        labels, tensors = groups.setdefault(kind, ([], []))
        labels.append(label)
        tensors.append(x)
    return groups.values()


def real_by_kind(labelled: Iterable[tuple[L, Tensor]]) -> Iterable[tuple[list[L], list[Tensor]]]:
    """Sort labelled tensors as `by_kind` does, complex ones as pairs of real numbers.

    Example:
        >>> [tensors[0].shape for _, tensors in real_by_kind([("a", torch.ones(3, dtype=torch.complex64))])]
        [torch.Size([3, 2])]
    """
    for labels, tensors in by_kind(labelled):
        yield labels, list(map(torch.view_as_real, tensors)) if tensors[0].is_complex() else tensors


def sent(values: Sequence[Tensor]) -> Callable[[], NDArray[Any]]:
    """Send 0-d tensors of one device and precision to the host, as `sending` does.

    They are stacked at once: hundreds of small tensors that wait to be read keep the garbage collector busier than all
    the rest.

    Example:
        >>> sent([torch.tensor(2.0), torch.tensor(3.0)])()
        array([2., 3.], dtype=float32)
    """
    if not values:
        return _nothing
    packed = torch.stack(tuple(values))
    return sending(packed.float() if packed.dtype is torch.bfloat16 else packed)  # numpy knows no bfloat16


def _nothing() -> NDArray[Any]:
    return np.empty(0)


def sending(packed: Tensor) -> Callable[[], NDArray[Any]]:
    """Send a tensor that nobody changes to the host; what is returned waits for it, on any thread.

    Nobody waits here. A GPU copies into pinned memory and records an event behind it. Elsewhere there is nothing to
    wait for, or no such copy.
    """
    if packed.device.type != "cuda":
        return lambda: packed.cpu().numpy()
    host = torch.empty(packed.shape, dtype=packed.dtype, pin_memory=True)
    host.copy_(packed, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record(torch.cuda.current_stream(packed.device))

    def arrived() -> NDArray[Any]:
        copied.synchronize()
        return host.numpy()

    return arrived
