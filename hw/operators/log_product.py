"""Product of two logarithmic codes: a sum of exponents, and what it stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Array, Cat, Const, Mux, Shape, Value, signed, unsigned

from bittern.hw.fan_in import fan_in_bound
from bittern.hw.formats.powers import Power
from bittern.hw.logarithm import mantissa
from bittern.hw.operators.log_quantize import wire
from bittern.hw.operators.operator import Operator
from bittern.hw.rows import adder_lut4

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.hw.family import Family
    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["LogProduct"]


@dataclass(frozen=True)
class LogProduct(Operator):
    """Product of the numbers of two codes, in units of ``2**-places``; combinational.

    0 if one of the codes is 0. Else, with the sum ``n = a - 1 + b - 1`` of exponents, the integer
    ``round(2**places * 2**((n % 2**fraction) / 2**fraction)) << n // 2**fraction``, which for
    fraction 0 is exactly the power. Where there is `minus`, the top bit of the second operand is
    the sign of the product: there are mantissas of either, so that negation takes no adder.

    Source: D. Miyashita et al., arXiv:1603.01025.

    Parameters
    ----------
    a, b : int
        Bits of the codes, 1 to 6.
    fraction : int
        0 for base 2, 1 for base ``sqrt(2)``, 2 for its root. Results have at most 62 bits.
    places : int
        0 to 12.
    minus : bool
    """

    a: int
    b: int
    fraction: int = 0
    places: int = 0
    minus: bool = False

    def __post_init__(self) -> None:
        for name, value, low, high in (("a", self.a, 1, 6), ("b", self.b, 1, 6),
                                       ("fraction", self.fraction, 0, 2),
                                       ("places", self.places, 0, 12)):
            if not low <= value <= high:
                raise ValueError(f"{name} must be {low} to {high}, not {value}")
        if self.outputs[0].width > 62:
            raise ValueError(f"results must have at most 62 bits, not {self.outputs[0].width}: "
                             "a and b must be smaller, or fraction larger")

    @property
    def mantissas(self) -> tuple[int, ...]:
        """What the fractions stand for, in units of ``2**-places``."""
        return tuple(mantissa(j, self.fraction, self.places) for j in range(1 << self.fraction))

    @property
    def inputs(self) -> tuple[Shape, ...]:
        return unsigned(self.a), unsigned(self.b + self.minus)

    @property
    def outputs(self) -> tuple[Shape, ...]:
        n = (1 << self.a) + (1 << self.b) - 4
        most = self.mantissas[n % len(self.mantissas)] << (n >> self.fraction)
        width = most.bit_length()
        return (signed(width + 1) if self.minus else unsigned(width),)

    def __call__(self, *operands: Ints) -> tuple[Ints, ...]:
        a, b = operands
        sign = np.where(b >> self.b, -1, 1)
        b = b & (1 << self.b) - 1
        n = a + b - 2
        zero = (a == 0) | (b == 0)
        n = np.where(zero, 0, n)
        value = np.array(self.mantissas)[n % len(self.mantissas)] << (n >> self.fraction)
        return (np.where(zero, 0, sign * value),)

    def naive(self, *operands: Value) -> Sequence[Value]:
        a, b = operands
        code = b[:self.b]
        n = (a + code - 2)[:max(self.a, self.b) + 1]
        table = Array(Const(m) for m in self.mantissas)
        value = Value.cast(table[n[:self.fraction]]) << n[self.fraction:]
        product = Mux((a == 0) | (code == 0), 0, value)
        return (Mux(b[-1], -product, product) if self.minus else product,)

    def gates(self, stages: Stages, *operands: Value) -> Sequence[Value]:
        a, b = operands
        code = b[:self.b]
        total = stages.fence((a + code)[:max(self.a, self.b) + 1], "exponent")
        mantissas, below = self._table()
        index = Cat(total[:self.fraction], b[self.b:])
        entries = [m * sign for sign in ((1, -1) if self.minus else (1,)) for m in mantissas]
        width = max(m.bit_length() for m in mantissas) + self.minus
        some = wire(stages, a.any() & code.any(), "some")
        value: Value = Cat(
            Const(sum((e >> bit & 1) << k for k, e in enumerate(entries)), len(entries))
            .bit_select(index, 1) & some for bit in range(width))
        if self.minus:
            value = value.as_signed()
        most = self.outputs[0].width + below
        for k, bit in enumerate(total[self.fraction:]):
            value = wire(stages, value, f"shifted_{k}")
            value = Power(0, (1 << k,), minus=False).shift(Cat(bit), value)
            if len(value) > most:
                value = value[:most].as_signed() if self.minus else value[:most]
        result = value[below:]
        return (result.as_signed() if self.minus else result,)

    def _table(self) -> tuple[list[int], int]:
        """Return the mantissa of each fraction of ``a + b``, and the places below the result.

        The sum of codes is two more than that of exponents.
        """
        count = len(self.mantissas)
        least = -2 // count
        return [self.mantissas[(r - 2) % count] << ((r - 2) // count - least)
                for r in range(count)], -least

    def lut4(self, family: Family) -> float:
        total = max(self.a, self.b) + 1
        mantissas, below = self._table()
        bits = max(m.bit_length() for m in mantissas) + self.minus
        last = self.outputs[0].width + below
        levels = [min(bits + (2 << k) - 1, last) for k in range(total - self.fraction)]
        # most of a level's bits are masked by one select only: levels fall into one LUT
        return adder_lut4(total, family) + 3 + bits + last + sum(levels[:-1]) / 3

    def bound(self, family: Family) -> tuple[float, str]:
        return fan_in_bound(self, family)

    @classmethod
    def examples(cls) -> list[Self]:
        return [*(cls(a, b, fraction, places, minus)
                  for a, b in ((1, 1), (2, 3), (4, 4)) for minus in (False, True)
                  for fraction, places in ((0, 0), (0, 2), (1, 0), (1, 4), (2, 5))),
                cls(5, 5, 1, 7)]

    @classmethod
    def points(cls) -> list[Self]:
        return [cls(3, 3, minus=True), cls(4, 4, minus=True), cls(4, 4, 1, 4, minus=True),
                cls(5, 4, 1, 4, minus=True)]
