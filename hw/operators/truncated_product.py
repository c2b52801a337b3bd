"""Product of two variables without its lowest columns: an approximation with a known error."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Const, Mux, Shape, Value, signed, unsigned

from bittern.hw.family import Family
from bittern.hw.operators.operator import Operator
from bittern.hw.operators.product import check_factors, fan_in_bound, product_shape, rows_of
from bittern.hw.pipeline import draft
from bittern.hw.rows import Row, add_rows, adder_lut4

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["TruncatedProduct"]


@dataclass(frozen=True)
class TruncatedProduct(Operator):
    """About ``a * b / 2**drop``: bit products of weight below ``2**drop`` are left out.

    What they would have added is made up for by a constant, about their mean; or by counting each
    bit product of the highest column left out twice. The constant costs nothing, the bits of that
    column are carry-ins. Combinational, or with a register after each level of adders.

    Source: M. J. Schulte and E. E. Swartzlander, "Truncated Multiplication with Correction
    Constant", 1993; E. J. King and E. E. Swartzlander, "Data-Dependent Truncation Scheme for
    Parallel Multipliers", 1997 (the variable correction).

    Parameters
    ----------
    a, b : Shape
        Of 2 to 16 bits each.
    drop : int
        Columns left out, fewer than either factor has bits.
    variable : bool
        Whether the correction depends on the factors.
    registers : bool
        Whether there is a register after each level of adders.
    """

    a: Shape
    b: Shape
    drop: int
    variable: bool = False
    registers: bool = False

    def __post_init__(self) -> None:
        check_factors(a=self.a, b=self.b)
        most = min(self.a.width, self.b.width) - 1
        if not 1 <= self.drop <= most:
            raise ValueError(f"drop must be in 1..{most}, not {self.drop}")

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return self.a, self.b

    @property
    def outputs(self) -> tuple[Shape, ...]:
        full = product_shape(self.a, self.b)
        return (Shape(full.width - self.drop, full.signed),)

    @property
    def constant(self) -> int:
        """What is added in place of what is left out, whose mean is a quarter of its highest."""
        mean = sum((c + 1 << c) for c in range(self.drop)) / 4
        return 0 if self.variable else round(mean / (1 << self.drop))

    @property
    def max_error(self) -> int:
        """The highest of ``abs((result << drop) - a * b)``; exact, and some factors have it.

        The error is the sum of ``a_i * s_i(b) + constant`` over the lowest bits of `a`, so for a
        given `b` it is highest where just the positive of the `s_i` count.
        """
        k = self.drop
        b = np.arange(1 << k)
        high, low = (np.full(len(b), self.constant << k) for _ in range(2))
        for i in range(k):
            s = -(b & (1 << k - i) - 1) << i
            if self.variable:
                s = s + ((b >> k - 1 - i & 1) << k)
            high += s.clip(min=0)
            low += s.clip(max=0)
        return int(max(high.max(), -low.min()))

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        a, b = operands
        k = self.drop
        kept = a * b
        correction = np.full(a.shape, self.constant)
        for j in range(k):
            bit = b >> j & 1
            kept = kept - ((a & (1 << k - j) - 1) * bit << j)
            if self.variable:
                correction += (a >> k - 1 - j & 1) * bit
        return ((kept >> k) + correction,)

    def naive(self, *operands: Value) -> Sequence[Value]:
        a, b = operands
        total: Value = Const(self.constant)
        for j in range(len(b)):
            row = a >> self.drop - j if j < self.drop else a << j - self.drop
            term = Mux(b[j], row, 0)
            total = total - term if self.b.signed and j == len(b) - 1 else total + term
            if self.variable and j < self.drop:
                total += a[self.drop - 1 - j] & b[j]
        return (total,)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        total, _ = self._add(stages, *operands)
        return (total.as_signed() if self.outputs[0].signed else total,)

    def _add(self, stages: Stages, a: Value, b: Value) -> tuple[Value, list[int]]:
        rows = []
        for row in rows_of(a, b):
            cut = self.drop - row.shift
            if cut <= 0:
                rows.append(replace(row, shift=-cut))
                continue
            carry = row.value[cut - 1] if self.variable else row.carry
            rows.append(Row(0, row.value[cut:], row.high >> cut, carry))
        if self.variable:
            lowest = rows[0].carry
            rows[0] = replace(rows[0], carry=0)
            rows.insert(0, Row(0, Value.cast(lowest), 1))
        else:
            for k in range(self.constant): # the upper ones of the first level
                rows[2 * k + 1] = replace(rows[2 * k + 1], carry=1)
        return add_rows(stages, rows, len(a) + len(b) - self.drop, "row",
                        registers=self.registers)

    def lut4(self, family: Family) -> float:
        adders: list[int] = []
        draft(lambda stages: adders.extend(
            self._add(stages, Value.cast(Const(0, self.a)), Value.cast(Const(0, self.b)))[1]))
        total = sum(adder_lut4(bits, family) for bits in adders)
        products = self.a.width * self.b.width - self.drop * (self.drop - 1) // 2
        total += self.drop * (2 if family is Family.ECP5 else 1) if self.variable else 0
        return total + (0 if family is Family.ECP5 else products - self.drop)

    def bound(self, family: Family) -> tuple[float, str]:
        return fan_in_bound(self.a, self.b)

    @classmethod
    def examples(cls) -> list[Self]:
        kinds = ((unsigned, unsigned), (signed, signed), (signed, unsigned), (unsigned, signed))
        small = [cls(kind(n), other(m), drop, variable)
                 for n, m, drop in ((2, 2, 1), (4, 4, 3), (5, 3, 2), (3, 6, 1))
                 for kind, other in kinds for variable in (False, True)]
        return [*small, *(cls(signed(8), kind(8), 7, variable, registers=True)
                          for kind in (signed, unsigned) for variable in (False, True))]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls(unsigned(8), unsigned(8), 7, variable) for variable in (False, True)] + [
            cls(signed(8), signed(8), 7, variable) for variable in (False, True)] + [
            cls(signed(8), signed(8), 4), cls(signed(16), signed(16), 15)]
