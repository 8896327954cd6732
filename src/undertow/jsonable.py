"""Values as JSON can hold them."""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any


def jsonable(value: Any, digits: int | None = None, infinite: bool = False) -> Any:
    """Return a value made of dicts with text keys, lists, numbers, text, true, false and None.

    Mappings, tuples, NumPy's and torch's arrays and scalars, and enumerations of text are unwrapped; what is of another
    kind stays as it is, so that `json.dumps` refuses it.

    Args:
        value: anything, nested as deep as may be.
        digits: significant digits that floats keep; None keeps all.
        infinite: whether an infinite number becomes the text "inf" or "-inf"; otherwise it becomes None, as nan does.

    Example:
        >>> import numpy as np
        >>> jsonable({"a": np.array([1 / 3, np.nan]), 2: (np.int64(3), True)}, digits=8)
        {'a': [0.33333333, None], '2': [3, True]}
        >>> jsonable([float("inf"), float("nan")], infinite=True)
        ['inf', None]
    """
    if isinstance(value, Mapping):
        return {str(key): jsonable(each, digits, infinite) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(each, digits, infinite) for each in value]
    if isinstance(value, float):  # NumPy's float64 is one, too
        return _number(float(value), digits, infinite)
    if isinstance(value, StrEnum):
        return str(value)
    return jsonable(value.tolist(), digits, infinite) if hasattr(value, "tolist") else value


def _number(value: float, digits: int | None, infinite: bool) -> float | str | None:
    if not math.isfinite(value):
        return str(value) if infinite and not math.isnan(value) else None
    shorter = value if digits is None else float(f"{value:.{digits}g}")
    return shorter if math.isfinite(shorter) else value  # the largest floats round to infinity
