"""Integers: the one array type of golden models, and the width and shape a range needs."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from amaranth import Shape, signed, unsigned
from numpy.typing import NDArray

__all__ = ["Ints", "frozen", "shape_of", "width_of"]

Ints: TypeAlias = NDArray[np.int64]


def width_of(lo: int, hi: int) -> int:
    """Return the bits that hold every integer of ``lo..hi``: two's complement where `lo` < 0."""
    if lo < 0:
        return max(max(hi, 0).bit_length(), (~lo).bit_length()) + 1
    return max(hi.bit_length(), 1)


def shape_of(lo: int, hi: int) -> Shape:
    """Return the narrowest Amaranth shape that holds every integer of ``lo..hi``."""
    return signed(width_of(lo, hi)) if lo < 0 else unsigned(width_of(lo, hi))


def frozen(values: Ints) -> Ints:
    """Return `values` as a read-only array of 64-bit integers, as specs hold them."""
    array = np.array(values, dtype=np.int64)
    array.setflags(write=False)
    return array
