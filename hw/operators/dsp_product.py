"""Product of two variables by a multiplier of the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from amaranth import Shape, Value, signed, unsigned

from bittern.hw.operators.operator import Operator
from bittern.hw.operators.product import check_factors, product_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.hw.family import Family
    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["DspProduct"]


@dataclass(frozen=True)
class DspProduct(Operator):
    """``a * b`` between registers, for synthesis to make of it what the device multiplies with.

    A product a cycle, latency 2. That is one SB_MAC16 of the iCE40 with its registers, one
    MULT18X18D of the ECP5, or one MULT9X9 or MULT18X18 of Gowin; products of few bits, or on
    devices without multipliers, become LUTs.

    Parameters
    ----------
    a, b : Shape
        Of 1 to 16 bits each.
    """

    a: Shape
    b: Shape

    def __post_init__(self) -> None:
        check_factors(a=self.a, b=self.b)

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return self.a, self.b

    @property
    def outputs(self) -> tuple[Shape, ...]:
        return (product_shape(self.a, self.b),)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        a, b = operands
        return (a * b,)

    def naive(self, *operands: Value) -> Sequence[Value]:
        a, b = operands
        return (a * b,)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        a, b = stages.stage(operands, "factor")
        return stages.stage([a * b], "product")

    def lut4(self, family: Family) -> float:
        return 0

    def bound(self, family: Family) -> tuple[float, str]:
        return 0, "the multiplier may do all"

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(signed(8), signed(8)), cls(unsigned(8), signed(8)),
                cls(signed(16), unsigned(4))]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls(signed(8), signed(8)), cls(signed(16), signed(16)),
                cls(unsigned(16), unsigned(16))]
