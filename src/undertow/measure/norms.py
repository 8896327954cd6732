"""Norms and inner products on the host, in a tensor's own precision: right to five digits, whatever the numbers.

Summed up in float64, two million float32 numbers take ten times as long as in float32, which in turn loses digits over
long sums and can't hold the squares of what is very small or large. So sums are made in float32 over short stretches,
and only where the result says that squares may have been lost they are made again in float64, scaled.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

PIECE = 2**16
"""Neighbours whose squares are added up in float32: the root of the sum of so many equal ones has five right digits."""

PRODUCTS = 2**15
"""Neighbours whose products are: no root halves the error of their sum."""

LARGE_PIECE = 2**17
"""Neighbours that are worked on together where one operation follows on another, so that they stay in the caches."""

SMALLEST, LARGEST = 1e-15, 1e15
"""Norms between them have squares that float32 holds."""

LOST = 2.5e-17
"""Squares under 1e-38 don't change the fifth digit of a norm that is larger than this times the root of the count."""

SMALLEST_OF_PIECE = LOST * math.sqrt(PIECE)
"""The least such norm of as many as `PIECE`."""

FEW = 2**12
"""Elements up to which torch's norms of many tensors at once, of fewer sums side by side, are right to five digits."""

FEWEST = 3
"""Small tensors from which on to take their norms at once is less work."""

_ALL = slice(None)


def host_norm(x: Tensor) -> float:
    """Return the Euclidean norm of a tensor on the host; inf or nan if there are any.

    Args:
        x: strided, real or complex, of any precision and layout in memory; what is expanded is read once.

    Example:
        >>> host_norm(torch.tensor([3e-30, 4e-30])), host_norm(torch.ones(()).expand(16))
        (5.000000015855384e-30, 4.0)
    """
    if x.dtype is torch.float32 and x.numel() <= PIECE and x.is_contiguous():  # as most are
        flat = x if x.dim() == 1 else x.view(-1)
        found = math.sqrt(torch.dot(flat, flat).item())
        return found if SMALLEST_OF_PIECE <= found <= LARGEST else _norm(flat)
    flat, times = _flat(_real(x))
    found = _norm(flat) if flat.dtype.itemsize > 2 else math.hypot(*(_norm(piece.float()) for piece in _pieces(flat)))
    return found if times == 1 else found * math.sqrt(times)


def host_norms(xs: Sequence[Tensor]) -> list[float]:
    """Return the Euclidean norm of each of several tensors on the host, as `host_norm` does.

    Example:
        >>> host_norms([torch.tensor([3.0, 4.0]), torch.tensor([3e-30, 4e-30]), torch.zeros(0), torch.ones(4)])
        [5.0, 5.000000015855384e-30, 0.0, 2.0]
    """
    small = [x for x in xs if x.dtype is torch.float32 and 0 < x.numel() <= FEW]
    if len(small) < FEWEST:
        return [host_norm(x) for x in xs]
    found = [norm.item() for norm in torch._foreach_norm(small)]
    if not (min(found) >= SMALLEST_OF_PIECE and max(found) <= LARGEST):  # nan is right, wherever it is
        found = [
            norm if SMALLEST_OF_PIECE <= norm <= LARGEST else host_norm(x) for x, norm in zip(small, found, strict=True)
        ]
    if len(small) == len(xs):
        return found
    known = dict(zip(map(id, small), found, strict=True))
    return [norm if (norm := known.get(id(x))) is not None else host_norm(x) for x in xs]


def host_inner(x: Tensor, y: Tensor) -> float:
    """Return <x, y> of two tensors of one shape on the host, of complex ones the real part.

    It is right to five digits of ||x|| ||y||.

    Example:
        >>> host_inner(torch.tensor([1e-30, 1.0]), torch.tensor([1e-30, 0.0]))
        1.0000000063421537e-60
    """
    if x.dtype is y.dtype is torch.float32 and x.numel() <= PRODUCTS and x.is_contiguous() and y.is_contiguous():
        found = torch.dot(x.view(-1), y.view(-1)).item()  # as most are
        if SMALLEST_OF_PIECE**2 <= abs(found) <= LARGEST**2:
            return found
    if x.dtype is not y.dtype:
        wide = torch.promote_types(x.dtype, y.dtype)
        x, y = x.to(wide), y.to(wide)
    x, y = _side_by_side(_real(x), _real(y))
    size = x.numel()
    pieces = list(zip(_pieces(x, PRODUCTS), _pieces(y, PRODUCTS), strict=True))
    if x.dtype.itemsize <= 2:
        pieces = [(a.float(), b.float()) for a, b in pieces]
    found = math.fsum(torch.dot(a, b).item() for a, b in pieces) if size else 0.0
    if x.dtype is torch.float64 or max(SMALLEST**2, LOST**2 * size) <= abs(found) <= LARGEST**2:
        return found
    return float(sum(torch.dot(a.double(), b.double()).item() for a, b in pieces))


@np.errstate(all="ignore")  # of numbers that aren't finite, and of squares that are made again
def host_products(pairs: Sequence[NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the norms of some rows of numbers, and the inner product of each with another row.

    Args:
        pairs: as many pairs of rows at once as are of one length, [2, rows, numbers], float32 or float64.

    Example:
        >>> norms, inners = host_products([np.array([[[3.0, 4.0], [3e-200, 4e-200]], np.ones((2, 2))])])
        >>> norms.tolist(), inners.tolist()
        ([5.0, 5e-200], [7.0, 6.999999999999999e-200])
    """
    found = [(each[:, :, None] @ each[0][:, :, None])[:, :, 0, 0] for each in pairs]  # BLAS, one row after the other
    squares, inners = whole = np.concatenate(found, axis=1).astype(np.float64)
    norms, sizes, least, most = np.sqrt(squares), np.abs(whole), SMALLEST_OF_PIECE**2, LARGEST**2
    if not (sizes.min() >= least and sizes.max() <= most):
        rows = [pair for each in pairs for pair in each.swapaxes(0, 1)]
        for at in np.flatnonzero(~((sizes >= least) & (sizes <= most)).all(axis=0)):
            norms[at], inners[at] = _exact_products(*rows[at])
    return norms, inners


def _exact_products(x: NDArray[Any], y: NDArray[Any]) -> tuple[float, float]:
    """Return the norm of x, and its product with y, whatever their range: most often all of x is zero."""
    if not x.any():
        return 0.0, float(x @ y)  # 0, or nan where y isn't finite
    whole = torch.from_numpy(x)
    return host_norm(whole), host_inner(whole, torch.from_numpy(y))


def fit_together(parts: Sequence[Tensor], total: Tensor) -> bool:
    """Tell whether `host_parts` takes these: all float32, contiguous and of one shape."""
    shape = total.shape
    return all(x.dtype is torch.float32 and x.is_contiguous() and x.shape == shape for x in (total, *parts))


def host_parts(parts: Sequence[Tensor], total: Tensor) -> tuple[list[float], list[float], float]:
    """Return the norms of parts, their inner products with their sum, and its norm: everything is read once.

    Args:
        parts: on the host.
        total: their sum; see `fit_together`.

    Example:
        >>> host_parts([torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])], torch.tensor([3.0, 4.0]))
        ([3.0, 4.0], [9.0, 16.0], 5.0)
    """
    size = total.numel()
    squares, inners, whole = [0.0] * len(parts), [0.0] * len(parts), 0.0
    for t, *pieces in zip(*[_pieces(x.view(-1), PRODUCTS) for x in (total, *parts)], strict=True):
        whole += torch.dot(t, t).item()
        for k, piece in enumerate(pieces):
            squares[k] += torch.dot(piece, piece).item()
            inners[k] += torch.dot(piece, t).item()
    least, most = max(SMALLEST**2, LOST**2 * size), LARGEST**2
    norms = [math.sqrt(s) if least <= s <= most else _scaled(x.view(-1)) for s, x in zip(squares, parts, strict=True)]
    inners = [
        p if least <= abs(p) <= most or n == 0 else host_inner(x, total)
        for p, n, x in zip(inners, norms, parts, strict=True)
    ]
    return norms, inners, math.sqrt(whole) if least <= whole <= most else _scaled(total.view(-1))


def host_count_above(x: Tensor, threshold: float) -> float:
    """Count the elements above a threshold twice, and those that equal it once.

    Example:
        >>> host_count_above(torch.tensor([0.0, 1.0, 2.0]), 1.0)
        3.0
    """
    # NumPy takes a third of torch's time for what is small; it knows no bfloat16.
    numbers = (x.detach().float() if x.dtype.itemsize <= 2 else x.detach()).numpy()
    if numbers.size <= LARGE_PIECE:
        return _count_above(numbers, threshold)
    numbers = numbers.reshape(-1)
    starts = range(0, len(numbers), LARGE_PIECE)
    return sum(_count_above(numbers[start : start + LARGE_PIECE], threshold) for start in starts)


def _count_above(numbers: NDArray[np.floating], threshold: float) -> float:
    above = np.count_nonzero(numbers > threshold)
    if above == numbers.size:  # as of units that are alive, most often
        return 2.0 * above
    below = np.count_nonzero(numbers < threshold)
    equal = numbers.size - above - below
    if equal and np.count_nonzero(numbers == threshold) < equal:  # what is neither is no number
        return math.nan
    return float(2 * above + equal)


def _norm(x: Tensor) -> float:
    """Return the norm of a tensor of one dimension, contiguous, float32 or float64."""
    size = x.numel()
    if x.dtype is torch.float64:
        found = math.sqrt(torch.dot(x, x).item())
        return found if SMALLEST**9 <= found <= LARGEST**9 else _scaled(x)
    # The product with itself takes two thirds of vector_norm's time, and adds up more neighbours side by side.
    if size <= PIECE:
        found = math.sqrt(torch.dot(x, x).item())
    else:
        found = math.sqrt(math.fsum([torch.dot(piece, piece).item() for piece in _pieces(x)]))
    return found if max(SMALLEST, LOST * math.sqrt(size)) <= found <= LARGEST else _scaled(x)


def _scaled(x: Tensor) -> float:
    """Return the norm of what has squares that are too small or large; most often all is zero."""
    if not x.numel() or _is_zero(x):
        return 0.0
    least, most = torch.aminmax(x)
    largest = max(-least.item(), most.item())
    if largest == 0 or not math.isfinite(largest):
        return abs(largest)
    wide = (piece.double() / largest for piece in _pieces(x))
    return largest * math.sqrt(math.fsum(torch.dot(piece, piece).item() for piece in wide))


def _pieces(x: Tensor, most: int = PIECE) -> Sequence[Tensor]:
    """Cut a tensor of one dimension into parts of so many numbers or a few fewer."""
    size = x.numel()
    return x.chunk(-(-size // most)) if size > most else (x,)  # half of the time that split takes, in Python


def _is_zero(x: Tensor) -> bool:
    """Tell whether all bits are zero: faster than to compare numbers. (A zero with a sign isn't found out.)"""
    if type(x) is not Tensor and type(x) is not nn.Parameter:
        return False  # it may lie elsewhere than it says
    words = np.uint64 if x.dtype is torch.float64 else np.uint32
    return not x.detach().resolve_neg().numpy().view(words).max()


def _real(x: Tensor) -> Tensor:
    return torch.view_as_real(x.resolve_conj()) if x.is_complex() else x


def _flat(x: Tensor) -> tuple[Tensor, int]:
    """Return the same numbers in one dimension, in any order, and how many times each of them is there."""
    if x.is_contiguous():
        return x.view(-1), 1
    times = 1
    if 0 in x.stride() and x.numel():
        repeated = [step == 0 and size > 1 for size, step in zip(x.shape, x.stride(), strict=True)]
        times = math.prod(size for size, again in zip(x.shape, repeated, strict=True) if again)
        x = x[tuple(0 if again else _ALL for again in repeated)]
    return x.permute(_order(x)).reshape(-1), times


def _side_by_side(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return two tensors of one shape in one dimension, both in the same order; copied only where there is none."""
    if x.is_contiguous() and y.is_contiguous():
        return x.view(-1), y.view(-1)
    order = _order(x)
    return x.permute(order).reshape(-1), y.permute(order).reshape(-1)


def _order(x: Tensor) -> list[int]:
    """Return the dimensions as they lie in memory, the outermost first."""
    stride = x.stride()
    return sorted(range(x.dim()), key=stride.__getitem__, reverse=True)
