"""Saturation: what becomes of integers beyond the bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amaranth import Cat, Const, Mux

from bittern.hw.ints import shape_of
from bittern.hw.rounding import sign_of

if TYPE_CHECKING:
    from amaranth import Shape, Value

    from bittern.hw.pipeline import Stages

__all__ = ["clipped", "limits"]


def limits(shape: Shape) -> tuple[int, int]:
    """Return the least and the greatest integer of `shape`."""
    if shape.signed:
        return -(1 << shape.width - 1), (1 << shape.width - 1) - 1
    return 0, (1 << shape.width) - 1


def clipped(stages: Stages, v: Value, lo: int, hi: int) -> Value:
    """Return ``min(max(v, lo), hi)`` as gates, in ``shape_of(lo, hi)``.

    An integer that equals a bound may be replaced by it or not, so that either of two comparisons
    does: the one that sees fewer bits is taken.
    """
    least, greatest = limits(v.shape())
    shape = shape_of(lo, hi)
    y = Cat(v, *(sign_of(v) for _ in range(shape.width - len(v))))[:shape.width]
    if v.shape().signed and least < lo == ~hi and hi & hi + 1 == 0:
        # it fits where the bits from its sign on are all the same: three more in each LUT
        top = v[shape.width - 1:]
        same = [(part := top[k:k + 4]).all() | ~part.any() for k in range(0, len(top) - 1, 3)]
        fits = Cat(stages.fence(bit, f"same_{k}") for k, bit in enumerate(same)).all()
        y = Mux(fits, y, Cat((~sign_of(v)).replicate(shape.width - 1), sign_of(v)))
        return y.as_signed()
    if hi < greatest:
        y = Mux(~_below(v, _rounder(hi)), Const(hi, shape), y)
    if lo > least:
        y = Mux(_below(v, _rounder(lo)), Const(lo, shape), y)
    return y.as_signed() if shape.signed else y


def _rounder(bound: int) -> int:
    """Return `bound` or the integer after it: the one that is even."""
    return bound + bound % 2


def _below(v: Value, bound: int) -> Value:
    """Return whether ``v < bound``, as logic: three bits in each LUT, and no carry chain."""
    below: Value = Const(0, 1)
    offset = v ^ Const(limits(v.shape())[0], v.shape()) # from the least integer on
    for k, bit in enumerate(offset):
        one = (bound - limits(v.shape())[0]) >> k & 1
        below = ~bit | below if one else ~bit & below
    return below
