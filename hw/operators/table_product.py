"""Product of two narrow variables by a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Array, Cat, Const, Shape, Value, signed, unsigned

from bittern.hw.operators.operator import Operator
from bittern.hw.operators.product import check_factors, fan_in_bound, product_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.hw.family import Family
    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["TableProduct"]


@dataclass(frozen=True)
class TableProduct(Operator):
    """``a * b`` read from a table: each bit of the result is a function of all bits of both.

    Combinational, latency 0. Up to four bits together a bit of the result takes one LUT4; beyond
    that tables double with each bit.

    Parameters
    ----------
    a, b : Shape
        Of 1 to 16 bits each, and up to 6 together.
    """

    a: Shape
    b: Shape

    def __post_init__(self) -> None:
        check_factors(a=self.a, b=self.b)
        if (bits := self.a.width + self.b.width) > 6:
            raise ValueError(f"a and b must have up to 6 bits together, not {bits}")

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
        shape = self.outputs[0]
        word = Value.cast(Array(Const(word, shape) for word in self._words())[Cat(*operands)])
        return (word.as_signed() if shape.signed else word,)

    def _words(self) -> list[int]:
        """Return the product for each code of both factors, `a` in the low bits."""
        values = []
        for shape in (self.a, self.b):
            codes = np.arange(1 << shape.width)
            values.append(codes - (codes >> shape.width - 1 << shape.width) if shape.signed
                          else codes)
        words: list[int] = np.multiply.outer(values[1], values[0]).ravel().tolist()
        return words

    def lut4(self, family: Family) -> float:
        width = self.outputs[0].width
        mask = (1 << width) - 1
        words = [word & mask for word in self._words()]
        columns = {tuple(word >> k & 1 for word in words) for k in range(width)}
        used = [c for c in columns if len(set(c)) > 1]
        # many of the functions of five and six bits are simple ones
        costs = {(5, 1): 1.1, (5, 2): 1.5, (6, 1): 1.5, (6, 2): 1.8, (6, 3): 3.0}
        widths = (self.a.width, self.b.width)
        return len(used) * costs.get((sum(widths), min(widths)), 1.0)

    def bound(self, family: Family) -> tuple[float, str]:
        return fan_in_bound(self.a, self.b)

    @classmethod
    def examples(cls) -> list[Self]:
        kinds = ((unsigned, unsigned), (signed, signed), (signed, unsigned), (unsigned, signed))
        return [cls(kind(n), other(m)) for n, m in ((1, 1), (1, 2), (2, 2), (3, 3), (1, 5))
                for kind, other in kinds]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls(unsigned(2), unsigned(2)), cls(signed(2), signed(2)),
                cls(signed(3), unsigned(2))]
