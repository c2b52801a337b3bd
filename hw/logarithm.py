"""Logarithmic codes of non-negative integers.

Code 0 is zero, and ``c + 1`` stands for the power ``2**(c / 2**fraction)``: of the base 2 for
`fraction` 0, of its square root for 1.

Source: D. Miyashita et al., "Convolutional Neural Networks using Logarithmic Data Representation"
(arXiv:1603.01025).
"""

from __future__ import annotations

from math import isqrt

__all__ = ["mantissa", "threshold"]


def threshold(c: int, fraction: int) -> int:
    """Return the least integer whose logarithm, rounded to nearest, is `c` (of 1 and up).

    That is the least `x` with ``x >= 2**((2 * c - 1) / 2**(fraction + 1))``. There are no ties: no
    integer is a power of two of half an odd number.
    """
    return _root(2 * c - 1, fraction + 1) + 1


def mantissa(j: int, fraction: int, places: int) -> int:
    """Return ``round(2**places * 2**(j / 2**fraction))``; there are no ties."""
    # half of the floor of its double, rounded up
    return (_root((places + 1 << fraction) + j, fraction) + 1) // 2


def _root(exponent: int, fraction: int) -> int:
    """Return ``floor(2**(exponent / 2**fraction))``, by square roots of floors."""
    value = 1 << exponent
    for _ in range(fraction):
        value = isqrt(value)
    return value
