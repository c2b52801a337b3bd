"""Rounding: which integer a fraction becomes; the one place that says so."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from amaranth import Cat, Const

if TYPE_CHECKING:
    import numpy as np
    from amaranth import Value
    from numpy.typing import NDArray

    from bittern.hw.ints import Ints

__all__ = ["Rounding", "round_shift", "rounded", "sign_of"]


class Rounding(Enum):
    """Which integer a fraction becomes.

    Elsewhere these are called: IEEE 754 roundTiesToEven and ONNX ``Round`` are `HALF_EVEN`. QONNX
    says ``ROUND`` for `HALF_EVEN`, ``UP`` for `FROM_ZERO`, ``DOWN`` for `TO_ZERO`, ``HALF_UP`` for
    `HALF_FROM_ZERO`, ``HALF_DOWN`` for `HALF_TO_ZERO`. Of the two roundings of a TensorFlow Lite
    requantization, ``SaturatingRoundingDoublingHighMul`` is `HALF_UP` by 31 bits and
    ``RoundingDivideByPOT`` is `HALF_FROM_ZERO`.
    """

    FLOOR = "floor"
    CEIL = "ceiling"
    TO_ZERO = "toward zero"
    FROM_ZERO = "away from zero"
    HALF_UP = "half up"
    HALF_DOWN = "half down"
    HALF_EVEN = "half to even"
    HALF_FROM_ZERO = "half away from zero"
    HALF_TO_ZERO = "half toward zero"


def round_shift(v: Ints, shift: int, rounding: Rounding) -> Ints:
    """Return ``v / 2**shift``, rounded."""
    floor = v >> shift
    rest, half = v - (floor << shift), (1 << shift) / 2
    up: NDArray[np.bool_] = {
        Rounding.FLOOR: rest < 0,
        Rounding.CEIL: rest > 0,
        Rounding.TO_ZERO: (rest > 0) & (v < 0),
        Rounding.FROM_ZERO: (rest > 0) & (v > 0),
        Rounding.HALF_UP: rest >= half,
        Rounding.HALF_DOWN: rest > half,
        Rounding.HALF_EVEN: (rest > half) | (rest == half) & (floor % 2 == 1),
        Rounding.HALF_FROM_ZERO: (rest > half) | (rest == half) & (v > 0),
        Rounding.HALF_TO_ZERO: (rest > half) | (rest == half) & (v < 0),
    }[rounding]
    y: Ints = floor + up
    return y


def rounded(v: Value, shift: int, rounding: Rounding) -> Value:
    """Return ``v / 2**shift``, rounded, as gates: what is cut off decides whether one is added."""
    if not shift or rounding is Rounding.FLOOR:
        return v >> shift
    low = Cat(v, *(sign_of(v) for _ in range(shift + 1 - len(v))))[:shift]
    negative, half, below, odd = sign_of(v), low[-1], low[:-1].any(), (v >> shift)[0]
    up = {
        Rounding.CEIL: low.any(),
        Rounding.TO_ZERO: low.any() & negative,
        Rounding.FROM_ZERO: low.any() & ~negative,
        Rounding.HALF_UP: half,
        Rounding.HALF_DOWN: half & below,
        Rounding.HALF_EVEN: half & (below | odd),
        Rounding.HALF_FROM_ZERO: half & (below | ~negative),
        Rounding.HALF_TO_ZERO: half & (below | negative),
    }[rounding]
    return (v >> shift) + up


def sign_of(v: Value) -> Value:
    """Return whether `v` is negative."""
    return v[-1] if v.shape().signed else Const(0, 1)
