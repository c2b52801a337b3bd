"""Piecewise linear stand-ins of the sigmoid and of the swish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Const, Mux, Shape, signed, unsigned

from bittern.hw.family import Family
from bittern.hw.fan_in import fan_in_bound
from bittern.hw.ints import Ints, shape_of
from bittern.hw.lookup import SEARCHED, lookup, lookup_lut4, words_of
from bittern.hw.operators.clip import Clip
from bittern.hw.operators.constant_product import ConstantProduct
from bittern.hw.operators.operator import Operator
from bittern.hw.operators.round_shift import RoundShift
from bittern.hw.rounding import Rounding, round_shift, rounded
from bittern.hw.saturation import clipped, limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Value

    from bittern.hw.pipeline import Stages

__all__ = ["HardSigmoid", "HardSwish"]


@dataclass(frozen=True)
class HardSigmoid(Operator):
    """``y = clip(round((x * multiplier + offset) / 2**shift), 0, one)``, latency 0.

    Adders, or a table where that is smaller. The slope 1/2, 1/4, 0.2 (Keras, ONNX) or 1/6 (PyTorch)
    is in `multiplier` and `shift`, one half in `offset`.

    Source: Courbariaux et al. 2015, arXiv:1511.00363, section 2.3.

    Parameters
    ----------
    shape : Shape
        Of ``x``.
    multiplier : int
        Of 1..65535.
    offset : int
    shift : int
        Of 0..16.
    one : int
        The integer that stands for 1, at least 1.
    rounding : Rounding
    """

    shape: Shape
    multiplier: int
    offset: int
    shift: int
    one: int
    rounding: Rounding = Rounding.FLOOR

    def __post_init__(self) -> None:
        for name, value, lo, hi in (("multiplier", self.multiplier, 1, 65535),
                                    ("shift", self.shift, 0, 16), ("one", self.one, 1, 1 << 32)):
            if not lo <= value <= hi:
                raise ValueError(f"{name} must be in {lo}..{hi}, not {value}")

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return (self.shape,)

    @property
    def outputs(self) -> tuple[Shape, ...]:
        return (unsigned(self.one.bit_length()),)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        v = operands[0] * self.multiplier + self.offset
        return (round_shift(v, self.shift, self.rounding).clip(0, self.one),)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        if self._looks_up:
            return (lookup(stages, words_of(self), self.outputs[0].width, operands[0]),)
        (product,) = ConstantProduct(self.shape, self.multiplier).gates(stages, operands[0])
        v = stages.fence(product + self.offset, "line") if self.offset else product
        y = rounded(v, self.shift, self.rounding)
        return (clipped(stages, y, 0, self.one),)

    def naive(self, *operands: Value) -> Sequence[Value]:
        v = operands[0] * Const(self.multiplier) + self.offset
        (y,) = RoundShift(v.shape(), min(self.shift, len(v)), self.rounding).naive(v)
        return (Mux(y < 0, 0, Mux(y > self.one, self.one, y)),)

    @property
    def _looks_up(self) -> bool:
        """Whether a table is smaller than adders."""
        return self.shape.width <= SEARCHED and self._table_lut4 < self._adders_lut4

    @property
    def _table_lut4(self) -> float:
        return lookup_lut4(words_of(self), self.outputs[0].width, self.shape.width)

    @property
    def _adders_lut4(self) -> float:
        product = ConstantProduct(self.shape, self.multiplier)
        width = max(product.outputs[0].width - self.shift + 1, 1)
        up = 0 if self.rounding is Rounding.FLOOR else width + self.shift / 3
        _, hi = limits(signed(width + 1))
        clip = Clip(signed(width + 1), 0, min(self.one, hi)).lut4(Family.ECP5)
        carried = product.outputs[0].width - min(self.offset & -self.offset, 1 << 16).bit_length()
        return product.lut4(Family.ECP5) + carried * bool(self.offset) + up + clip

    def lut4(self, family: Family) -> float:
        return self._table_lut4 if self._looks_up else self._adders_lut4

    def bound(self, family: Family) -> tuple[float, str]:
        return fan_in_bound(self, family)

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(shape, m, offset, shift, one, rounding)
                for shape, m, offset, shift, one in (
                    (signed(8), 1, 32, 1, 32), (signed(8), 43, 4096, 8, 31),
                    (unsigned(6), 1, -20, 0, 9), (signed(9), 51, 3200, 8, 25),
                    (signed(4), 65535, 1, 16, 1))
                for rounding in (Rounding.FLOOR, Rounding.HALF_EVEN)]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls(signed(8), 1, 32, 1, 32), cls(signed(8), 1, 64, 2, 32),
                cls(signed(8), 43, 32768, 8, 255, Rounding.HALF_UP),
                cls(signed(16), 1, 4096, 1, 4096),
                cls(signed(16), 43, 524288, 8, 4095, Rounding.HALF_UP)]


@dataclass(frozen=True)
class HardSwish(Operator):
    """``y = round(x * clip(x + three, 0, 2 * three) * multiplier / 2**shift)``, latency 0.

    A table in LUTs: smaller than the product. Source: Howard et al. 2019, arXiv:1905.02244,
    section 5.2.

    Parameters
    ----------
    shape : Shape
        Of ``x``, signed, of 3 to 9 bits.
    three : int
        The integer that stands for 3, at least 1, in `shape`.
    multiplier : int
        Of 1..65535.
    shift : int
        Of 0..31.
    rounding : Rounding
    """

    shape: Shape
    three: int
    multiplier: int
    shift: int
    rounding: Rounding = Rounding.HALF_UP

    def __post_init__(self) -> None:
        if not self.shape.signed or not 3 <= self.shape.width <= SEARCHED:
            raise ValueError(f"shape must be signed, of 3 to {SEARCHED} bits, not {self.shape!r}")
        for name, value, lo, hi in (("three", self.three, 1, limits(self.shape)[1]),
                                    ("multiplier", self.multiplier, 1, 65535),
                                    ("shift", self.shift, 0, 31)):
            if not lo <= value <= hi:
                raise ValueError(f"{name} must be in {lo}..{hi}, not {value}")

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return (self.shape,)

    @property
    def outputs(self) -> tuple[Shape, ...]:
        least, greatest = limits(self.shape)
        y = self(np.arange(least, greatest + 1))[0]
        return (shape_of(int(y.min()), int(y.max())),)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        x = operands[0]
        v = x * (x + self.three).clip(0, 2 * self.three) * self.multiplier
        return (round_shift(v, self.shift, self.rounding),)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        shape = self.outputs[0]
        y = lookup(stages, words_of(self), shape.width, operands[0])
        return (y.as_signed() if shape.signed else y,)

    def naive(self, *operands: Value) -> Sequence[Value]:
        x = operands[0]
        shifted = x + self.three
        factor = Mux(shifted < 0, 0, Mux(shifted > 2 * self.three, 2 * self.three, shifted))
        v = x * factor * Const(self.multiplier)
        (y,) = RoundShift(v.shape(), min(self.shift, len(v)), self.rounding).naive(v)
        return (y,)

    def lut4(self, family: Family) -> float:
        return lookup_lut4(words_of(self), self.outputs[0].width, self.shape.width)

    def bound(self, family: Family) -> tuple[float, str]:
        return fan_in_bound(self, family)

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(signed(8), 48, 171, 14), cls(signed(8), 24, 1, 4, Rounding.FLOOR),
                cls(signed(5), 15, 11, 8, Rounding.HALF_EVEN), cls(signed(9), 200, 43, 14),
                cls(signed(3), 1, 1, 0), cls(signed(6), 10, 65535, 31)]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls(signed(8), 48, 171, 14), cls(signed(8), 24, 1, 4, Rounding.FLOOR),
                cls(signed(6), 12, 171, 12)]
