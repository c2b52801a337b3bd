"""Division by a power of two, rounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Const, Mux, Shape, signed, unsigned

from bittern.hw.fan_in import fan_in_bound
from bittern.hw.ints import Ints, shape_of
from bittern.hw.operators.operator import Operator
from bittern.hw.rounding import Rounding, round_shift, rounded
from bittern.hw.saturation import limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Value
    from amaranth.hdl import ValueLike

    from bittern.hw.family import Family
    from bittern.hw.pipeline import Stages

__all__ = ["RoundShift"]


@dataclass(frozen=True)
class RoundShift(Operator):
    """``y = round(x / 2**shift)``, latency 0.

    The bits that are cut off decide whether one is added to the others, so that the adder is as
    short as the result.

    Parameters
    ----------
    shape : Shape
        Of ``x``.
    shift : int
        At least 0, at most the width of `shape`.
    rounding : Rounding
    """

    shape: Shape
    shift: int
    rounding: Rounding

    def __post_init__(self) -> None:
        if not 0 <= self.shift <= self.shape.width:
            raise ValueError(f"shift must be in 0..{self.shape.width}, not {self.shift}")

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return (self.shape,)

    @property
    def outputs(self) -> tuple[Shape, ...]:
        ends = np.array(limits(self.shape))
        lo, hi = round_shift(ends, self.shift, self.rounding).tolist()
        return (shape_of(lo, hi),)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        return (round_shift(operands[0], self.shift, self.rounding),)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        return (rounded(operands[0], self.shift, self.rounding),)

    def naive(self, *operands: Value) -> Sequence[Value]:
        v, s, last = operands[0], self.shift, (1 << self.shift) - 1
        half = (1 << s) >> 1
        if not s:
            return (v,)
        added: dict[Rounding, ValueLike] = {
            Rounding.FLOOR: 0,
            Rounding.CEIL: last,
            Rounding.TO_ZERO: Mux(v < 0, last, 0),
            Rounding.FROM_ZERO: Mux(v < 0, 0, last),
            Rounding.HALF_UP: half,
            Rounding.HALF_DOWN: half - 1,
            Rounding.HALF_EVEN: half - 1 + (v >> s)[0],
            Rounding.HALF_FROM_ZERO: Mux(v < 0, half - 1, half),
            Rounding.HALF_TO_ZERO: Mux(v < 0, half, half - 1),
        }
        return ((v + added[self.rounding] + Const(0, 1)) >> s,)

    def lut4(self, family: Family) -> float:
        if not self.shift or self.rounding is Rounding.FLOOR:
            return 0
        reads = {Rounding.HALF_UP: 1}.get(self.rounding, self.shift + 1)
        return self.outputs[0].width + 1 + (reads - 1) / 3

    def bound(self, family: Family) -> tuple[float, str]:
        return fan_in_bound(self, family)

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(shape, shift, rounding) for rounding in Rounding
                for shape, shift in ((signed(9), 3), (unsigned(7), 2), (signed(5), 1),
                                     (signed(4), 4), (unsigned(1), 1), (signed(3), 0))]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls(signed(24), 12, rounding) for rounding in Rounding
                if rounding is not Rounding.FLOOR]
