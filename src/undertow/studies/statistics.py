"""The few statistics that the chapter's page quotes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class MeanDifference:
    """Two groups of networks compared by Welch's t-test.

    Attributes:
        mean: of the second group minus the first.
        low, high: 95 % confidence interval of that.
        p: two-sided.

    Example:
        >>> compare([1.0, 1.1, 0.9], [2.0, 2.1, 1.9]).significant
        True
    """

    mean: float
    low: float
    high: float
    p: float

    @property
    def said(self) -> str:
        """The verdict in words."""
        if not np.isfinite(self.low):
            return "too few to tell"
        return "beyond seed noise" if self.significant else "within seed noise"

    @property
    def significant(self) -> bool:
        """Tell whether the interval leaves out zero; never where there is none."""
        return self.low > 0 or self.high < 0


def compare(first: ArrayLike, second: ArrayLike) -> MeanDifference:
    """Return how far the mean of ``second`` lies above that of ``first``; NaNs where a group shows no spread."""
    a, b = np.asarray(first, float), np.asarray(second, float)
    if min(len(a), len(b)) < 2 or min(np.ptp(a), np.ptp(b)) == 0:
        return MeanDifference(float(b.mean() - a.mean()), np.nan, np.nan, np.nan)
    from scipy import stats  # half a second to load, which the processes that run experiments need not wait for

    test = stats.ttest_ind(b, a, equal_var=False)
    low, high = test.confidence_interval(0.95)
    return MeanDifference(float(b.mean() - a.mean()), float(low), float(high), float(test.pvalue))


def between_and_within(groups: list[ArrayLike]) -> float:
    """p of Welch's analysis of variance: do groups differ by more than their members do among themselves?

    Example:
        >>> between_and_within([[1.0, 1.1, 0.9], [2.0, 2.1, 1.9], [1.0, 1.2, 0.8]]) < 0.01
        True
    """
    arrays = [np.asarray(g, float) for g in groups]
    if min(len(a) for a in arrays) < 2 or min(np.ptp(a) for a in arrays) == 0:
        return float("nan")
    from scipy import stats

    return float(stats.f_oneway(*arrays, equal_var=False).pvalue)


def interval(values: ArrayLike) -> tuple[float, float]:
    """95 % confidence interval of the mean (Student's t); NaNs for fewer than two values.

    Example:
        >>> low, high = interval([1.0, 2.0, 3.0])
        >>> round(low, 2), round(high, 2)
        (-0.48, 4.48)
    """
    a = np.asarray(values, float)
    if len(a) < 2:
        return float("nan"), float("nan")
    from scipy import stats

    half = stats.t.ppf(0.975, len(a) - 1) * a.std(ddof=1) / np.sqrt(len(a))
    return float(a.mean() - half), float(a.mean() + half)


def percentile_of(value: float, values: ArrayLike) -> float:
    """Return the per cent of ``values`` that lie under ``value``.

    Example:
        >>> percentile_of(2.5, [1.0, 2.0, 3.0, 4.0])
        50.0
    """
    return float(100 * np.mean(np.asarray(values, float) < value))


def middle(values: NDArray[Any], axis: int = 0) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """2.5th percentile, median and 97.5th percentile.

    Example:
        >>> [float(v) for v in middle(np.arange(41.0))]
        [1.0, 20.0, 39.0]
    """
    low, median, high = np.nanquantile(values, [0.025, 0.5, 0.975], axis=axis)
    return low, median, high


def concordant(ours: Mapping[str, float], paper: Mapping[str, float]) -> float:
    """Return the share of the pairs which the paper puts in an order that are in that order here.

    Example:
        >>> concordant({"a": 1.0, "b": 2.0, "c": 1.5}, {"a": 5.0, "b": 9.0, "c": 9.0})
        1.0
    """
    pairs = [(a, b) for a in paper for b in paper if paper[a] < paper[b]]
    return sum(ours[a] < ours[b] for a, b in pairs) / len(pairs)
