"""Numbers that were read off their devices, by name and place; those of many passes alike side by side."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Label = tuple[str, int]
"""Of a number: its name, and the place of its Site, edge or parameter."""


class Index(NamedTuple):
    """Labels sorted by name.

    Attributes:
        size: how many labels there are.
        names: for every name the places, and where among the labels they stand.
    """

    size: int
    names: dict[str, tuple[NDArray[np.intp], NDArray[np.intp]]]


@lru_cache(maxsize=64)
def index(labels: tuple[Label, ...]) -> Index:
    """Sort labels by name: the same object for those of the passes before, which would else wait with all they name."""
    found: dict[str, tuple[list[int], list[int]]] = {}
    for at, (name, place) in enumerate(labels):
        places, positions = found.setdefault(name, ([], []))
        places.append(place)
        positions.append(at)
    arrays = {name: (np.array(p, dtype=np.intp), np.array(q, dtype=np.intp)) for name, (p, q) in found.items()}
    return Index(len(labels), arrays)


@dataclass(slots=True)
class Numbers:
    """The numbers of one name.

    Attributes:
        places: of each.
        values: [..., places]: before them passes, if there are several.

    Example:
        >>> Numbers(np.array([2, 0]), np.array([0.5, 4.0])).column(3)
        array([4. , nan, 0.5])
    """

    places: NDArray[np.intp]
    values: Array

    def column(self, size: int, default: float | Array = np.nan) -> Array:
        """As an array over all places, [..., size]."""
        found = np.empty((*self.values.shape[:-1], size))
        found[...] = default
        found[..., self.places] = self.values
        return found


Part = tuple[Index, Sequence[float] | NDArray[Any]]
"""Labels, and the numbers that came from one device."""


@dataclass(slots=True)
class Reading:
    """Hold what was read in one pass, or in several alike.

    Attributes:
        parts: labels, and their numbers, [..., labels].

    Example:
        >>> reading = Reading([(index((("rows", 3), ("rows", 1))), np.array([2.0, 5.0]))])
        >>> "rows" in reading, reading["rows"].column(4)
        (True, array([nan,  5., nan,  2.]))
    """

    parts: list[tuple[Index, Array]]

    @classmethod
    def of(cls, parts: Iterable[Part]) -> "Reading":
        """Join what came from several devices."""
        return cls([(labels, np.asarray(values, dtype=np.float64)) for labels, values in parts if labels.size])

    @classmethod
    def stacked(cls, readings: Sequence["Reading"]) -> "Reading":
        """Several passes alike (see `alike`) as one, [passes, labels]."""
        parts = zip(*(each.parts for each in readings), strict=True)
        return cls([(some[0][0], np.stack([values for _, values in some])) for some in parts])

    def alike(self, other: "Reading") -> bool:
        """Tell whether the same was read."""
        return len(self.parts) == len(other.parts) and all(
            mine is theirs for (mine, _), (theirs, _) in zip(self.parts, other.parts, strict=True)
        )

    def __contains__(self, name: str) -> bool:
        return any(name in labels.names for labels, _ in self.parts)

    def __getitem__(self, name: str) -> Numbers:
        found = self._found(name)
        if found is None:
            raise KeyError(name)
        return found

    def _found(self, name: str) -> Numbers | None:
        parts = [(*labels.names[name], values) for labels, values in self.parts if name in labels.names]
        if len(parts) == 1:  # as most are: one device and precision
            ((places, at, values),) = parts
            return Numbers(places, values.take(at, -1))
        if not parts:
            return None
        numbers = [values.take(at, -1) for _, at, values in parts]
        return Numbers(np.concatenate([places for places, _, _ in parts]), np.concatenate(numbers, axis=-1))

    def divide(self, names: Sequence[str], by: Array) -> None:
        """Divide the numbers of these names, of each pass by its own number, [passes, 1]."""
        for labels, values in self.parts if (by != 1).any() else ():
            for name in names:
                if name in labels.names:
                    values[..., labels.names[name][1]] /= by

    def column(self, name: str, size: int, default: float | Array = np.nan) -> Array:
        """The numbers of one name over all places; where there are none, the default."""
        found = self._found(name)
        if found is not None:
            return found.column(size, default)
        return default if isinstance(default, np.ndarray) else np.full(size, default)
