"""Sums of two quantized tensors: which few factors tell all sums apart that have to be."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from bittern.hw.ints import Ints, frozen
from bittern.hw.thresholds import Thresholds

__all__ = ["WeightedSum", "weighted_sum"]


@dataclass(frozen=True, eq=False)
class WeightedSum:
    """``y = thresholds(factor0 * x0 + factor1 * x1)``."""

    factor0: int
    factor1: int
    thresholds: Thresholds


def weighted_sum(y: Ints, lo0: int, lo1: int) -> WeightedSum | None:
    """Return the smallest factors with which `y` is a function of a weighted sum, or None.

    For each level, the pairs ``(x0, x1)`` that reach it are to be on one side of a line, and the
    lines of all levels are to be parallel. Between the boundary's points of two columns each level
    leaves its slope an open interval with ends of small denominators, so that the simplest fraction
    in the intersection has few bits, and if that is empty, there are no factors at all.

    Parameters
    ----------
    y : array ``(n0, n1)``
        The result for each pair, monotone along both axes, which may fall.
    lo0, lo1 : int
        The least operands: of the first row, and of the first column.
    """
    signs = [-1 if (y.take(-1, axis) < y.take(0, axis)).any() else 1 for axis in (0, 1)]
    rising = y[::signs[0], ::signs[1]]
    if any((np.diff(rising, axis=axis) < 0).any() for axis in (0, 1)):
        return None
    ratio = simplest(*slopes(rising))
    if ratio is None:
        return None
    factors = ratio.numerator * signs[0], ratio.denominator * signs[1]
    sums = (factors[0] * (lo0 + np.arange(y.shape[0]))[:, np.newaxis]
            + factors[1] * (lo1 + np.arange(y.shape[1])))
    order = np.argsort(sums, axis=None)
    levels = np.arange(int(y.min()), max(int(y.max()), int(y.min()) + 1)) + 1
    ordered = np.append(sums.ravel()[order], sums.max() + 1)
    values = ordered[np.searchsorted(y.ravel()[order], levels)]
    thresholds = Thresholds(frozen(values[np.newaxis]), int(y.min()))
    if not np.array_equal(thresholds(sums), y):
        raise AssertionError(f"{factors} do not tell all sums apart")
    return WeightedSum(*factors, thresholds)


def slopes(y: Ints) -> tuple[Fraction, Fraction | None]:
    """Return the open interval of ratios ``factor0 / factor1``; None is infinity."""
    n0, n1 = y.shape
    levels = np.arange(int(y.min()), int(y.max())) + 1
    # of each level and row, the first column that reaches it; n1 if none does
    first = np.stack([np.searchsorted(row, levels) for row in y], axis=1)
    misses, reaches = first > 0, first < n1
    low, high = Fraction(0), None
    for gap in range(1, n0):
        fall = first[:, :-gap] - first[:, gap:]
        below = fall[misses[:, :-gap] & reaches[:, gap:]]
        above = fall[reaches[:, :-gap] & misses[:, gap:]]
        if below.size:
            low = max(low, Fraction(int(below.max()) - 1, gap))
        if above.size:
            bound = Fraction(int(above.min()) + 1, gap)
            high = bound if high is None else min(high, bound)
    return low, high


def simplest(low: Fraction, high: Fraction | None) -> Fraction | None:
    """Return the fraction of the least terms in the open interval, or None if it is empty."""
    if high is None:
        return Fraction(low.numerator // low.denominator + 1)
    if low >= high:
        return None
    whole = low.numerator // low.denominator
    if whole + 1 < high:
        return Fraction(whole + 1)
    # all of it is between two integers: what is simplest is so upside down
    rest = simplest(1 / (high - whole), 1 / (low - whole) if low > whole else None)
    return rest and whole + 1 / rest
