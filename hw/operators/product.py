"""Product of two variables in rows of adders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from amaranth import Cat, Const, Mux, Shape, signed, unsigned

from bittern.hw.operators.operator import Operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Value

    from bittern.hw.family import Family
    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["Product"]


@dataclass(frozen=True)
class Product(Operator):
    """``a * b``, unsigned: two rows of partial products for each adder, then a tree of adders."""

    a: Shape
    b: Shape

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return self.a, self.b

    @property
    def outputs(self) -> tuple[Shape, ...]:
        width = self.a.width + self.b.width
        return (signed(width) if self.a.signed or self.b.signed else unsigned(width),)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        a, b = operands
        return (a * b,)

    def naive(self, *operands: Value) -> Sequence[Value]:
        a, b = operands
        return (a * b,)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        a, b = operands
        n = len(a)
        rows: list[Value] = [Mux(bit, a, Const(0, n)) for bit in b]
        shift = 1
        level = 0
        while len(rows) > 1:
            rows = [stages.fence(Cat(low[:shift], (low[shift:] + high[0])), f"row_{level}_{k}")
                    if high else low
                    for k, (low, *high) in enumerate(
                        rows[j:j + 2] for j in range(0, len(rows), 2))]
            shift *= 2
            level += 1
        return rows

    def lut4(self, family: Family) -> float:
        return len(self.inputs) * 40

    def bound(self, family: Family) -> tuple[float, str]:
        return (self.a.width + self.b.width - 1) / 3, "fan-in"

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(unsigned(w), unsigned(v)) for w, v in ((4, 4), (8, 8), (5, 3))]
