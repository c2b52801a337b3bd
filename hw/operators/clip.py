"""Overflow: saturation between two bounds, and wrapping around."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from amaranth import Mux, Shape, signed, unsigned

from bittern.hw.fan_in import fan_in_bound
from bittern.hw.ints import Ints, shape_of
from bittern.hw.operators.operator import Operator
from bittern.hw.saturation import clipped, limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Value

    from bittern.hw.family import Family
    from bittern.hw.pipeline import Stages

__all__ = ["Clip", "Wrap"]


@dataclass(frozen=True)
class Clip(Operator):
    """``y = min(max(x, lo), hi)``, latency 0: saturation, ReLU, ReLU6, hard tanh.

    Parameters
    ----------
    shape : Shape
        Of ``x``.
    lo, hi : int
        Bounds of the result, within `shape`.
    """

    shape: Shape
    lo: int
    hi: int

    def __post_init__(self) -> None:
        least, greatest = limits(self.shape)
        if not least <= self.lo <= self.hi <= greatest:
            raise ValueError(f"lo and hi must ascend in {least}..{greatest}, "
                             f"not {self.lo} and {self.hi}")

    @classmethod
    def to(cls, shape: Shape, result: Shape, *, symmetric: bool = False) -> Self:
        """Saturate to `result`, optionally without its integer that has no negative."""
        (least, greatest), (lo, hi) = limits(shape), limits(result)
        return cls(shape, max(lo + (symmetric and result.signed), least), min(hi, greatest))

    @classmethod
    def relu(cls, shape: Shape) -> Self:
        """``max(x, 0)``."""
        return cls(shape, 0, limits(shape)[1])

    @classmethod
    def relu6(cls, shape: Shape, six: int) -> Self:
        """``min(max(x, 0), six)``, where `six` is the integer that stands for 6."""
        return cls(shape, 0, six)

    @classmethod
    def hard_tanh(cls, shape: Shape, one: int) -> Self:
        """``min(max(x, -one), one)``, where `one` is the integer that stands for 1."""
        return cls(shape, -one, one)

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return (self.shape,)

    @property
    def outputs(self) -> tuple[Shape, ...]:
        return (shape_of(self.lo, self.hi),)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        return (operands[0].clip(self.lo, self.hi),)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        return (clipped(stages, operands[0], self.lo, self.hi),)

    def naive(self, *operands: Value) -> Sequence[Value]:
        x = operands[0]
        return (Mux(x < self.lo, self.lo, Mux(x > self.hi, self.hi, x)),)

    def lut4(self, family: Family) -> float:
        least, greatest = limits(self.shape)
        if self.lo == self.hi or (self.lo, self.hi) == (least, greatest):
            return 0
        width = self.outputs[0].width
        if least < self.lo == ~self.hi and self.hi & self.hi + 1 == 0:
            return width - 1 + (self.shape.width - width) * 4 / 9
        # a compared bit below the lowest one of the bound matters no more
        tight = [b for b in (self.lo, self.hi) if b not in (least, greatest)]
        even = [b + b % 2 for b in tight]
        return width + sum((self.shape.width - (b & -b).bit_length() + 1) / 3 for b in even if b)

    def bound(self, family: Family) -> tuple[float, str]:
        return fan_in_bound(self, family)

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls.relu(signed(8)), cls.relu6(signed(9), 96), cls.hard_tanh(signed(8), 32),
                cls.to(signed(12), signed(5)), cls.to(signed(12), signed(5), symmetric=True),
                cls.to(unsigned(9), unsigned(4)), cls.to(signed(7), unsigned(3)),
                cls(signed(8), -128, 127), cls(signed(8), 4, 11), cls(unsigned(6), 17, 17),
                cls(signed(8), -100, -7), cls(unsigned(1), 0, 1), cls(signed(1), -1, -1),
                cls(signed(7), -64, -32), cls(signed(7), 16, 63)]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls.relu(signed(8)), cls.relu(signed(16)), cls.relu6(signed(8), 96),
                cls.hard_tanh(signed(8), 32), cls.to(signed(24), signed(8)),
                cls.to(signed(24), signed(8), symmetric=True), cls.to(signed(24), unsigned(8)),
                cls.to(signed(32), signed(16))]


@dataclass(frozen=True)
class Wrap(Operator):
    """``y = x`` modulo the integers of `result`, latency 0: wires.

    Parameters
    ----------
    shape : Shape
        Of ``x``.
    result : Shape
        Of ``y``, no wider than `shape`.
    """

    shape: Shape
    result: Shape

    def __post_init__(self) -> None:
        if not 1 <= self.result.width <= self.shape.width:
            raise ValueError(f"result must be of 1 to {self.shape.width} bits, "
                             f"not {self.result.width}")

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return (self.shape,)

    @property
    def outputs(self) -> tuple[Shape, ...]:
        return (self.result,)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        lo, _ = limits(self.result)
        return ((operands[0] - lo) % (1 << self.result.width) + lo,)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        y = operands[0][:self.result.width]
        return (y.as_signed() if self.result.signed else y,)

    def naive(self, *operands: Value) -> Sequence[Value]:
        return (operands[0] & ((1 << self.result.width) - 1),)

    def lut4(self, family: Family) -> float:
        return 0

    def bound(self, family: Family) -> tuple[float, str]:
        return 0, "wires"

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(a, b) for a in (signed(9), unsigned(7))
                for b in (signed(4), unsigned(4), signed(1), unsigned(7))]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls(signed(24), signed(8))]
