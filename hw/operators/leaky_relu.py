"""Rectifiers with a slope below zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Cat, Const, Mux, Shape, signed

from bittern.hw.family import Family
from bittern.hw.fan_in import fan_in_bound
from bittern.hw.ints import Ints, shape_of
from bittern.hw.lookup import SEARCHED, lookup, lookup_lut4, words_of
from bittern.hw.operators.constant_product import ConstantProduct
from bittern.hw.operators.operator import Operator
from bittern.hw.operators.round_shift import RoundShift
from bittern.hw.rounding import Rounding, round_shift, rounded
from bittern.hw.saturation import limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Value

    from bittern.hw.pipeline import Stages

__all__ = ["LeakyReLU"]


@dataclass(frozen=True)
class LeakyReLU(Operator):
    """``y = x if x >= 0 else round(x * multiplier / 2**shift)``, latency 0.

    Adders, or a table where that is smaller. Also a PReLU of one channel. Source: Maas et al. 2013,
    "Rectifier nonlinearities improve neural network acoustic models"; He et al. 2015,
    arXiv:1502.01852.

    Parameters
    ----------
    shape : Shape
        Of ``x``, signed.
    multiplier : int
        Of ``0..2**shift``: the slope is at most 1.
    shift : int
        Of 0..15.
    rounding : Rounding
    """

    shape: Shape
    multiplier: int
    shift: int
    rounding: Rounding = Rounding.FLOOR

    def __post_init__(self) -> None:
        if not self.shape.signed or self.shape.width < 2:
            raise ValueError(f"shape must be signed, of 2 bits or more, not {self.shape!r}")
        if not 0 <= self.shift <= 15:
            raise ValueError(f"shift must be in 0..15, not {self.shift}")
        if not 0 <= self.multiplier <= 1 << self.shift:
            raise ValueError(f"multiplier must be in 0..{1 << self.shift}, not {self.multiplier}")

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return (self.shape,)

    @property
    def outputs(self) -> tuple[Shape, ...]:
        least, greatest = limits(self.shape)
        lo = round_shift(np.array([least * self.multiplier]), self.shift, self.rounding)
        return (shape_of(int(lo[0]), greatest),)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        x = operands[0]
        slope = round_shift(x * self.multiplier, self.shift, self.rounding)
        return (np.where(x >= 0, x, slope),)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        x = operands[0]
        shape = self.outputs[0]
        if self._looks_up:
            y = lookup(stages, words_of(self), shape.width, x)
        else: # only the product of a negative integer is used
            v, = self._product.gates(stages, Cat(x[:-1], Const(1, 1)).as_signed())
            slope = rounded(stages.fence(v, "product"), self.shift, self.rounding)
            y = Mux(x[-1], slope, x)[:shape.width]
        return (y.as_signed() if shape.signed else y,)

    @property
    def _product(self) -> ConstantProduct:
        return ConstantProduct(self.shape, self.multiplier)

    @property
    def _looks_up(self) -> bool:
        """Whether a table is smaller than adders."""
        return self.shape.width <= SEARCHED and self._table_lut4 < self._adders_lut4

    @property
    def _table_lut4(self) -> float:
        return lookup_lut4(words_of(self), self.outputs[0].width, self.shape.width)

    @property
    def _adders_lut4(self) -> float:
        up = 0 if self.rounding is Rounding.FLOOR else self.outputs[0].width + self.shift / 3
        return self.shape.width - 1 + self._product.lut4(Family.ECP5) + up

    def naive(self, *operands: Value) -> Sequence[Value]:
        x = operands[0]
        v = x * Const(self.multiplier)
        (y,) = RoundShift(signed(len(v) + self.shift), self.shift, self.rounding).naive(v)
        return (Mux(x < 0, y, x),)

    def lut4(self, family: Family) -> float:
        return self._table_lut4 if self._looks_up else self._adders_lut4

    def bound(self, family: Family) -> tuple[float, str]:
        return fan_in_bound(self, family)

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(signed(width), m, shift, rounding) for width, m, shift in (
            (8, 1, 3), (8, 26, 8), (5, 77, 8), (9, 0, 0), (6, 1, 0), (2, 1, 5), (7, 13, 5))
            for rounding in (Rounding.FLOOR, Rounding.HALF_EVEN, Rounding.HALF_FROM_ZERO)]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls(signed(8), 1, 3), cls(signed(8), 26, 8, Rounding.HALF_EVEN),
                cls(signed(8), 77, 8, Rounding.HALF_UP), cls(signed(16), 1, 3),
                cls(signed(16), 26, 8, Rounding.HALF_EVEN)]
