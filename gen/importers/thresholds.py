"""Thresholds of a function of integers, exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.importers.errors import LARGEST, UnsupportedError
from bittern.hw.ints import Ints, frozen
from bittern.hw.thresholds import Thresholds

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["fit"]

CHUNK = 2**20
"""Elements computed at once; a function with no more of them is always tabulated."""


def fit(function: Callable[[Ints], Ints], lo: int, hi: int, size: int) -> Thresholds:
    """Return the thresholds that equal `function` in ``lo..hi``.

    `function` takes integers ``(n, size)`` and is non-decreasing in every column. One row of
    thresholds is returned where all columns are the same. One that always holds is `lo`, one that
    never does ``hi + 1``.
    """
    ends = function(np.array([[lo], [hi]]) + np.zeros(size, np.int64))
    first, last = int(ends[0].min()), int(ends[1].max())
    levels = np.arange(first, max(last, first + 1)) + 1
    if levels.size * size > LARGEST:
        raise UnsupportedError(f"needs {levels.size} thresholds in each of {size} channels; "
                               f"accepted: {LARGEST} in all")
    span = hi - lo + 1
    cheap = span * size <= CHUNK or span <= levels.size * span.bit_length()
    values = (tabulate if cheap else bisect)(function, lo, hi, size, levels)
    return Thresholds(frozen(values[:1] if (values == values[0]).all() else values), first)


def tabulate(function: Callable[[Ints], Ints], lo: int, hi: int, size: int, levels: Ints) -> Ints:
    """Find thresholds by counting the integers below each level."""
    values = np.full((size, levels.size), lo)
    rows = max(1, CHUNK // size)
    for start in range(lo, hi + 1, rows):
        q = np.arange(start, min(start + rows, hi + 1))
        table = function(q[:, np.newaxis] + np.zeros(size, np.int64))
        if (np.diff(table, axis=0) < 0).any():
            raise UnsupportedError("is not monotone; accepted: non-decreasing or non-increasing")
        for channel, column in enumerate(table.T):
            values[channel] += np.searchsorted(column, levels)
    return values


def bisect(function: Callable[[Ints], Ints], lo: int, hi: int, size: int, levels: Ints) -> Ints:
    """Find thresholds by bisection, all at once."""
    parts = []
    for wanted in np.array_split(levels, 1 + levels.size * size // CHUNK):
        low = np.full((wanted.size, size), lo)
        high = np.full((wanted.size, size), hi + 1)
        while (low < high).any():
            middle = (low + high) >> 1
            reached = function(middle) >= wanted[:, np.newaxis]
            high = np.where(reached, middle, high)
            low = np.where(reached, low, np.minimum(middle + 1, high))
        parts.append(low.T)
    return np.concatenate(parts, axis=1)
