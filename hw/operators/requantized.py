"""Requantization of one channel as an operator: checked, proven and measured like the others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Self, cast

import numpy as np
from amaranth import Const, Mux, Shape, signed, unsigned

from bittern.hw.fan_in import fan_in_bound
from bittern.hw.ints import Ints, shape_of
from bittern.hw.lookup import lookup_lut4
from bittern.hw.operators.clip import Clip
from bittern.hw.operators.operator import Operator
from bittern.hw.operators.round_shift import RoundShift
from bittern.hw.quotient import Quotient
from bittern.hw.requant import Fold, Requant
from bittern.hw.rounding import Rounding
from bittern.hw.saturation import limits
from bittern.hw.scale import Scale
from bittern.hw.table import Table
from bittern.hw.thresholds import Thresholds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Value

    from bittern.hw.family import Family
    from bittern.hw.pipeline import Pipeline, Stages

__all__ = ["Requantized"]


@dataclass(frozen=True)
class Requantized(Operator):
    """``y = spec(x)``, latency ``spec.latency(1)``.

    Parameters
    ----------
    spec : Requant
        Of one channel.
    shape : Shape
        Of ``x``.
    """

    spec: Requant
    shape: Shape

    def __post_init__(self) -> None:
        if self.spec.channels != 1:
            raise ValueError(f"spec must have 1 channel, not {self.spec.channels}")

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return (self.shape,)

    @property
    def outputs(self) -> tuple[Shape, ...]:
        return (shape_of(*self.spec.bounds),)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        return (self.spec(operands[0][..., None])[..., 0],)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        fold = Fold(*limits(self.shape), features=1, pe=1)
        # a pipeline only counts channels, and there is one
        return self.spec.gates(cast("Pipeline", stages), [operands[0]], fold)

    def naive(self, *operands: Value) -> Sequence[Value]:
        x, spec = operands[0], self.spec
        if isinstance(spec, Scale):
            v = x * Const(int(spec.multiplier[0])) + int(spec.bias[0])
            (y,) = RoundShift(v.shape(), spec.shift, spec.rounding).naive(v)
            return (Mux(y < spec.lo, spec.lo, Mux(y > spec.hi, spec.hi, y)),)
        least, greatest = limits(self.shape)
        table = self(np.arange(least, greatest + 1))[0]
        y = Const(int(table[0]), self.outputs[0]) + 0
        for at in np.flatnonzero(np.diff(table)) + 1:
            y = y + Mux(x >= least + int(at), int(table[at] - table[at - 1]), 0)
        return (y,)

    def lut4(self, family: Family) -> float:
        spec, width = self.spec, self.shape.width
        result = self.outputs[0]
        if isinstance(spec, Thresholds):
            # each comparison a carry chain and the signs; its thresholds in LUTs
            return 0 if spec.is_sign else spec.bits * (width + 1) + sum(
                width * 2**max(level - 4, 0) for level in range(3, spec.bits))
        if isinstance(spec, Scale):
            left = signed(max(width + int(spec.multiplier.max()).bit_length() - spec.shift, 2))
            clip = Clip.to(left, result).lut4(family)
            product = width * (int(spec.multiplier.max()).bit_count() - 1)
            return left.width + spec.shift / 3 + clip + product
        if isinstance(spec, Quotient):
            # of constant divisors
            d_width = spec.words[0].width
            return (spec.bits - 1) * (d_width + 3) + spec.adds * width + 2 * spec.bits
        least, greatest = limits(self.shape)
        words = self(np.arange(least, greatest + 1))[0]
        return lookup_lut4(words.tolist(), result.width, width)

    def bound(self, family: Family) -> tuple[float, str]:
        return fan_in_bound(self, family)

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(spec, shape) for spec, shape in _examples()]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls(spec, shape) for spec, shape in _points()]


# Specs are the same only if they are one object, so that these are made once.
@cache
def _examples() -> list[tuple[Requant, Shape]]:
    rng = np.random.default_rng(0)

    def thresholds(count: int, lo: int, hi: int) -> Thresholds:
        return Thresholds(np.sort(rng.integers(lo, hi + 2, (1, count)), axis=1), -(count // 2))

    def scale(m: int, b: int, *rest: int, rounding: Rounding = Rounding.FLOOR) -> Scale:
        shift, lo, hi = rest
        return Scale(np.array([m]), np.array([b]), shift, lo, hi, rounding)

    return [
        *((thresholds(count, *limits(shape)), shape)
          for count in (1, 2, 3, 7, 13) for shape in (signed(7), unsigned(6))),
        (Thresholds(np.array([[0]]), 0), signed(5)),
        (Thresholds(np.array([[-8, -8, 0, 7, 8, 8]]), 0), signed(4)),
        (Thresholds(np.array([[0, 1, 15, 16]]), 0), unsigned(4)),
        (scale(1, 0, 4, -8, 7), signed(10)),
        (scale(1, 9, 4, 0, 15, rounding=Rounding.HALF_EVEN), signed(10)),
        *((scale(37, -40, 6, -8, 7, rounding=rounding), signed(8)) for rounding in Rounding),
        (Quotient(np.array([77]), np.array([[3]]), 2, -8, 7), signed(8)),
        (Quotient(np.array([301]), np.array([[-90, -30]]), 3, 0, 20, -6), signed(7)),
        (Quotient(np.array([5]), np.array([[-9]]), 0, -2, 1), unsigned(6)),
        (Table(rng.integers(-8, 8, (1, 32)), -16), signed(5)),
        (Table(rng.integers(0, 9, (1, 64)), 0), unsigned(6)),
    ]


@cache
def _points() -> list[tuple[Requant, Shape]]:
    rng = np.random.default_rng(0)
    return [
        *((Thresholds(np.sort(rng.integers(-2**15, 2**15, (1, 2**bits - 1)), axis=1), 0),
           signed(16)) for bits in (1, 2, 4, 6)),
        (Scale(np.array([1]), np.array([0]), 12, -128, 127, Rounding.HALF_EVEN), signed(24)),
        (Scale(np.array([181]), np.array([0]), 16, -128, 127, Rounding.HALF_UP), signed(24)),
        (Quotient(np.array([21_845]), np.array([[5]]), 3, -8, 7), signed(16)),
        (Table(rng.integers(-128, 128, (1, 256)), -128), signed(8)),
    ]
